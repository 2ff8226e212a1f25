//! The life of a site at a real NATS server: who may join a run, what all parts are told, and how it is cleared.

mod edges {
    pub(crate) mod relay;
    #[allow(dead_code, reason = "other tests use the rest of it")]
    pub(crate) mod server;
}

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use edges::relay::Relay;
use edges::server::{PATIENCE, Server, wait_until};
use fermata_engine::Codecs;
use fermata_remote::site::{self, PartSpec, PartState, SiteError, SitePart};
use fermata_remote::{Credentials, NatsConnection};

/// A part, as a program has it.
struct Joined {
    part: Arc<SitePart>,
    connection: Arc<NatsConnection>,
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

fn connect(url: &str) -> Arc<NatsConnection> {
    let connection =
        NatsConnection::connect(url, &Credentials::default(), "test", Codecs::default());
    connection.expect("a connection")
}

fn join(server: &Server, spec: PartSpec) -> Result<Joined, SiteError> {
    join_over(&server.url(), spec)
}

fn join_over(url: &str, spec: PartSpec) -> Result<Joined, SiteError> {
    let connection = connect(url);
    let part = SitePart::join(&connection, spec, |_| {})?;
    Ok(Joined { part, connection })
}

fn refused(server: &Server, spec: PartSpec) -> String {
    match join(server, spec) {
        Ok(_) => panic!("it may join"),
        Err(error) => error.to_string(),
    }
}

impl Joined {
    fn close(self) {
        self.connection.close(Duration::from_secs(5));
    }
}

#[test]
fn a_part_that_may_not_begin_waits_until_another_has() {
    let server = Server::start();
    std::thread::scope(|scope| {
        let gate = scope.spawn(|| join(&server, spec("gate")).expect("it may join"));
        let there = join(&server, spec("server")).expect("it may join");
        let gate = gate.join().expect("a part");
        assert_eq!(gate.part.run(), there.part.run());
        assert_eq!((gate.part.incarnation(), there.part.incarnation()), (1, 1));
        gate.close();
        there.close();
    });
}

/// A part that looks for leftovers of an earlier run may find the edges of one that has just begun.
#[test]
fn parts_that_begin_at_the_same_moment_are_parts_of_one_run() {
    let server = Server::start();
    for round in 0..20 {
        let machines: Vec<String> = (0..4).map(|number| format!("m{number}")).collect();
        let join_one = |machine: &str| {
            let spec = PartSpec {
                machines: machines.clone(),
                may_begin: true,
                ..spec(machine)
            };
            let joined = join(&server, spec).expect("it may join");
            // As its receiving ends do, immediately.
            make_store(&server, &format!("fermata+test+{machine}-{round}+packets"));
            joined
        };
        let joined = std::thread::scope(|scope| {
            let joining = machines
                .iter()
                .map(|machine| scope.spawn(|| join_one(machine)));
            let joining: Vec<_> = joining.collect();
            let joined = joining.into_iter().map(|part| part.join().expect("a part"));
            joined.collect::<Vec<Joined>>()
        });
        let run = joined[0].part.run().to_owned();
        assert!(joined.iter().all(|joined| joined.part.run() == run));
        for joined in joined {
            joined.part.ended();
            joined.close();
        }
        let gone = site::end(&connect(&server.url())).expect("an end");
        assert_eq!(gone.len(), 5, "{gone:?}");
    }
}

/// Each part learns of the others' clocks, and continues comparing.
#[test]
fn parts_know_how_far_their_clocks_are_apart() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let gate = join(&server, spec("gate")).expect("it may join");
    for joined in [&there, &gate] {
        wait_until("a comparison", || {
            joined.part.clocks().latency_error_ms.is_some()
        });
        let clocks = joined.part.clocks();
        let own = clocks.own.expect("a comparison");
        // Both are the same clock, so only round trips separate them.
        assert!(own.ahead_ms.abs() <= own.error_ms + 1.0, "{own:?}");
        assert!(
            clocks.latency_error_ms.expect("a comparison") >= own.error_ms,
            "{clocks:?}"
        );
    }
    gate.close();
    there.close();
}

