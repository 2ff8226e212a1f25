//! Graphs that run: what arrives, in which order, and whether the books record it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fermata_engine::statistics::NodeState;
use fermata_engine::{
    Actor, ActorError, Graph, Input, Outputs, Ports, Registry, RunOptions, RunningGraph, Services,
    Setup,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::{assert_balanced, options, run, start, start_with, wait_until};

/// How long a run that is not stuck may take, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_chain_delivers_everything() {
    let report = run("\
fermata: 1
nodes:
  source: {use: test_source, count: 20000, bytes: 900KiB}
  middle: {use: identity, in: source, queue: {capacity: 10}, lane: one}
  end:    {use: discard, in: middle, lane: one}
");
    assert_balanced(&report);
    assert_eq!(report.streams["source"].delivered, 20_000);
    assert_eq!(report.nodes["end"].processed, 20_000);
}

#[test]
fn failing_and_panicking_actors_lose_only_their_packets() {
    let report = run("\
fermata: 1
nodes:
  source: {use: test_source, count: 1000}
  bad:    {use: inject_faults, in: source, panic_every: 400, fail_every: 7}
  pool:   {use: identity, in: bad, work: 50us, replicas: 3, batch: {max: 4}}
  end:    {use: discard, in: pool}
run: {clock: asap}
");
    assert_balanced(&report);
    let bad = &report.nodes["bad"];
    assert_eq!(bad.restarts, 2);
    assert!(bad.failed > 2, "{bad:?}");
    let sink = &report.streams["source"].sinks["end"];
    assert_eq!(sink.delivered + sink.losses.values().sum::<u64>(), 1000);
    assert_eq!(sink.delivered, 1000 - bad.failed);
}

#[test]
fn a_drain_delivers_every_captured_packet() {
    let running = start(
        "\
fermata: 1
nodes:
  source: {use: test_source}
  slow:   {use: identity, in: source, work: 200us}
  end:    {use: discard, in: slow}
",
    );
    let handle = running.handle();
    wait_until("packets", || handle.report().nodes["end"].processed >= 50);
    handle.drain();
    let report = running.wait();
    assert_balanced(&report);
    let stream = &report.streams["source"];
    assert!(stream.captured >= 50);
    assert_eq!(stream.delivered, stream.captured);
}

#[test]
fn a_stop_counts_what_it_abandons() {
    let running = start(
        "\
fermata: 1
nodes:
  source: {use: test_source}
  slow:   {use: identity, in: source, work: 200ms}
  end:    {use: discard, in: slow}
",
    );
    let handle = running.handle();
    wait_until("a full queue", || {
        let nodes = handle.snapshot().nodes;
        let mut sources = nodes.iter().filter(|node| node.place.node == "source");
        sources.any(|source| source.state == NodeState::Blocked)
    });
    handle.stop();
    let report = running.wait();
    assert_balanced(&report);
    let sink = &report.streams["source"].sinks["end"];
    assert!(sink.losses.values().sum::<u64>() > 0, "{sink:?}");
    for loss in sink.losses.keys() {
        let words: Vec<&str> = loss.split(' ').collect();
        assert!(
            matches!(words[..], ["abandoned", "at" | "before", "slow" | "end"]),
            "{loss}"
        );
    }
}

#[test]
fn streams_come_and_go_while_the_graph_runs() {
    let options = RunOptions {
        hold_open: true,
        ..RunOptions::default()
    };
    let running = start_with(
        "\
fermata: 1
nodes:
  source: {use: test_source, each: stream, rate: 500}
  shared: {use: identity, in: source}
  end:    {use: discard, each: stream, in: shared}
",
        Registry::builtin(),
        options,
    );
    let handle = running.handle();
    assert_eq!(handle.add_stream("door", "x").unwrap(), "door");
    assert_eq!(handle.add_stream("hall", "x").unwrap(), "hall");
    let delivered = |name: &str| {
        let report = handle.report();
        report.nodes.get(name).map_or(0, |node| node.processed)
    };
    wait_until("packets of both", || {
        delivered("end@door") >= 10 && delivered("end@hall") >= 10
    });
    assert!(handle.remove_stream("door"));
    assert!(!handle.remove_stream("cellar"));
    assert_eq!(handle.add_stream("door", "x").unwrap(), "door.2");
    wait_until("packets of the new one", || delivered("end@door.2") >= 10);
    handle.drain();
    let report = running.wait();
    assert_balanced(&report);
    assert_eq!(report.streams.len(), 3);
    for (name, stream) in &report.streams {
        assert_eq!(stream.delivered, stream.captured, "{name}");
    }
}

#[test]
fn a_slow_sink_that_drops_does_not_delay_a_lossless_one() {
    let report = run("\
fermata: 1
nodes:
  source: {use: test_source, count: 300, rate: 1000}
  fast:   {use: discard, in: source}
  slow:   {use: identity, in: source, work: 10ms, queue: {capacity: 1, full: drop_oldest}}
  end:    {use: discard, in: slow}
");
    assert_balanced(&report);
    let stream = &report.streams["source"];
    assert_eq!(stream.sinks["fast"].delivered, 300);
    let edge = report.edges.iter().find(|edge| edge.to == "slow").unwrap();
    assert!(edge.dropped["drop_oldest"] > 100, "{edge:?}");
    assert_eq!(stream.delivered, 300, "lossless sinks count");
}

#[test]
fn a_call_that_never_returns_is_named() {
    let running = start(
        "\
fermata: 1
nodes:
  source: {use: test_source, count: 100}
  stuck:  {use: inject_faults, in: source, stall_after: 3}
  end:    {use: discard, in: stuck}
run: {drain: 200ms}
",
    );
    let handle = running.handle();
    // Drained earlier, the run might end without the call that hangs.
    wait_until("the call that hangs", || {
        let nodes = handle.snapshot().nodes;
        let stuck = nodes.iter().find(|node| node.place.node == "stuck");
        stuck.is_some_and(|stuck| stuck.processed == 3 && !stuck.calls.is_empty())
    });
    handle.drain();
    let report = running.wait();
    assert_balanced(&report);
    assert_eq!(report.hung, ["stuck"]);
}

#[test]
fn a_recording_that_is_held_up_shows_it_in_its_latency() {
    let report = run("\
fermata: 1
nodes:
  source: {use: test_source, rate: 100, count: 30}
  slow:   {use: identity, in: source, work: 20ms, queue: {capacity: 1}}
  end:    {use: discard, in: slow}
run: {clock: live}
");
    // The last packet was due after 290 ms and arrives after 600 ms at the earliest.
    let latency = report.streams["source"].sinks["end"].latency_ms;
    assert!(latency.max > 250.0, "{latency:?}");
}

/// The report and the faults are guarded by separate locks.
#[test]
fn a_run_can_be_asked_for_its_report_while_faults_are_found() {
    let streams: Vec<String> = (0..60).map(|number| format!("s{number}: x")).collect();
    let running = start(&format!(
        "\
fermata: 1
streams: {{{}}}
nodes:
  source: {{use: test_source, each: stream, count: 30, lane: one}}
  bad:    {{use: inject_faults, each: stream, in: source, fail_every: 20, on_error: stop, lane: one}}
  end:    {{use: discard, in: bad}}
",
        streams.join(", ")
    ));
    let is_over = Arc::new(AtomicBool::new(false));
    for _ in 0..2 {
        let (handle, is_over) = (running.handle(), Arc::clone(&is_over));
        // Not joined: if it got stuck, the test must fail rather than hang.
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                assert!(handle.report().faults.len() <= 60);
            }
        });
    }
    let report = running.wait_for(PATIENCE).unwrap_or_else(|running| {
        // Dropping the run would wait for it.
        std::mem::forget(running);
        panic!("the run is stuck");
    });
    is_over.store(true, Ordering::Relaxed);
    assert_eq!(report.faults.len(), 60);
    assert_balanced(&report);
}

/// When the stream ends, the run would be over, but it knows that another stream is to come.
#[test]
fn the_only_stream_is_replaced_again_and_again() {
    let text = "\
fermata: 1
streams: {door: x}
nodes:
  source: {use: test_source, each: stream, rate: 1000}
  end:    {use: discard, in: source}
run: {clock: live}
";
    let running = start(text);
    let handle = running.handle();
    let mut names = vec!["door".to_owned()];
    for _ in 0..100 {
        let before = names.last().unwrap();
        let name = handle.replace_stream(before, "door", "x").unwrap();
        names.push(name);
    }
    assert!(handle.replace_stream("door.101", "", "x").is_err());
    // A refused name ends nothing.
    wait_until("packets of the last one", || {
        let stream = handle.stream_report("door.101");
        stream.is_some_and(|stream| stream.delivered > 10)
    });
    handle.drain();
    let report = running.wait();
    assert_balanced(&report);
    assert_eq!(report.streams.len(), names.len());
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Is created once the gate is open.
struct Late;

impl Actor for Late {
    const NAME: &'static str = "late";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new().any_input("in").needs::<AtomicBool>()
    }

    fn create(_: Nothing, setup: &Setup) -> Result<Self, ActorError> {
        let gate: Arc<AtomicBool> = setup.service().ok_or("no gate")?;
        while !gate.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

#[test]
fn a_run_has_started_once_all_of_its_nodes_exist() {
    let text = "\
fermata: 1
nodes:
  source: {use: test_source, count: 1}
  end:    {use: late, in: source}
";
    let mut registry = Registry::builtin();
    registry.register::<Late>();
    let graph = Graph::parse("late.yaml", text, &registry, &options()).unwrap();
    let gate = Arc::new(AtomicBool::new(false));
    let options = RunOptions {
        services: Services::new().with(Arc::clone(&gate)),
        ..RunOptions::default()
    };
    let running = RunningGraph::launch(graph, Arc::new(registry), options).unwrap();
    let handle = running.handle();
    assert!(!handle.has_started());
    gate.store(true, Ordering::Relaxed);
    running.created().unwrap();
    assert!(handle.has_started());
    assert_balanced(&running.wait());
}
