use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use actix::{Context, Handler, Message};

use super::*;
use crate::graph::LoadOptions;

/// Longer than anything takes here, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

thread_local! {
    /// Number of threads that may still be started from this thread; `None` for any number.
    static THREADS_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Uses one of the threads that may still be started.
pub(super) fn take_thread() -> io::Result<()> {
    match THREADS_LEFT.get() {
        Some(0) => Err(io::Error::other("none is left")),
        left => {
            THREADS_LEFT.set(left.map(|left| left - 1));
            Ok(())
        }
    }
}

/// Makes a handler of the control plane panic.
struct Panic;

impl Message for Panic {
    type Result = ();
}

impl Handler<Panic> for GraphSupervisor {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        panic!("on purpose");
    }
}

fn started(text: &str, hold_open: bool) -> Result<RunningGraph, StartError> {
    let registry = Arc::new(Registry::builtin());
    let graph = Graph::parse("t.yaml", text, &registry, &LoadOptions::new("out")).unwrap();
    let options = RunOptions {
        hold_open,
        ..RunOptions::default()
    };
    RunningGraph::start(graph, registry, options)
}

fn ended(running: RunningGraph) -> Report {
    match running.wait_for(PATIENCE) {
        Ok(report) => report,
        // Dropping it would wait for its end.
        Err(running) => {
            std::mem::forget(running);
            panic!("the run did not end");
        }
    }
}

#[test]
fn a_run_whose_control_plane_panics_ends_with_a_fault() {
    let text = "\
fermata: 1
nodes:
  s: {use: test_source, rate: 1000}
  e: {use: discard, in: s}
";
    let running = started(text, false).unwrap();
    running.handle().supervisor.do_send(Panic);
    let report = ended(running);
    let faults = &report.faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].message.contains("the control plane died"),
        "{faults:?}"
    );
}

#[test]
fn a_stream_for_which_there_is_no_thread_is_refused_and_others_go_on() {
    let text = "\
fermata: 1
nodes:
  s: {use: test_source, each: stream, count: 10}
  i: {use: identity, each: stream, in: s}
  e: {use: discard, in: i}
";
    let running = started(text, true).unwrap();
    let handle = running.handle();
    handle.add_stream("door", "x").unwrap();
    // The second of its two lanes gets no thread.
    THREADS_LEFT.set(Some(1));
    let refused = handle.add_stream("hall", "x").unwrap_err().to_string();
    THREADS_LEFT.set(None);
    assert_eq!(refused, "cannot start a thread: none is left");
    // Only its line in the report is kept.
    let asked = Instant::now();
    let is_open = |stream: &str| {
        let open = handle.snapshot().streams;
        open.iter().any(|open| open.name == stream)
    };
    while is_open("hall") {
        assert!(asked.elapsed() < PATIENCE, "it is still open");
        std::thread::sleep(Duration::from_millis(1));
    }
    handle.add_stream("yard", "x").unwrap();
    handle.streams_complete();
    let report = ended(running);
    assert!(report.balanced, "{:?}", report.imbalances);
    let delivered = |stream: &str| report.streams[stream].delivered;
    assert_eq!(["door", "hall", "yard"].map(delivered), [10, 0, 10]);
    assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
}

#[test]
fn a_graph_for_which_there_are_too_few_threads_does_not_start() {
    let text = "fermata: 1\nnodes:\n  s: {use: test_source}\n  e: {use: discard, in: s}\n";
    THREADS_LEFT.set(Some(1));
    let refused = started(text, false).map(drop).unwrap_err().to_string();
    THREADS_LEFT.set(None);
    assert_eq!(refused, "cannot start a thread: none is left");
}
