//! The simulation itself: it repeats exactly, passes time, and carries out its commands on a run.

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::sim::{At, SimCommand, SimOptions, SimRun, simulate};
use fermata_engine::{Graph, Registry};

use crate::support::{assert_balanced, options};

pub(crate) fn simulated(text: &str, sim: &SimOptions) -> SimRun {
    let registry = Registry::builtin();
    let graph = Graph::parse("test.yaml", text, &registry, &options()).expect("a correct graph");
    simulate(graph, Arc::new(registry), sim).expect("a graph that starts")
}

const POOLED: &str = "\
fermata: 1
nodes:
  source: {use: test_source, count: 60, rate: 1000}
  pool:   {use: identity, in: source, work: 3ms, replicas: 3, batch: {max: 4}}
  bad:    {use: inject_faults, in: pool, panic_every: 25, fail_every: 7}
  end:    {use: discard, in: bad}
";

#[test]
fn the_same_seed_repeats_a_run_exactly_and_another_does_not() {
    let run = |seed| {
        let run = simulated(POOLED, &SimOptions::seeded(seed));
        assert!(run.ended, "{:#?}", run.report);
        assert_balanced(&run.report);
        let report = serde_json::to_string(&run.report).expect("a report is JSON");
        (run.steps, run.time, report)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn a_hung_replica_and_a_hung_lane_are_named_in_virtual_time() {
    let sim = SimOptions {
        commands: vec![(At::Time(Duration::from_secs(60)), SimCommand::Drain)],
        ..SimOptions::seeded(1)
    };
    for replicas in ["", "replicas: 2, "] {
        let text = format!(
            "\
fermata: 1
nodes:
  source: {{use: test_source, count: 100}}
  stuck:  {{use: inject_faults, in: source, {replicas}stall_after: 3}}
  end:    {{use: discard, in: stuck}}
"
        );
        let run = simulated(&text, &sim);
        assert!(run.ended);
        assert_balanced(&run.report);
        assert_eq!(run.report.hung, ["stuck"]);
        assert!(run.time >= Duration::from_secs(72), "{:?}", run.time);
    }
}

#[test]
fn streams_are_added_and_removed_at_chosen_moments() {
    let add = |name: &str| SimCommand::AddStream {
        name: name.to_owned(),
        uri: "x".to_owned(),
    };
    let at = |ms| At::Time(Duration::from_millis(ms));
    let sim = SimOptions {
        hold_open: true,
        commands: vec![
            (At::Step(3), add("door")),
            (at(500), add("hall")),
            (
                at(1000),
                SimCommand::RemoveStream {
                    name: "door".to_owned(),
                },
            ),
            (at(1500), add("door")),
            (at(2000), SimCommand::Drain),
            (at(3000), add("late")),
        ],
        ..SimOptions::seeded(1)
    };
    let run = simulated(
        "\
fermata: 1
nodes:
  source: {use: test_source, each: stream, rate: 100}
  shared: {use: identity, in: source}
  end:    {use: discard, each: stream, in: shared}
",
        &sim,
    );
    assert!(run.ended);
    assert_balanced(&run.report);
    let added: Vec<_> = run.added.iter().map(|name| name.as_deref().ok()).collect();
    assert_eq!(added[..3], [Some("door"), Some("hall"), Some("door.2")]);
    for (name, least) in [("door", 90), ("hall", 140), ("door.2", 45)] {
        let stream = &run.report.streams[name];
        assert!(stream.captured >= least, "{name}: {stream:?}");
        assert_eq!(stream.delivered, stream.captured, "{name}");
    }
}

/// A replica may have been given its next call before the lane knows that the last one failed.
#[test]
fn replicas_that_are_replaced_while_they_have_work_do_not_stop_their_lane() {
    const TEXT: &str = "\
fermata: 1
nodes:
  source: {use: test_source, count: 60}
  bad:    {use: inject_faults, in: source, fail_every: 1, on_error: restart, replicas: 3}
  end:    {use: discard, in: bad}
run: {restart: {most: 1000, within: 24h}}
";
    for seed in 0..20 {
        let run = simulated(TEXT, &SimOptions::seeded(seed));
        assert!(run.ended, "{seed}: {:#?}", run.report);
        assert_balanced(&run.report);
        let bad = &run.report.nodes["bad"];
        assert!(bad.failed > 0 && bad.restarts > 0, "{seed}: {bad:?}");
    }
}
