//! Tests that what observers are told about packets is consistent, whatever the threads of a run do.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fermata_engine::observer::{Event, Observer, Recorder, Seen};
use fermata_engine::{Graph, LoadOptions, Registry, RunOptions, RunningGraph};

/// Counts packets taken, and packets taken before they were queued.
#[derive(Clone, Default)]
struct Counts(Arc<(AtomicU64, AtomicU64)>);

impl Observer for Counts {
    fn recorder(&self, _: &str) -> Box<dyn Recorder> {
        Box::new(self.clone())
    }
}

impl Recorder for Counts {
    fn record(&mut self, seen: &Seen<'_>) {
        if let Event::Taken { queued_ns, .. } = seen.event {
            let (taken, before) = &*self.0;
            taken.fetch_add(1, Ordering::Relaxed);
            before.fetch_add(u64::from(seen.at_ns < queued_ns), Ordering::Relaxed);
        }
    }
}

/// A lane that is suspended between reading the clock and polling its queue finds packets queued in the meantime.
#[test]
fn nothing_is_taken_before_it_was_queued() {
    let text = "\
fermata: 1
streams: {a: x, b: x, c: x}
nodes:
  source: {use: test_source, each: stream, count: 50000}
  shared: {use: identity, in: source}
  pool:   {use: identity, in: shared, replicas: 2}
  end:    {use: discard, each: stream, in: pool}
run: {clock: live}
";
    let registry = Registry::builtin();
    let graph = Graph::parse("t.yaml", text, &registry, &LoadOptions::new("out")).unwrap();
    let counts = Counts::default();
    let options = RunOptions {
        observer: Some(Arc::new(counts.clone())),
        ..RunOptions::default()
    };
    let running = RunningGraph::start(graph, Arc::new(registry), options).unwrap();
    assert!(running.wait().balanced);
    let (taken, before) = &*counts.0;
    assert_eq!(taken.load(Ordering::Relaxed), 3 * 150_000);
    assert_eq!(
        before.load(Ordering::Relaxed),
        0,
        "taken before it was queued"
    );
}
