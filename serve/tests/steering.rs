//! Changes that can be made through the page.

use std::path::PathBuf;

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Registry, RunHandle, Setup};
use fermata_serve::{Numbers, StreamNumbers, Token};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::client::{Browser, ask, own_origin};
use crate::served::Served;

fn post(served: &Served, path: &str, body: &str) -> (u16, String) {
    let origin = own_origin(served.address);
    let line = format!("POST {path}");
    let answer = ask(served.address, &line, &[("Origin", &origin)], body);
    (answer.status, answer.body)
}

/// Waits until the numbers show a stream in a state.
fn wait_for(browser: &mut Browser, stream: &str, state: &str) -> Numbers {
    wait_until(browser, stream, |known| known.state == state).0
}

/// Waits until the numbers show a stream as it is to be; returns them, and what they say of it.
fn wait_until(
    browser: &mut Browser,
    stream: &str,
    is: impl Fn(&StreamNumbers) -> bool,
) -> (Numbers, StreamNumbers) {
    loop {
        let numbers: Numbers = serde_json::from_value(browser.text("numbers")).unwrap();
        let mut streams = numbers.streams.iter();
        if let Some(known) = streams.find(|known| known.name == stream && is(known)) {
            let known = known.clone();
            return (numbers, known);
        }
    }
}