#[test]
fn another_graph_another_version_and_a_second_part_are_refused_and_what_runs_goes_on() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let gate = join(&server, spec("gate")).expect("it may join");
    let other = PartSpec {
        digest: "d2".to_owned(),
        ..spec("gate")
    };
    let said = refused(&server, other);
    assert!(
        said.contains("site `test` runs another graph, `shop`"),
        "{said}"
    );
    let remedy = format!("`fermata site end --nats {} --site test`", server.url());
    assert!(said.contains(&remedy), "{said}");
    let other = PartSpec {
        version: "1.3.0".to_owned(),
        ..spec("gate")
    };
    let said = refused(&server, other);
    assert!(
        said.contains("run by version 1.2.3 of this program, and this is 1.3.0"),
        "{said}"
    );
    // Another build of the same version counts as another program.
    let other = PartSpec {
        version: "1.2.3 (commit b)".to_owned(),
        ..spec("gate")
    };
    let said = refused(&server, other);
    assert!(said.contains("and this is 1.2.3 (commit b)"), "{said}");
    let said = refused(&server, spec("gate"));
    assert!(
        said.contains("machine `gate` of site `test` runs already"),
        "{said}"
    );
    let admin = connect(&server.url());
    let said = site::end(&admin).expect_err("it runs").to_string();
    assert!(said.contains("still runs on gate, server"), "{said}");
    let state = site::state(&admin).expect("a state");
    assert_eq!(state.run, there.part.run());
    let runs = |part: &PartState| matches!(part, PartState::Runs { incarnation: 1, .. });
    assert!(state.parts.iter().all(|(_, part)| runs(part)), "{state:?}");
    gate.close();
    there.close();
}

#[test]
fn a_part_that_died_comes_back_and_one_that_ended_does_not() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let gate = join(&server, spec("gate")).expect("it may join");
    let run = gate.part.run().to_owned();
    // It does not report its end.
    gate.close();
    let admin = connect(&server.url());
    let state = site::state(&admin).expect("a state");
    let silent = |part: &PartState| matches!(part, PartState::Silent { .. });
    assert!(silent(&state.parts[0].1), "{state:?}");
    let gate = join(&server, spec("gate")).expect("it may come back");
    assert_eq!(
        (gate.part.run(), gate.part.incarnation()),
        (run.as_str(), 2)
    );
    gate.part.ended();
    gate.close();
    let said = refused(&server, spec("gate"));
    assert!(said.contains("has ended on machine `gate`"), "{said}");
    there.part.ended();
    there.close();
    let gone = site::end(&admin).expect("nothing runs");
    assert_eq!(gone, ["fermata+test+site"]);
    let said = site::state(&admin).expect_err("no run").to_string();
    assert!(said.contains("there is no run of site `test`"), "{said}");
    let anew = join(&server, spec("server")).expect("it may join");
    assert_ne!(anew.part.run(), run);
    anew.close();
}

/// Otherwise its streams could be deleted under its parts, and nobody could end it.
#[test]
fn a_server_that_has_lost_its_storage_is_told_of_the_run_again() {
    let mut server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let gate = join(&server, spec("gate")).expect("it may join");
    let run = gate.part.run().to_owned();
    server.kill();
    server.empty();
    server.run();
    let admin = connect(&server.url());
    let runs = |part: &PartState| matches!(part, PartState::Runs { incarnation: 1, .. });
    wait_until("both parts", || {
        let state = site::state(&admin);
        state.is_ok_and(|state| state.run == run && state.parts.iter().all(|(_, part)| runs(part)))
    });
    let said = site::end(&admin).expect_err("it runs").to_string();
    assert!(said.contains("still runs on gate, server"), "{said}");
    let (told, hears) = channel();
    let tell = move || {
        let _ = told.send(());
    };
    gate.part.watch(tell, || {});
    site::drain(&admin).expect("it may be drained");
    hears.recv_timeout(PATIENCE).expect("the drain");
    gate.close();
    there.close();
}

#[test]
fn what_a_run_left_that_nobody_ended_is_refused_until_it_is_cleared() {
    let server = Server::start();
    make_store(&server, "fermata+test+faces+packets");
    let said = refused(&server, spec("server"));
    assert!(
        said.contains(
            "still holds what an earlier run of site `test` left (fermata+test+faces+packets)"
        ),
        "{said}"
    );
    let admin = connect(&server.url());
    assert_eq!(site::end(&admin).expect("cleared").len(), 1);
    join(&server, spec("server")).expect("it may join").close();
}

#[test]
fn a_drain_reaches_all_parts_and_those_that_come_later() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let gate = join(&server, spec("gate")).expect("it may join");
    let (told, hears) = channel();
    for part in [&there, &gate] {
        let told = told.clone();
        part.part.watch(
            move || told.send("drain").expect("a test that listens"),
            || panic!("nobody takes its place"),
        );
    }
    gate.part.drain();
    for _ in 0..2 {
        assert_eq!(hears.recv_timeout(PATIENCE), Ok("drain"));
    }
    let admin = connect(&server.url());
    // A part may hear of it before the server has stored it.
    wait_until("the drain to be on record", || {
        site::state(&admin).expect("a state").is_draining
    });
    gate.close();
    let again = join(&server, spec("gate")).expect("it may come back");
    let late = told.clone();
    again.part.watch(
        move || late.send("late").expect("a test that listens"),
        || {},
    );
    assert_eq!(hears.recv_timeout(PATIENCE), Ok("late"));
    again.close();
    there.close();
}

