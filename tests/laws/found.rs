//! Cases that once broke a law, each named after what it showed.

use crate::support::{assert_balanced, run, start, wait_until};

#[test]
fn a_source_that_waits_for_room_is_blocked_not_waiting() {
    let report = run("\
fermata: 1
nodes:
  source: {use: test_source, count: 100}
  slow:   {use: identity, in: source, work: 1ms, queue: {capacity: 1}}
  end:    {use: discard, in: slow}
");
    let source = &report.nodes["source"];
    assert!(source.blocked > 0.5, "{source:?}");
    assert!(source.waiting < 0.5, "{source:?}");
}

#[test]
fn a_replica_whose_call_never_returns_is_named() {
    let running = start(
        "\
fermata: 1
nodes:
  source: {use: test_source, count: 100}
  stuck:  {use: inject_faults, in: source, stall_after: 3, replicas: 2}
  end:    {use: discard, in: stuck}
run: {drain: 200ms}
",
    );
    let handle = running.handle();
    wait_until("what comes before the stall", || {
        handle.report().nodes["end"].processed >= 3
    });
    handle.drain();
    let report = running.wait();
    assert_balanced(&report);
    assert_eq!(report.hung, ["stuck"]);
}
