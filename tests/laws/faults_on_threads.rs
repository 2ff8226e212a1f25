//! Faults found by reading the engine that no simulation shows: calls that must return, threads that must end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fermata_engine::observer::{Observer, Recorder, Seen};
use fermata_engine::{
    Actor, ActorError, Graph, Input, Outputs, Ports, Registry, Report, RunOptions, RunningGraph,
    Services, Setup,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{actors, keep};
use crate::support::{PATIENCE, assert_balanced, options, start_with, wait_until};

/// Returns what a call returns, if it returns in time; otherwise its thread is left behind.
fn in_time<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(call()));
    receiver.recv_timeout(PATIENCE).ok()
}

fn ended(text: &str, registry: Registry) -> Report {
    let running = start_with(text, registry, RunOptions::default());
    let report = in_time(move || running.wait()).expect("a run that ends");
    assert_balanced(&report);
    report
}

#[test]
fn a_run_in_which_a_payload_panics_outside_of_calls_ends() {
    for place in ["weight", "bytes", "drop"] {
        ended(
            &format!(
                "\
fermata: 1
nodes:
  s: {{use: counter, of: numbers, count: 50, rate: 10000, live: false, weights: 2, trouble: {place}, trouble_every: 9}}
  x: {{use: identity, in: s, queue: {{bytes: 1kB, full: drop_oldest}}, batch: {{max: 4, wait: 5ms}}}}
  e: {{use: discard, in: x}}
run: {{restart: {{most: 100, within: 1h}}}}
"
            ),
            actors::registry(),
        );
    }
}

/// Observes packets, and panics at one of the nodes, which no recorder may do: it takes the lane with it.
struct Breaks;

impl Observer for Breaks {
    fn recorder(&self, _: &str) -> Box<dyn Recorder> {
        Box::new(Self)
    }
}

impl Recorder for Breaks {
    fn record(&mut self, seen: &Seen<'_>) {
        assert_ne!(seen.node, "e");
    }
}

