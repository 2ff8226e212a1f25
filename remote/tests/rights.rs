//! The permissions that the guide asks for a machine with a camera, read from the guide: they are enough, and do not
//! allow it to receive another machine's messages or to act in its place.

mod edges {
    pub(crate) mod number;
    #[allow(dead_code, reason = "other tests use the rest of it")]
    pub(crate) mod part;
    #[allow(dead_code, reason = "other tests use the rest of it")]
    pub(crate) mod server;
}

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use edges::number::Number;
use edges::part::{ASAP, Part, receiving, sending};
use edges::server::{PATIENCE, Server};
use fermata_engine::Codecs;
use fermata_engine::testing::Collector;
use fermata_remote::site::{self, PartSpec, SiteError, SitePart};
use fermata_remote::{Credentials, NatsConnection, examine, opened_streams};

const EDGE: &str = "edge: numbers, window: 8";

/// Returns the guide's permissions of `gate` with its stream `door`, for another machine and stream at the test's edge.
fn camera(machine: &str, stream: &str) -> String {
    let guide = include_str!("../../docs/machines.md");
    let (_, list) = guide.split_once("\npermissions: {").expect("a list");
    let (list, _) = list.split_once("\n```").expect("its end");
    let list = format!("permissions: {{{list}");
    let list = list
        .replace("shop", "test")
        .replace("capture-server", "numbers");
    list.replace("door", stream).replace("gate", machine)
}

/// Starts a server with a user that may do everything, and others with the given permissions.
fn server(users: &[(&str, String)]) -> Server {
    let users = users
        .iter()
        .map(|(user, list)| format!("  {{user: {user}, password: secret, {list}}}\n"));
    Server::start_with(&format!(
        "authorization {{users: [\n  {{user: server, password: secret}}\n{}]}}\n",
        users.collect::<String>()
    ))
}

fn connect(server: &Server, user: &str, machine: &str) -> Arc<NatsConnection> {
    server.connect_machine(user, machine, &Codecs::default())
}

fn spec(machine: &str) -> PartSpec {
    PartSpec {
        machine: machine.to_owned(),
        machines: vec!["gate".to_owned(), "server".to_owned()],
        graph: "shop".to_owned(),
        digest: "d1".to_owned(),
        version: "1.2.3".to_owned(),
        may_begin: machine == "server",
    }
}

/// Returns a graph of the tests with these streams.
fn of(text: &str, streams: &str) -> String {
    text.replace("door: x, hall: x", streams)
}

fn assert_all(collector: &Collector, stream: &str, count: u64) {
    let numbers = collector.payloads::<Number>(stream);
    let numbers: Vec<u64> = numbers.iter().map(|number| number.0).collect();
    assert!(
        numbers.iter().copied().eq(0..count),
        "{stream}: {numbers:?}"
    );
}

#[test]
fn a_sender_needs_no_more_rights_than_the_guide_says() {
    let server = server(&[("gate", camera("gate", "door"))]);
    let text = of(&receiving(EDGE, ASAP), "door: x");
    let receiver = Part::start_on("server", &server, 0, &text);
    let text = of(&sending(EDGE, ASAP), "door: x");
    Part::start_on("gate", &server, 60, &text).wait();
    assert_all(&receiver.wait().1, "door", 60);
    let nobody = Credentials {
        user: Some(("nobody".to_owned(), "secret".to_owned())),
        ..Credentials::default()
    };
    let refused = server.connect_as(&nobody, &Codecs::default());
    let refused = refused.map(drop).unwrap_err().to_string();
    assert!(refused.contains("refuses these credentials"), "{refused}");
    assert!(!refused.contains("secret"), "{refused}");
}