/// A connection sends what it still holds when it reconnects.
#[test]
fn a_part_whose_place_another_has_taken_says_nothing_when_it_is_connected_again() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let relay = Relay::start(&server);
    let cut_off = join_over(&relay.url(), spec("gate")).expect("it may join");
    relay.cut();
    let begun = Instant::now();
    let gate = loop {
        match join(&server, spec("gate")) {
            Ok(gate) => break gate,
            // The server has not yet noticed that it is gone.
            Err(SiteError::Taken { .. }) => assert!(begun.elapsed() < PATIENCE, "it stays"),
            Err(error) => panic!("{error}"),
        }
    };
    cut_off.part.drain();
    cut_off.part.ended();
    assert!(!cut_off.part.is_replaced());
    relay.mend();
    wait_until("it sees the other", || cut_off.part.is_replaced());
    cut_off.part.ended();
    cut_off.close();
    let state = site::state(&connect(&server.url())).expect("a state");
    let (_, part) = &state.parts[0];
    let runs = matches!(part, PartState::Runs { incarnation: 2, .. });
    assert!(runs && !state.is_draining, "{state:?}");
    gate.close();
    there.close();
}

#[test]
fn what_a_part_is_asked_while_it_is_cut_off_is_told_when_it_is_connected_again() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let relay = Relay::start(&server);
    let gate = join_over(&relay.url(), spec("gate")).expect("it may join");
    relay.cut();
    gate.part.drain();
    let admin = connect(&server.url());
    assert!(!site::state(&admin).expect("a state").is_draining);
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| gate.part.ended());
        relay.mend();
        ending.join().expect("its end");
    });
    wait_until("the drain", || {
        site::state(&admin).is_ok_and(|state| state.is_draining)
    });
    let state = site::state(&admin).expect("a state");
    let (_, part) = &state.parts[0];
    assert!(matches!(part, PartState::Ended { .. }), "{state:?}");
    gate.close();
    there.close();
}

/// Uses a server as a user who may do everything.
fn at_server<T>(server: &Server, doing: impl AsyncFnOnce(jetstream::Context) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = async_nats::connect(server.url()).await.expect("a client");
        doing(jetstream::new(client)).await
    })
}

/// Makes a store of an edge.
fn make_store(server: &Server, name: &str) {
    let config = jetstream::stream::Config {
        name: name.to_owned(),
        subjects: vec![name.to_owned()],
        ..Default::default()
    };
    at_server(server, async |jetstream| {
        jetstream.create_stream(config).await.expect("a store");
    });
}

/// Overwrites a record with something unreadable.
fn spoil(server: &Server, record: &'static str) {
    at_server(server, async |jetstream| {
        let subject = format!("fermata.test.site.{record}");
        let sent = jetstream.publish(subject, vec![0xff].into()).await;
        sent.expect("a publication").await.expect("it is stored");
    });
}

#[test]
fn a_parts_record_that_cannot_be_read_is_written_anew() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    spoil(&server, "part.gate");
    let (told, hears) = channel();
    let url = server.url();
    std::thread::spawn(move || {
        let _ = told.send(join_over(&url, spec("gate")));
    });
    let gate = hears
        .recv_timeout(PATIENCE)
        .expect("it joins, or is refused");
    let gate = gate.expect("it may join");
    // The unreadable record counts as an earlier life.
    assert_eq!(gate.part.incarnation(), 2);
    let admin = connect(&server.url());
    spoil(&server, "part.gate");
    let said = site::end(&admin).expect_err("it runs").to_string();
    assert!(said.contains("still runs on gate, server"), "{said}");
    gate.part.ended();
    let state = site::state(&admin).expect("a state");
    let (_, part) = &state.parts[0];
    assert!(matches!(part, PartState::Ended { .. }), "{state:?}");
    let written = at_server(&server, async |jetstream| {
        let store = jetstream.get_stream("fermata+test+site").await;
        store.expect("the store").cached_info().state.last_sequence
    });
    assert!(written < 50, "{written} messages");
    gate.close();
    there.close();
}

#[test]
fn a_run_that_cannot_be_read_is_written_anew_or_refused_by_name_and_can_be_cleared() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let admin = connect(&server.url());
    spoil(&server, "run");
    wait_until("the run again", || {
        site::state(&admin).is_ok_and(|state| state.run == there.part.run())
    });
    there.close();
    spoil(&server, "run");
    let told = site::state(&admin)
        .expect_err("it cannot be read")
        .to_string();
    let remedy = format!(
        "the run of site `test` cannot be read: clear it with `fermata site end --nats {} --site test`",
        server.url()
    );
    for said in [
        told,
        refused(&server, spec("server")),
        refused(&server, spec("gate")),
    ] {
        assert!(said.contains(&remedy), "{said}");
    }
    assert_eq!(site::end(&admin).expect("cleared"), ["fermata+test+site"]);
    join(&server, spec("server")).expect("it may join").close();
}
