//! What is sent to browsers.

use fermata_engine::Registry;
use fermata_serve::Numbers;

use crate::client::{Browser, ask};
use crate::served::Served;

#[test]
fn a_picture_comes_for_each_credit_and_for_nothing_else() {
    let served = Served::start(None);
    let mut browser = Browser::own(served.address);
    let hello = browser.text("hello");
    assert_eq!(hello["graph"]["name"], "served");
    assert_eq!(hello["graph"]["edges"][1]["from"], "middle");
    browser.text("numbers");
    served.publish("door", 0);
    assert!(!browser.sees_picture_within(1), "nobody has asked");
    browser.say(r#"{"credit": ["door", "nobody"]}"#);
    assert_eq!(browser.picture(), ("door".to_owned(), 0));
    served.publish("door", 1);
    served.publish("door", 2);
    assert!(
        !browser.sees_picture_within(1),
        "the last was not shown yet"
    );
    browser.say(r#"{"credit": ["door"]}"#);
    assert_eq!(browser.picture(), ("door".to_owned(), 2));
    browser.say(r#"{"credit": ["door", "hall"]}"#);
    browser.say(r#"{"hide": ["door"]}"#);
    served.publish("hall", 7);
    assert_eq!(browser.picture(), ("hall".to_owned(), 7));
    let pictures = |text| -> u64 {
        let numbers: Numbers = serde_json::from_value(text).unwrap();
        numbers.pictures
    };
    while pictures(browser.text("numbers")) < 3 {}
    served.publish("door", 3);
    assert!(
        !browser.sees_picture_within(1),
        "its tile is not on the screen"
    );
    served.end();
}

#[test]
fn a_browser_that_takes_nothing_keeps_nobody_waiting() {
    let served = Served::start(None);
    let mut stuck = Browser::own(served.address);
    stuck.text("numbers");
    let mut quick = Browser::own(served.address);
    quick.text("numbers");
    for sequence in 0..300 {
        // It sends requests forever and never reads.
        stuck.say(r#"{"credit": ["door", "hall"]}"#);
        quick.say(r#"{"credit": ["door"]}"#);
        served.publish("door", sequence);
        served.publish("hall", sequence);
        assert_eq!(quick.picture().0, "door");
    }
    served.goes_on();
    served.end();
}

#[test]
fn an_edge_is_tapped_without_pixels() {
    let served = Served::start(None);
    let mut browser = Browser::own(served.address);
    browser.text("hello");
    browser.say(r#"{"tap": 1}"#);
    let tapped = browser.text("tapped");
    assert_eq!(tapped["edge"], 1);
    let first = &tapped["packets"][0];
    assert_eq!(first["carries"], "weight 1");
    assert!(["door", "hall"].contains(&first["stream"].as_str().unwrap()));
    browser.say(r#"{"tap": null}"#);
    browser.say(r#"{"tap": 99}"#);
    browser.text("numbers");
    served.end();
}

#[test]
fn the_last_numbers_agree_with_the_report() {
    let served = Served::start(None);
    let address = served.address;
    let mut browser = Browser::own(address);
    browser.text("numbers");
    served.goes_on();
    let watching = std::thread::spawn(move || {
        loop {
            let numbers: Numbers = serde_json::from_value(browser.text("numbers")).unwrap();
            if numbers.run == "over" {
                return (numbers, browser.end());
            }
        }
    });
    let report = served.end();
    let (numbers, _) = watching.join().unwrap();
    assert_eq!(numbers.streams.len(), 2);
    for stream in &numbers.streams {
        let said = &report.streams[&stream.name];
        assert_eq!(stream.state, "over");
        assert_eq!(
            (stream.captured, stream.delivered),
            (said.captured, said.delivered)
        );
        assert!(said.captured > 0);
    }
    let nodes: u64 = numbers.nodes.iter().map(|node| node.processed).sum();
    assert!(nodes > 0);
}

#[test]
fn a_snapshot_is_for_scripts() {
    let served = Served::start(None);
    Browser::own(served.address).text("numbers");
    let answer = ask(served.address, "GET /snapshot", &[], "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let numbers: Numbers = serde_json::from_value(json["numbers"].clone()).unwrap();
    assert_eq!((numbers.graph.as_str(), numbers.nodes.len()), ("served", 3));
    assert!(json["journal"].is_array());
    assert_eq!(ask(served.address, "GET /readyz", &[], "").status, 200);
    served.end();
}

const BREAKING: &str = "\
fermata: 1
name: breaking
nodes:
  source: {use: test_source, rate: 200}
  breaks: {use: inject_faults, in: source, panic_every: 20, fail_every: 7}
  end:    {use: discard, in: breaks}
run: {restart: {most: 1000, within: 10h}}
";

#[test]
fn a_run_is_ready_once_its_nodes_are_there() {
    let served = Served::unready(BREAKING, Registry::builtin(), None, None);
    let ready = || ask(served.address, "GET /readyz", &[], "");
    assert_eq!(ready().status, 503);
    assert_eq!(ready().body, "not ready\n");
    served.ready();
    assert_eq!(ready().status, 200);
    served.end();
}

#[test]
fn what_fails_and_is_built_anew_is_told_with_its_reason() {
    let served = Served::of(BREAKING, Registry::builtin(), None, None);
    let mut browser = Browser::own(served.address);
    let restarted = loop {
        let entries = browser.text("journal");
        let mut entries = entries.as_array().unwrap().iter();
        if let Some(entry) = entries.find(|entry| entry["kind"] == "restarted") {
            break entry["text"].clone();
        }
    };
    assert_eq!(
        restarted,
        "breaks was restarted, because it failed: panicked: panic on purpose at packet 20"
    );
    loop {
        let numbers: Numbers = serde_json::from_value(browser.text("numbers")).unwrap();
        let mut troubles = numbers.troubles.iter();
        if troubles.any(|trouble| trouble.ends_with("packets a second fail at breaks.")) {
            break;
        }
    }
    served.end();
}