#[test]
fn a_lane_that_dies_ends_the_run_with_a_fault() {
    let text = "\
fermata: 1
nodes:
  s: {use: test_source, rate: 1000}
  e: {use: discard, in: s}
";
    let watched = RunOptions {
        observer: Some(Arc::new(Breaks)),
        ..RunOptions::default()
    };
    let running = start_with(text, Registry::builtin(), watched);
    let report = in_time(move || running.wait()).expect("a run that ends");
    let faults = &report.faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    let said = &faults[0].message;
    assert!(said.contains("the thread of lane `e` died"), "{said}");
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

static LEAVING: AtomicUsize = AtomicUsize::new(0);

/// Takes long to drop, like an actor that holds native memory.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(300));
        LEAVING.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Actor for Leave {
    const NAME: &'static str = "leave";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new().any_input("in").stateless()
    }

    fn create(_: Nothing, _: &Setup) -> Result<Self, ActorError> {
        LEAVING.fetch_add(1, Ordering::SeqCst);
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

#[test]
fn replicas_are_gone_when_the_run_is_over() {
    let mut registry = Registry::builtin();
    registry.register::<Leave>();
    let text = "\
fermata: 1
nodes:
  s: {use: test_source, count: 10}
  e: {use: leave, in: s, replicas: 3}
";
    ended(text, registry);
    assert_eq!(LEAVING.load(Ordering::SeqCst), 0);
}

/// A thread that rebuilt the actor reports the end, possibly after the stream has been closed.
#[test]
fn what_breaks_at_the_end_of_a_stream_names_its_node() {
    let mut nodes = Vec::new();
    for _ in 0..30 {
        let run = keep::open();
        let text = format!(
            "\
fermata: 1
streams: {{a: x, b: x, c: x}}
nodes:
  s: {{use: test_source, each: stream, count: 30}}
  k: {{use: keep, each: stream, in: s, run: {run}, panic_every: 20, end_panic: 1}}
  e: {{use: discard, each: stream, in: k}}
run: {{restart: {{most: 100, within: 1h}}}}
"
        );
        let report = ended(&text, actors::registry());
        nodes.extend(report.faults.into_iter().map(|fault| fault.node));
    }
    assert!(!nodes.is_empty());
    for node in nodes {
        let node = node.expect("a node");
        assert!(["k@a", "k@b", "k@c"].contains(&&*node), "`{node}`");
    }
}

/// Cannot be created.
struct Never;

impl Actor for Never {
    const NAME: &'static str = "never";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new().any_input("in")
    }

    fn create(_: Nothing, _: &Setup) -> Result<Self, ActorError> {
        Err("never at all".into())
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

/// Emits its input, then asks to finish the call later.
struct EmitThenLater;

impl Actor for EmitThenLater {
    const NAME: &'static str = "emit_then_later";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        let ports = Ports::new().any_input("in").same_output("out");
        ports.stateless().finishes_later(1)
    }

    fn create(_: Nothing, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        if let Some(payload) = input.take_any(0) {
            out.emit_any(0, input.envelope, payload);
        }
        out.finish_later()?.settle(|_| Ok(()));
        Ok(())
    }
}

const OF_STREAMS: &str = "\
fermata: 1
nodes:
  s: {use: test_source, each: stream, rate: 1000}
  e: {use: discard, in: s}
";

#[test]
fn a_stream_that_is_added_while_the_run_ends_is_answered() {
    for round in 0..100 {
        let open = RunOptions {
            hold_open: true,
            ..RunOptions::default()
        };
        let running = start_with(OF_STREAMS, Registry::builtin(), open);
        let handle = running.handle();
        let adding = running.handle();
        let added = std::thread::spawn(move || {
            let names = (0..3).map(|n| adding.add_stream(&format!("s{n}"), "x"));
            names.collect::<Vec<_>>()
        });
        std::thread::sleep(Duration::from_micros(30 * round));
        match round % 2 {
            0 => handle.drain(),
            _ => handle.stop(),
        }
        let report = in_time(move || running.wait()).expect("a run that ends");
        assert_balanced(&report);
        let added = in_time(move || added.join().unwrap()).expect("an answer");
        for name in added.iter().flatten() {
            assert!(report.streams.contains_key(name), "{round}: {added:?}");
        }
    }
}

/// Depending on the threads' timing, its source is removed before or after its stream has been attached.
#[test]
fn a_stream_whose_nodes_cannot_be_created_leaves_nothing_behind() {
    let text = "\
fermata: 1
nodes:
  s: {use: test_source, each: stream, rate: 100}
  e: {use: discard, in: s}
  never: {use: never, each: stream, in: s}
";
    let mut registry = Registry::builtin();
    registry.register::<Never>();
    let open = RunOptions {
        hold_open: true,
        ..RunOptions::default()
    };
    let running = start_with(text, registry, open);
    let handle = running.handle();
    for number in 0..100 {
        let refused = handle.add_stream(&format!("s{number}"), "x").unwrap_err();
        assert!(refused.to_string().contains("never at all"), "{refused}");
    }
    handle.streams_complete();
    let report = in_time(move || running.wait()).expect("a run that ends");
    assert_balanced(&report);
    assert_eq!(report.faults.len(), 100);
}

/// A shared node stands before a per-stream one: once the shared node has finished, it would no longer announce the
/// end.
#[test]
fn a_stream_that_comes_as_the_last_one_has_ended_ends_too() {
    let text = "\
fermata: 1
nodes:
  s: {use: test_source, each: stream, rate: 1000}
  a: {use: identity, in: s}
  b: {use: discard, each: stream, in: a}
";
    for round in 0..100 {
        let open = RunOptions {
            hold_open: true,
            ..RunOptions::default()
        };
        let running = start_with(text, Registry::builtin(), open);
        let (handle, adding) = (running.handle(), running.handle());
        let added = std::thread::spawn(move || adding.add_stream("door", "x"));
        std::thread::sleep(Duration::from_micros(7 * round));
        match round % 2 {
            0 => handle.streams_complete(),
            _ => handle.drain(),
        }
        let added = in_time(move || added.join().unwrap()).expect("an answer");
        handle.remove_stream("door");
        let report = in_time(move || running.wait()).expect("a run that ends");
        assert_balanced(&report);
        assert!(report.faults.is_empty(), "{round}: {:?}", report.faults);
        assert_eq!(
            report.streams.contains_key("door"),
            added.is_ok(),
            "{round}"
        );
    }
}

/// Payloads that a call emits before it asks to be finished later are discarded, and their destructors panic.
#[test]
fn an_emitted_payload_that_is_given_up_does_not_take_its_lane_with_it() {
    let mut registry = actors::registry();
    registry.register::<EmitThenLater>();
    let report = ended(
        "\
fermata: 1
nodes:
  s: {use: counter, of: numbers, count: 50, rate: 10000, live: false, weights: 2, trouble: drop, trouble_every: 9}
  x: {use: emit_then_later, in: s}
  e: {use: discard, in: x}
",
        registry,
    );
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert_eq!(report.nodes["x"].processed, 50);
}

#[test]
fn a_graph_in_which_all_is_per_stream_starts_without_streams() {
    let text = OF_STREAMS.replace("use: discard", "use: discard, each: stream");
    let report = in_time(move || {
        let open = RunOptions {
            hold_open: true,
            ..RunOptions::default()
        };
        let running = start_with(&text, Registry::builtin(), open);
        let added = running.handle().add_stream("door", "x");
        running.handle().drain();
        (added.is_ok(), running.wait())
    });
    let (added, report) = report.expect("a run that starts and ends");
    assert!(added);
    assert_balanced(&report);
}

#[test]
fn a_graph_that_was_changed_into_nonsense_does_not_start() {
    let registry = Arc::new(Registry::builtin());
    let text = "fermata: 1\nnodes:\n  s: {use: test_source}\n  e: {use: discard, in: s}\n";
    let mut graph = Graph::parse("t.yaml", text, &registry, &options()).unwrap();
    graph.nodes[1].actor = "nobody".to_owned();
    let started = in_time(move || {
        let running = RunningGraph::start(graph, registry, RunOptions::default());
        running.map(drop).map_err(|error| error.to_string())
    });
    assert!(started.expect("an answer").is_err());
}

/// A gate that keeps actors from being created until it is open.
#[derive(Default)]
struct Gate {
    reached: AtomicBool,
    open: AtomicBool,
}

/// Is not created before its gate is open, whatever becomes of the run.
struct Hang;

impl Actor for Hang {
    const NAME: &'static str = "hang";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new().any_input("in").needs::<Gate>()
    }

    fn create(_: Nothing, setup: &Setup) -> Result<Self, ActorError> {
        let gate = setup.service::<Gate>().ok_or("it has declared the need")?;
        gate.reached.store(true, Ordering::SeqCst);
        while !gate.open.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self)
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }
}