#[test]
fn streams_are_added_removed_and_opened_again() {
    let served = Served::start(None);
    let mut browser = Browser::own(served.address);
    let added = post(&served, "/streams/add", r#"{"name": "yard", "uri": "z"}"#);
    assert_eq!(added, (200, "yard begins\n".to_owned()));
    wait_for(&mut browser, "yard", "running");
    let removed = post(&served, "/streams/remove", r#"{"name": "yard"}"#);
    assert_eq!(removed, (200, "yard ends\n".to_owned()));
    let is_over = |stream: &StreamNumbers| stream.state == "over" && stream.reason.is_some();
    let (_, over) = wait_until(&mut browser, "yard", is_over);
    let reason = over.reason.unwrap();
    assert!(reason.starts_with("it was asked to end"), "{reason}");
    let again = post(&served, "/streams/reconnect", r#"{"name": "yard"}"#);
    assert_eq!(again, (200, "yard.2 begins\n".to_owned()));
    wait_for(&mut browser, "yard.2", "running");
    let is_reopened = |stream: &StreamNumbers| stream.reopened_as.is_some();
    let (_, before) = wait_until(&mut browser, "yard", is_reopened);
    assert_eq!(before.reopened_as.as_deref(), Some("yard.2"));
    assert_eq!(
        before.reason.as_deref(),
        Some("it was opened again, as yard.2")
    );
    let third = post(&served, "/streams/reconnect", r#"{"name": "yard.2"}"#);
    assert_eq!(third, (200, "yard.3 begins\n".to_owned()));
    wait_for(&mut browser, "yard.2", "over");
    for (path, body, status) in [
        ("/streams/remove", r#"{"name": "nobody"}"#, 404),
        ("/streams/reconnect", r#"{"name": "nobody"}"#, 404),
        ("/streams/add", r#"{"name": "../x", "uri": "z"}"#, 422),
        ("/streams/add", r#"{"name": "door.9", "uri": "z"}"#, 422),
        ("/streams/add", r#"{"name": "x"}"#, 400),
        ("/streams/add", r#"{"name": "x", "uri": "z", "y": 1}"#, 400),
        ("/streams/add", "", 400),
    ] {
        let (given, said) = post(&served, path, body);
        assert_eq!(given, status, "{path} {body}: {said}");
    }
    let answer = ask(served.address, "GET /drain", &[("Origin", "x")], "");
    assert_eq!(answer.status, 405);
    assert_eq!(post(&served, "/drain", "").0, 200);
    wait_for(&mut browser, "door", "over");
    let report = served.end();
    assert_eq!(report.streams.len(), 5);
}

/// Two browsers, or a double click: the source of a stream is open once.
#[test]
fn a_stream_that_was_opened_again_is_not_opened_once_more() {
    let served = Served::start(None);
    let mut browser = Browser::own(served.address);
    let address = served.address;
    let again = |name: &str| {
        let body = serde_json::json!({"name": name}).to_string();
        let origin = own_origin(address);
        let headers = [("Origin", &*origin)];
        let answer = ask(address, "POST /streams/reconnect", &headers, &body);
        (answer.status, answer.body)
    };
    let mut answers = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| again("door"))).collect();
        let answers = asked.into_iter().map(|asked| asked.join().unwrap());
        answers.collect::<Vec<_>>()
    });
    answers.sort();
    assert_eq!(answers[0], (200, "door.2 begins\n".to_owned()));
    for (status, said) in &answers[1..] {
        assert!(*status == 409 && said.contains("as `door.2`"), "{said}");
    }
    wait_for(&mut browser, "door", "over");
    assert_eq!(again("door").0, 409);
    assert_eq!(again("door.2"), (200, "door.3 begins\n".to_owned()));
    assert_eq!(again("door").0, 409, "it continues as door.3");
    assert_eq!(again("hall"), (200, "hall.2 begins\n".to_owned()));
    // Once the last of them has ended, any of them may be opened again.
    post(&served, "/streams/remove", r#"{"name": "door.3"}"#);
    wait_for(&mut browser, "door.3", "over");
    assert_eq!(again("door"), (200, "door.4 begins\n".to_owned()));
    assert_eq!(again("door.2").0, 409, "it continues as door.4");
    let report = served.end();
    assert_eq!(report.streams.len(), 6);
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WriteSettings {
    path: PathBuf,
}

/// An actor that declares that it writes a file.
struct Write;

impl Actor for Write {
    const NAME: &'static str = "write";
    type Settings = WriteSettings;

    fn ports(settings: &WriteSettings) -> Ports {
        Ports::new().any_input("in").writes(&settings.path)
    }

    fn check(settings: &WriteSettings) -> Result<(), ActorError> {
        match settings.path.to_str() {
            Some("/out/missing.csv") => Err("`missing` is not there".into()),
            _ => Ok(()),
        }
    }

    fn create(settings: WriteSettings, _: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

const WRITING: &str = "\
fermata: 1
streams: {door: x}
nodes:
  source: {use: test_source, each: stream, rate: 200}
  write:  {use: write, each: stream, in: source, path: \"/out/${stream.uri}.csv\"}
";

/// A typing mistake fails no run, and takes nobody's name.
#[test]
fn a_stream_that_is_refused_leaves_nothing_behind() {
    let mut registry = Registry::builtin();
    registry.register::<Write>();
    let served = Served::of(WRITING, registry, None, None);
    let mut browser = Browser::own(served.address);
    let add = |uri: &str| {
        let body = serde_json::json!({"name": "yard", "uri": uri}).to_string();
        post(&served, "/streams/add", &body)
    };
    let (status, said) = add("missing");
    assert!(status == 422 && said.contains("is not there"), "{said}");
    let again = served.handle.replace_stream("door", "door", "missing");
    assert!(again.unwrap_err().to_string().contains("is not there"));
    assert_eq!(add("y"), (200, "yard begins\n".to_owned()));
    let numbers = wait_for(&mut browser, "yard", "running");
    assert_eq!(numbers.streams.len(), 2);
    // The stream that it was to replace continues.
    assert!(
        numbers
            .streams
            .iter()
            .all(|stream| stream.state == "running")
    );
    let report = served.end();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let streams: Vec<&String> = report.streams.keys().collect();
    assert_eq!(streams, ["door", "yard"]);
}

/// A reopened stream would write to the file of its predecessor.
#[test]
fn a_stream_that_could_not_begin_again_is_not_ended() {
    let mut registry = Registry::builtin();
    registry.register::<Write>();
    let served = Served::of(WRITING, registry, None, None);
    let mut browser = Browser::own(served.address);
    let (status, said) = post(&served, "/streams/reconnect", r#"{"name": "door"}"#);
    assert!(status == 422 && said.contains("both write"), "{said}");
    // Once a later stream is running, the refused one would have been replaced.
    let added = post(&served, "/streams/add", r#"{"name": "yard", "uri": "y"}"#);
    assert_eq!(added, (200, "yard begins\n".to_owned()));
    let numbers = wait_for(&mut browser, "yard", "running");
    let mut streams = numbers.streams.iter();
    let door = streams.find(|stream| stream.name == "door").unwrap();
    assert_eq!(door.state, "running");
    served.goes_on();
    served.end();
}

/// A stream that was neither listed nor added is not reopened, and does not end because of it.
#[test]
fn a_stream_of_a_shared_source_is_not_opened_again() {
    let graph = "\
fermata: 1
nodes:
  source: {use: test_source, rate: 200}
  end:    {use: discard, in: source}
";
    let served = Served::of(graph, Registry::builtin(), None, None);
    let (status, said) = post(&served, "/streams/reconnect", r#"{"name": "source"}"#);
    assert!(status == 422 && said.contains("opens it once"), "{said}");
    served.goes_on();
    served.end();
}

#[test]
fn a_run_that_is_ended_from_elsewhere_says_so() {
    for (end, word) in [
        (RunHandle::drain as fn(&RunHandle), "draining"),
        (RunHandle::stop, "stopping"),
    ] {
        let served = Served::start(None);
        let mut browser = Browser::own(served.address);
        let run = |browser: &mut Browser| browser.text("numbers")["run"].clone();
        while run(&mut browser) != "running" {}
        end(&served.handle);
        while run(&mut browser) != word {}
        let snapshot = ask(served.address, "GET /snapshot", &[], "").body;
        let snapshot: serde_json::Value = serde_json::from_str(&snapshot).unwrap();
        let entries = snapshot["journal"].as_array().unwrap();
        assert!(
            entries.iter().any(|entry| entry["kind"] == word),
            "{entries:?}"
        );
        served.end();
    }
}

#[test]
fn behind_a_proxy_streams_come_from_the_network_alone() {
    let served = Served::behind("cameras.example");
    let host = format!("cameras.example:{}", served.address.port());
    let origin = format!("https://{host}");
    for (uri, status) in [("/dev/video0", 403), ("pipe:0", 403), ("rtsp://h/", 200)] {
        let body = serde_json::json!({"name": "yard", "uri": uri}).to_string();
        let headers = [("Host", &*host), ("Origin", &*origin)];
        let answer = ask(served.address, "POST /streams/add", &headers, &body);
        assert_eq!(answer.status, status, "{uri}: {}", answer.body);
    }
    served.end();
}

#[test]
fn where_others_see_the_page_streams_come_from_the_network_alone() {
    let token = Token::fresh().unwrap();
    let served = Served::start(Some(&token));
    let bearer = format!("Bearer {}", token.secret());
    let add = |uri: &str| {
        let body = serde_json::json!({"name": "yard", "uri": uri}).to_string();
        let headers = [("Authorization", &*bearer)];
        ask(served.address, "POST /streams/add", &headers, &body).status
    };
    assert_eq!(add("/etc/passwd"), 403);
    assert_eq!(add("/dev/video0"), 403);
    assert_eq!(add("rtsp://me:pw@camera/main"), 200);
    let answer = ask(
        served.address,
        "GET /snapshot",
        &[("Authorization", &bearer)],
        "",
    );
    assert!(!answer.body.contains("pw"), "{}", answer.body);
    served.end();
}
