//! Faults found by reading the engine, each as a simulated run that shows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fermata_engine::sim::{At, SimCommand, SimOptions, SimRun, simulate};
use fermata_engine::testing::Collector;
use fermata_engine::{
    Actor, ActorError, Captured, Graph, Input, Next, Outputs, Overrides, Payload, Ports, Registry,
    Setup, Source,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::actors;
use super::keep::{self, Event, Life};
use crate::support::{assert_balanced, options};

/// Returns the settings of a source of 100 packets at 1000 per second, with changes.
fn counter(changes: &str) -> String {
    let mut keys: Vec<(&str, &str)> = vec![
        ("use", "counter"),
        ("of", "numbers"),
        ("count", "100"),
        ("rate", "1000"),
        ("live", "false"),
        ("weights", "2"),
    ];
    for change in changes.split(", ").filter(|change| !change.is_empty()) {
        let (key, value) = change.split_once(": ").expect("KEY: VALUE");
        keys.retain(|(known, _)| *known != key);
        keys.push((key, value));
    }
    let keys: Vec<String> = keys
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    format!("{{{}}}", keys.join(", "))
}

/// Simulates a graph; also returns the lives of its actors that keep state.
pub(crate) fn simulated(body: &str, registry: Registry, sim: &SimOptions) -> (SimRun, Vec<Life>) {
    let record = keep::open();
    let mut options = options();
    options.overrides = Overrides {
        params: vec![format!("run={record}")],
        ..Overrides::default()
    };
    let text = format!("fermata: 1\nparams: {{run: 0}}\n{body}");
    let graph = Graph::parse("test.yaml", &text, &registry, &options).expect("a correct graph");
    let run = simulate(graph, Arc::new(registry), sim).expect("a graph that starts");
    (run, keep::close(record))
}

/// Simulates a graph of the laws' actors to its end and asserts that its books balance.
fn ended(body: &str) -> (SimRun, Vec<Life>) {
    let (run, lives) = simulated(body, actors::registry(), &SimOptions::seeded(1));
    assert!(run.ended, "{:?}: {:#?}", run.unfinished, run.report);
    assert_balanced(&run.report);
    (run, lives)
}

fn delivered(run: &SimRun, node: &str) -> u64 {
    let deliveries = run.deliveries.iter();
    deliveries.filter(|delivery| delivery.node == node).count() as u64
}

fn assert_no_faults(run: &SimRun) {
    assert!(run.report.faults.is_empty(), "{:#?}", run.report.faults);
}

#[test]
fn a_large_batch_reaches_everybody_behind_it_in_a_lane() {
    let (run, _) = ended(&format!(
        "\
nodes:
  s: {}
  b: {{use: identity, in: s, batch: {{max: 128, wait: 1s}}, lane: l}}
  x: {{use: identity, in: b, lane: l}}
  y: {{use: identity, in: b, lane: l}}
  z: {{use: identity, in: y, lane: l}}
  j: {{use: meet, of: numbers, inputs: 2, in: {{a: x, b: z}}}}
",
        counter("count: 600")
    ));
    assert_no_faults(&run);
    assert_eq!(delivered(&run, "j"), 600);
}

static ALIVE: AtomicUsize = AtomicUsize::new(0);
static MOST_ALIVE: AtomicUsize = AtomicUsize::new(0);

/// A payload whose living instances are counted.
struct Alive;

impl Alive {
    fn new() -> Self {
        let alive = 1 + ALIVE.fetch_add(1, Ordering::Relaxed);
        MOST_ALIVE.fetch_max(alive, Ordering::Relaxed);
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Payload for Alive {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Has two outputs, and emits 400 packets on the first of them.
struct TwoOutputs(i64);

impl Source for TwoOutputs {
    const NAME: &'static str = "two_outputs";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new().output::<Alive>("out").output::<Alive>("more")
    }

    fn create(_: Nothing, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self(0))
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        self.0 += 1;
        if self.0 > 400 {
            return Ok(Next::End);
        }
        let pts_ns = self.0 * 1_000_000;
        Ok(Next::Packet(Captured::new(Arc::new(Alive::new()), pts_ns)))
    }
}

/// Joins any two inputs.
struct Pair;

impl Actor for Pair {
    const NAME: &'static str = "pair";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new().any_input("a").any_input("b")
    }

    fn create(_: Nothing, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

fn with_two_outputs() -> Registry {
    let mut registry = Registry::builtin();
    registry.register_source::<TwoOutputs>();
    registry.register::<Pair>();
    registry
}

#[test]
fn a_join_in_a_lane_holds_no_more_than_its_queues() {
    let text = "\
nodes:
  s: {use: two_outputs, lane: l}
  x: {use: identity, in: s.out, lane: l, batch: {max: 300, wait: 1s}}
  j: {use: pair, in: {a: s.out, b: x}, lane: l}
";
    let (run, _) = simulated(text, with_two_outputs(), &SimOptions::seeded(1));
    assert!(run.ended, "{:#?}", run.report);
    assert_balanced(&run.report);
    assert_no_faults(&run);
    assert_eq!(delivered(&run, "j"), 400);
    let most = MOST_ALIVE.load(Ordering::Relaxed);
    assert!(most <= 40, "{most} packets at once");
}

#[test]
fn a_source_that_is_given_up_while_its_packets_wait_ends_its_stream() {
    for seed in 0..50 {
        let text = format!(
            "\
nodes:
  s: {}
  slow: {{use: identity, in: s, work: 50ms, queue: {{capacity: 1}}}}
run: {{restart: {{most: 0}}}}
",
            counter("live: true, fail_after: 30, on_error: restart, lane: l")
        );
        let sim = SimOptions::seeded(seed);
        let (run, _) = simulated(&text, actors::registry(), &sim);
        assert!(run.ended, "{seed}: {:#?}", run.report);
        assert_balanced(&run.report);
        assert_eq!(run.report.faults.len(), 1, "{:#?}", run.report.faults);
    }
}

#[test]
fn a_batch_that_still_waits_is_no_deadlock() {
    let (run, _) = ended(&format!(
        "\
nodes:
  s: {}
  a: {{use: identity, in: s}}
  b: {{use: identity, in: s, batch: {{max: 64, wait: 5s}}}}
  j: {{use: meet, of: numbers, inputs: 2, in: {{a: a, b: b}}}}
",
        counter("")
    ));
    assert_no_faults(&run);
    assert_eq!(delivered(&run, "j"), 100);
}

/// Packets wait in front of a slow node and are dropped for age at the sink behind it.
#[test]
fn the_age_of_a_packet_counts_from_its_capture() {
    let (run, _) = ended(&format!(
        "\
nodes:
  s: {}
  slow: {{use: identity, in: s, work: 50ms, queue: {{capacity: 100}}}}
  e: {{use: discard, in: slow, queue: {{capacity: 100, max_age: 100ms}}}}
",
        counter("count: 20")
    ));
    assert_no_faults(&run);
    let edge = run.report.edges.iter().find(|edge| edge.to == "e");
    let aged = edge.expect("an edge to the sink").dropped["max_age"];
    assert!(aged >= 17, "only {aged} were too old");
    assert_eq!(delivered(&run, "e") + aged, 20);
}

#[test]
fn a_payload_that_panics_when_it_is_weighed_fails_alone() {
    let (run, _) = ended(&format!(
        "\
nodes:
  s: {}
  x: {{use: identity, in: s, batch: {{max: 4, wait: 5ms}}}}
  e: {{use: discard, in: x}}
",
        counter("trouble: weight, trouble_every: 10")
    ));
    assert_no_faults(&run);
    let node = &run.report.nodes["x"];
    assert_eq!((node.failed, node.restarts), (10, 0), "{node:?}");
    assert_eq!(delivered(&run, "e"), 90);
}

#[test]
fn a_payload_that_panics_when_its_bytes_are_asked_for_fails_alone() {
    let (run, _) = ended(&format!(
        "\
nodes:
  s: {}
  x: {{use: identity, in: s, queue: {{bytes: 1kB}}}}
  e: {{use: discard, in: x}}
  f: {{use: discard, in: s}}
",
        counter("trouble: bytes, trouble_every: 10")
    ));
    assert_no_faults(&run);
    let node = &run.report.nodes["x"];
    assert_eq!((node.failed, node.restarts), (10, 0), "{node:?}");
    assert_eq!(delivered(&run, "e"), 90);
    assert_eq!(delivered(&run, "f"), 100, "who did not ask has no trouble");
}

#[test]
fn a_payload_that_panics_when_it_is_dropped_breaks_no_lane() {
    let (run, _) = ended(&format!(
        "\
nodes:
  s: {}
  x: {{use: identity, in: s, work: 5ms, queue: {{capacity: 1, full: drop_oldest}}}}
  e: {{use: discard, in: x}}
run: {{restart: {{most: 100, within: 1h}}}}
",
        counter("trouble: drop, trouble_every: 1")
    ));
    assert_no_faults(&run);
}

#[test]
fn a_source_that_panics_when_its_pacing_is_asked_for_is_built_anew() {
    let (run, _) = ended(&format!(
        "nodes:\n  s: {}\n  e: {{use: discard, in: s}}\n",
        counter("pacing_panics: 2")
    ));
    assert_no_faults(&run);
    assert_eq!(run.report.nodes["s"].restarts, 2);
    assert_eq!(delivered(&run, "e"), 100);
}

#[test]
fn a_failure_in_a_batch_restarts_the_actor_where_the_graph_says_so() {
    let (run, _) = ended(&format!(
        "\
nodes:
  s: {}
  bad: {{use: inject_faults, in: s, fail_every: 10, on_error: restart, batch: {{max: 4}}}}
  e: {{use: discard, in: bad}}
run: {{restart: {{most: 100, within: 1h}}}}
",
        counter("")
    ));
    assert_no_faults(&run);
    let bad = &run.report.nodes["bad"];
    assert!(bad.restarts > 0 && bad.failed > 0, "{bad:?}");
    assert_eq!(run.report.streams["s"].captured, 100);
    assert_eq!(delivered(&run, "e") + bad.failed, 100);
}

#[test]
fn a_source_that_panics_is_built_anew_and_its_numbers_go_on_in_a_new_segment() {
    let mut registry = actors::registry();
    let collector = Collector::register(&mut registry, "collect");
    let text = format!(
        "nodes:\n  s: {}\n  e: {{use: collect, in: s}}\n",
        counter("count: 7, panic_every: 3")
    );
    let (run, _) = simulated(&text, registry, &SimOptions::seeded(1));
    assert!(run.ended);
    assert_balanced(&run.report);
    assert_no_faults(&run);
    assert_eq!(run.report.nodes["s"].restarts, 2);
    let expected = [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 2)];
    let packets = collector.packets().into_iter();
    let places = packets.map(|packet| (packet.envelope.sequence, packet.envelope.segment));
    assert_eq!(places.collect::<Vec<_>>(), expected);
}

#[test]
fn what_a_source_does_not_give_on_an_output_is_left_out_there() {
    let text = "\
nodes:
  s: {use: two_outputs}
  e: {use: discard, in: s.out}
  f: {use: discard, in: s.more}
";
    let (run, _) = simulated(text, with_two_outputs(), &SimOptions::seeded(1));
    assert!(run.ended, "{:#?}", run.report);
    assert_balanced(&run.report);
    assert_eq!((delivered(&run, "e"), delivered(&run, "f")), (400, 0));
}

fn count(life: &Life, fits: impl Fn(&Event) -> bool) -> usize {
    life.events.iter().filter(|event| fits(event)).count()
}

#[test]
fn an_actor_that_panicked_at_the_end_of_a_stream_does_not_finish() {
    let (_, lives) = ended(&format!(
        "nodes:\n  s: {}\n  k: {{use: keep, run: \"${{run}}\", in: s, end_panic: 1}}\n",
        counter("")
    ));
    assert!(lives[0].events.contains(&Event::Panicked));
    let finished = count(&lives[0], |event| matches!(event, Event::Finished(_)));
    assert_eq!(finished, 0, "{:?}", lives[0].events);
}

#[test]
fn every_replica_is_told_of_its_streams_and_of_its_end() {
    let (_, lives) = ended(&format!(
        "nodes:\n  s: {}\n  k: {{use: keep, run: \"${{run}}\", in: s, replicas: 3}}\n",
        counter("")
    ));
    assert_eq!(lives.len(), 3);
    for life in lives {
        let told = [
            count(&life, |event| matches!(event, Event::Started(_))),
            count(&life, |event| matches!(event, Event::Ended(..))),
            count(&life, |event| matches!(event, Event::Finished(_))),
        ];
        assert_eq!(told, [1, 1, 1], "{:?}", life.events);
    }
}

/// The batch before a heavy packet panics, and the heavy packet is a batch of its own.
#[test]
fn a_batch_that_follows_a_panic_waits_for_the_new_actor() {
    let (run, _) = ended(&format!(
        "\
nodes:
  s: {}
  bad: {{use: inject_faults, in: s, panic_every: 4, batch: {{max: 4, wait: 1s}}}}
  e: {{use: discard, in: bad}}
",
        counter("count: 5, weights: 5")
    ));
    assert_no_faults(&run);
    let bad = &run.report.nodes["bad"];
    assert_eq!((bad.failed, bad.abandoned), (1, 0), "{bad:?}");
    assert_eq!(delivered(&run, "e"), 4);
}

#[test]
fn a_drain_does_not_wait_until_a_source_would_be_built_anew() {
    let text = format!(
        "\
nodes:
  s: {}
  e: {{use: discard, in: s}}
run: {{restart: {{most: 20, within: 1h}}, drain: 1h}}
",
        counter("fail_after: 5, on_error: restart")
    );
    let drained = Duration::from_secs(14);
    let sim = SimOptions {
        commands: vec![(At::Time(drained), SimCommand::Drain)],
        ..SimOptions::seeded(1)
    };
    let (run, _) = simulated(&text, actors::registry(), &sim);
    assert!(run.ended);
    assert_balanced(&run.report);
    assert!(
        run.time < drained + Duration::from_secs(1),
        "{:?}",
        run.time
    );
}

/// The heavy packets of one stream close its batch one by one; those of the other stream close it at 64.
#[test]
fn streams_in_turn_do_not_block_each_other_behind_their_batches() {
    let (run, _) = ended(&format!(
        "\
nodes:
  light: {}
  heavy: {}
  a: {{use: identity, in: [light, heavy]}}
  x: {{use: identity, each: stream, in: a, batch: {{max: 64}}}}
  b: {{use: discard, in: x}}
run: {{clock: asap}}
",
        counter("weights: 2"),
        counter("weights: 100")
    ));
    assert_no_faults(&run);
    assert_eq!(delivered(&run, "b"), 200);
}
