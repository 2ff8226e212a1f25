//! A stream that arrives from another machine keeps the name that it has there, so one that could not be added may be
//! added again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fermata_engine::{RunHandle, RunOptions, RunningGraph, Services};

use crate::ends::{ACTORS, Failures, registry};
use crate::load;

const SITE: &str = "\
machines: {gate: {}, server: {}}
streams: {door: x}
nodes:
  capture: {use: numbers, each: stream, on: gate}
  fickle: {use: fickle, each: stream, in: capture, on: server}
  log: {use: write, each: stream, in: fickle, path: \"${run.dir}/${stream.name}\", on: server}
";

/// Waits until nothing of a stream runs any more.
fn wait_until_closed(handle: &RunHandle, stream: &str) {
    let began = Instant::now();
    while handle
        .snapshot()
        .streams
        .iter()
        .any(|now| now.name == stream)
    {
        assert!(began.elapsed() < Duration::from_secs(60), "{stream} stays");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_stream_that_could_not_be_added_may_arrive_again() {
    let actors = registry();
    let part = load(SITE).unwrap().part("server", ACTORS, &actors).unwrap();
    let options = RunOptions {
        hold_open: true,
        services: Services::new().with(Arc::new(Failures(2.into()))),
        ..RunOptions::default()
    };
    let running = RunningGraph::start(part, Arc::new(actors), options).unwrap();
    let handle = running.handle();
    let add = || handle.add_arriving_stream("yard", "capture-server");
    for _ in 0..2 {
        let refused = add().unwrap_err().to_string();
        assert!(refused.contains("not yet"), "{refused}");
        wait_until_closed(&handle, "yard");
    }
    add().unwrap();
    wait_until_closed(&handle, "yard");
    // This one has been here: another of its name would be mistaken for it.
    let refused = add().unwrap_err().to_string();
    assert!(refused.contains("has been here before"), "{refused}");
    handle.streams_complete();
    let Ok(report) = running.wait_for(Duration::from_secs(60)) else {
        panic!("the run does not end");
    };
    assert!(report.balanced, "{report:?}");
    assert_eq!(report.faults.len(), 2, "{:?}", report.faults);
    assert!(report.streams["yard"].ended, "{report:?}");
}