/// Launches a graph with actors that hang at the gate.
fn launched(text: &str, gate: &Arc<Gate>, hold_open: bool) -> RunningGraph {
    let mut registry = Registry::builtin();
    registry.register::<Hang>();
    let registry = Arc::new(registry);
    let graph = Graph::parse("t.yaml", text, &registry, &options()).expect("a correct graph");
    let run_options = RunOptions {
        hold_open,
        services: Services::new().with(Arc::clone(gate)),
        ..RunOptions::default()
    };
    RunningGraph::launch(graph, registry, run_options).expect("a graph that starts")
}

/// Stops a run whose creation hangs at the gate. Returns the result of `wait`, which must return before the gate opens.
fn answer_to_a_stop<T: Send + 'static>(
    running: RunningGraph,
    gate: &Gate,
    wait: impl FnOnce(&RunningGraph) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let handle = running.handle();
    let waiting = std::thread::spawn(move || {
        let answer = wait(&running);
        (running, answer)
    });
    wait_until("its creation has begun", || {
        gate.reached.load(Ordering::SeqCst)
    });
    handle.stop();
    let answered = in_time(move || waiting.join().unwrap());
    gate.open.store(true, Ordering::SeqCst);
    let (running, answer) = answered.expect("an answer while the creation hangs");
    in_time(move || running.wait()).expect("a run that ends");
    answer
}

#[test]
fn a_stop_gives_up_a_stream_whose_creation_hangs() {
    let text = "\
fermata: 1
nodes:
  s: {use: test_source, each: stream, rate: 1000}
  h: {use: hang, each: stream, in: s}
  e: {use: discard, in: s}
";
    let gate = Arc::default();
    let running = launched(text, &gate, true);
    running.created().expect("nothing hangs without a stream");
    let added = answer_to_a_stop(running, &gate, |running| {
        let added = running.handle().add_stream("door", "x");
        added.map_err(|error| error.to_string())
    });
    assert!(added.is_err());
}

#[test]
fn a_stop_gives_up_a_graph_whose_creation_hangs() {
    let text = "fermata: 1\nnodes:\n  s: {use: test_source}\n  h: {use: hang, in: s}\n";
    let gate = Arc::default();
    let running = launched(text, &gate, false);
    let created = answer_to_a_stop(running, &gate, |running| {
        running.created().map_err(|error| error.to_string())
    });
    assert!(created.is_err());
}