#[test]
fn a_part_with_a_cameras_rights_joins_comes_back_and_drains() {
    let list = camera("gate", "door");
    let without = |right: &str| list.replacen(&format!("\"{right}\""), "\"x\"", 1);
    let own = "_INBOX.fermata.test.gate.";
    let of_hall = list.replace(own, "_INBOX.fermata.test.hall.");
    let server = server(&[
        ("gate", list.clone()),
        ("mute", without("fermata.test.hello.gate")),
        ("blind", without("$JS.API.STREAM.MSG.GET.fermata+test+site")),
        ("deaf", of_hall),
    ]);
    let there = SitePart::join(
        &connect(&server, "server", "server"),
        spec("server"),
        |_| {},
    );
    let there = there.expect("it may join");
    // Less is not enough, and the error names what is missing: it does not say that nobody answers, or that somebody
    // might.
    for (user, missing) in [
        ("mute", "Publish to \"fermata.test.hello.gate\"".to_owned()),
        (
            "blind",
            "Publish to \"$JS.API.STREAM.MSG.GET.fermata+test+site\"".to_owned(),
        ),
        ("deaf", format!("Subscription to \"{own}")),
    ] {
        let connection = connect(&server, user, "gate");
        let said = SitePart::join(&connection, spec("gate"), |_| {});
        let said = said.map(drop).expect_err("it may not ask").to_string();
        let told = format!("Permissions Violation for {missing}");
        assert!(said.contains(&told), "{said}");
        connection.close(Duration::from_secs(5));
    }
    for incarnation in 1..=2 {
        let connection = connect(&server, "gate", "gate");
        let gate = SitePart::join(&connection, spec("gate"), |_| {}).expect("it may join");
        assert_eq!(gate.incarnation(), incarnation);
        let twice = SitePart::join(&connect(&server, "gate", "gate"), spec("gate"), |_| {});
        assert!(matches!(twice.err(), Some(SiteError::Taken { .. })));
        if incarnation == 2 {
            let (told, hears) = channel();
            there.watch(move || told.send(()).expect("a test that listens"), || {});
            gate.drain();
            assert_eq!(hears.recv_timeout(PATIENCE), Ok(()));
            gate.ended();
        }
        connection.close(Duration::from_secs(5));
    }
}

#[test]
fn a_machine_is_examined_with_its_own_permissions_and_only_what_was_tried_is_reported() {
    let receives = r#"permissions: {subscribe: ["_INBOX.fermata.test.hall.>",
      "fermata.test.numbers.progress.*", "fermata.test.hello.hall", "fermata.test.site.drain"]}"#;
    let little = r#"permissions: {publish: ["x"], subscribe: ["_INBOX.fermata.test.yard.>"]}"#;
    let server = server(&[
        ("gate", camera("gate", "door")),
        ("hall", receives.to_owned()),
        ("yard", little.to_owned()),
    ]);
    let of = |user: &str, machine: &str| examine(&connect(&server, user, machine));
    // What is forbidden is not answered, so each takes seconds.
    let [hall, gate, yard, deaf] = std::thread::scope(|scope| {
        let users = [
            ("hall", "hall"),
            ("gate", "gate"),
            ("yard", "yard"),
            ("hall", "gate"),
        ];
        let running = users.map(|(user, machine)| scope.spawn(move || of(user, machine)));
        running.map(|one| one.join().expect("findings"))
    });
    assert_eq!((hall.answers, hall.may_read_run), (Ok(()), Ok(())));
    assert_eq!(hall.may_make_stores, Ok(()));
    assert!(hall.storage.is_ok());
    let names = |missing: Result<(), String>, right: &str| {
        let said = missing.expect_err(right);
        let told = format!("Permissions Violation for {right}");
        assert!(said.contains(&told), "{said}");
    };
    assert_eq!((gate.answers, gate.may_read_run), (Ok(()), Ok(())));
    names(gate.may_make_stores, "Publish to \"$JS.API.STREAM.CREATE.");
    assert_eq!(yard.answers, Ok(()));
    names(
        yard.may_read_run,
        "Publish to \"$JS.API.STREAM.MSG.GET.fermata+test+site\"",
    );
    let inbox = "Subscription to \"_INBOX.fermata.test.gate.";
    names(deaf.answers, inbox);
    names(deaf.may_read_run, inbox);
    names(deaf.may_make_stores, inbox);
}

#[test]
fn a_missing_right_is_not_blamed_for_what_fails_later() {
    let mut server = server(&[("gate", camera("gate", "door"))]);
    let connection = connect(&server, "gate", "gate");
    // A camera receives nothing, and may not look.
    opened_streams(&connection, "others").expect_err("it may not look");
    server.kill();
    let said = site::state(&connection).map(drop).expect_err("no server");
    let said = said.to_string();
    assert!(said.contains("failed to report what runs"), "{said}");
    assert!(!said.contains("permission"), "{said}");
}

/// A user who speaks the server's protocol directly.
struct Spy(BufReader<TcpStream>);

impl Spy {
    fn connect(server: &Server, user: &str) -> Self {
        let socket = TcpStream::connect(server.url().replace("nats://", "")).expect("a server");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut spy = Self(BufReader::new(socket));
        spy.say(&format!(
            r#"CONNECT {{"user":"{user}","pass":"secret","verbose":false,"pedantic":false,"headers":true,"lang":"x","version":"1"}}"#
        ));
        spy
    }

    fn say(&mut self, line: &str) {
        let said = write!(self.0.get_mut(), "{line}\r\n");
        said.expect("a server that listens");
    }

    /// Returns the errors and the messages that the server has sent since the last call.
    fn heard(&mut self) -> (Vec<String>, Vec<String>) {
        self.say("PING");
        let (mut errors, mut messages) = (Vec::new(), Vec::new());
        loop {
            let mut line = Vec::new();
            self.0.read_until(b'\n', &mut line).expect("an answer");
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            match line.split(' ').next().unwrap_or_default() {
                "PONG" => return (errors, messages),
                "PING" => self.say("PONG"),
                "-ERR" => errors.push(line),
                "MSG" | "HMSG" => messages.push(line),
                _ => {}
            }
        }
    }
}

/// A receiver's packets come to its inbox, and a program that could read them could acknowledge them in its place.
#[test]
fn a_camera_neither_hears_nor_speaks_for_other_machines() {
    let server = server(&[
        ("gate", camera("gate", "door")),
        ("hall", camera("hall", "yard")),
    ]);
    let text = of(&receiving(EDGE, ASAP), "door: x, yard: x");
    let receiver = Part::start_on("server", &server, 0, &text);
    let mut spy = Spy::connect(&server, "gate");
    let heard = [
        ">",
        "_INBOX.>",
        "_INBOX.fermata.>",
        "_INBOX.fermata.test.>",
        "_INBOX.fermata.test.hall.>",
        "_INBOX.fermata.test.server.>",
        "$JS.ACK.>",
        "fermata.test.>",
        "fermata.test.numbers.packets.yard",
        "fermata.test.hello.hall",
    ];
    let said = [
        "$JS.ACK.fermata+test+numbers+packets.yard.1.1.1.0.0",
        "$JS.API.CONSUMER.MSG.NEXT.fermata+test+numbers+packets.yard",
        "$JS.API.STREAM.MSG.GET.fermata+test+numbers+packets",
        "$JS.API.STREAM.DELETE.fermata+test+numbers+packets",
        "_INBOX.fermata.test.server.x",
        "fermata.test.numbers.packets.yard",
        "fermata.test.numbers.progress.yard",
        "fermata.test.numbers.settled.yard",
        "fermata.test.site.part.hall",
        "fermata.test.site.run",
    ];
    for (number, subject) in heard.iter().enumerate() {
        spy.say(&format!("SUB {subject} {number}"));
    }
    for subject in said {
        spy.say(&format!("PUB {subject} 5\r\n+TERM"));
    }
    let (errors, messages) = spy.heard();
    assert_eq!((errors.len(), messages.len()), (20, 0), "{errors:#?}");
    let text = |stream: &str| of(&sending(EDGE, ASAP), stream);
    let door = Part::start_on("gate", &server, 60, &text("door: x"));
    let yard = Part::start_on("hall", &server, 60, &text("yard: x"));
    door.wait();
    yard.wait();
    let (report, collector) = receiver.wait();
    for stream in ["door", "yard"] {
        assert_all(&collector, stream, 60);
        assert_eq!(report.streams[stream].missed, 0);
    }
    assert_eq!(spy.heard(), (Vec::new(), Vec::new()));
}
