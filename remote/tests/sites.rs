//! One graph for several machines, over a real NATS server: its parts together deliver what it delivers on one.

#[path = "edges/number.rs"]
mod number;
#[path = "edges/server.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fermata_engine::testing::{Collector, ListSource};
use fermata_engine::{
    Actor, ActorError, Graph, Input, LoadOptions, Outputs, Ports, Registry, Report, RunOptions,
    RunningGraph, Services, Setup,
};
use fermata_remote::{Credentials, EDGE_ACTORS, NatsConnection};
use number::{Number, NumberV1};
use schemars::JsonSchema;
use serde::Deserialize;
use server::{PATIENCE, Server, wait_until};

const COUNT: u64 = 150;

fn registry() -> (Registry, Collector) {
    let mut registry = Registry::builtin();
    registry.codecs_mut().register::<NumberV1>();
    fermata_remote::register(&mut registry);
    registry.register::<Fickle>();
    ListSource::register(&mut registry, "numbers", (0..COUNT).map(Number));
    let collector = Collector::register(&mut registry, "collect");
    (registry, collector)
}

fn graph(text: &str, registry: &Registry) -> Graph {
    let mut options = LoadOptions::new("/tmp/out");
    options.env.clear();
    let graph = Graph::parse(
        "site.yaml",
        &format!("fermata: 1\n{text}"),
        registry,
        &options,
    );
    graph.expect("a graph")
}

struct Part {
    running: RunningGraph,
    connection: Arc<NatsConnection>,
    collector: Collector,
}

impl Part {
    fn start(server: &Server, text: &str, machine: &str) -> Self {
        Self::start_open(server, text, machine, false)
    }

    /// Starts a part that may be held open for more streams.
    fn start_open(server: &Server, text: &str, machine: &str, hold_open: bool) -> Self {
        let (registry, collector) = registry();
        let connection = server.connect_as(&Credentials::default(), registry.codecs());
        let connection = connection.expect("a connection");
        let part = graph(text, &registry).part(machine, EDGE_ACTORS, &registry);
        let options = RunOptions {
            services: Services::new().with(Arc::clone(&connection)),
            hold_open,
            ..RunOptions::default()
        };
        let running = RunningGraph::start(part.expect("a part"), Arc::new(registry), options);
        Self {
            running: running.expect("a part that starts"),
            connection,
            collector,
        }
    }

    fn wait(self) -> (Report, Vec<String>) {
        let Ok(report) = self.running.wait_for(PATIENCE) else {
            panic!("{} packets, and no end", self.collector.packets().len());
        };
        self.connection.close(Duration::from_secs(10));
        assert!(report.balanced && report.faults.is_empty(), "{report:?}");
        (report, rows(&self.collector))
    }
}

/// Returns what has come, in its order.
fn rows(collector: &Collector) -> Vec<String> {
    let packets = collector.packets().into_iter();
    packets
        .map(|packet| {
            let Ok(number) = fermata_engine::packet::downcast::<Number>(packet.payload) else {
                panic!("no number");
            };
            let envelope = packet.envelope;
            format!(
                "{} {} {}",
                envelope.stream.name, envelope.sequence, number.0
            )
        })
        .collect()
}

/// Runs the same graph on one machine.
fn alone(text: &str, machines: &[&str]) -> Vec<String> {
    let mut text = text.to_owned();
    for machine in machines {
        text = text.replace(&format!(", on: {machine}"), "");
    }
    let lines = text.lines().filter(|line| !line.starts_with("machines:"));
    let text: Vec<&str> = lines.collect();
    let (registry, collector) = registry();
    let graph = graph(&text.join("\n"), &registry);
    let running = RunningGraph::start(graph, Arc::new(registry), RunOptions::default());
    let report = running.expect("a graph that starts").wait();
    assert!(report.balanced);
    rows(&collector)
}

const MACHINES: [&str; 3] = ["gate", "hall", "server"];

fn gives_the_same_together(text: &str, order: [&str; 3]) {
    let expected = alone(text, &MACHINES);
    assert!(expected.len() >= COUNT as usize);
    let server = Server::start();
    let parts = order.map(|machine| Part::start(&server, text, machine));
    let mut came = Vec::new();
    for part in parts {
        let (report, rows) = part.wait();
        assert!(report.machine.is_some());
        came.extend(rows);
    }
    assert!(came == expected, "{came:?}");
}

#[test]
fn cameras_of_two_machines_come_in_turn_on_a_third_as_on_one() {
    let text = "\
machines: {gate: {}, hall: {}, server: {}}
nodes:
  yard: {use: numbers, on: hall}
  own: {use: numbers, on: server}
  door: {use: numbers, on: gate}
  small: {use: identity, each: stream, in: door, on: gate}
  all: {use: identity, in: [own, small, yard], on: server}
  log: {use: collect, in: all, on: server}
run: {clock: asap}";
    gives_the_same_together(text, ["server", "gate", "hall"]);
}

#[test]
fn streams_go_over_two_edges_as_over_none() {
    let text = "\
machines: {gate: {}, hall: {}, server: {}}
streams: {door: x, yard: y}
nodes:
  capture: {use: numbers, each: stream, on: gate}
  middle: {use: identity, each: stream, in: capture, queue: {capacity: 2}, on: hall}
  log: {use: collect, in: middle, on: server}
run: {clock: asap}";
    gives_the_same_together(text, ["gate", "hall", "server"]);
}

/// How many more times a [`Fickle`] of `yard` fails.
static FAILURES: AtomicU32 = AtomicU32::new(2);

/// A filter that lets everything through and cannot be created at first.
struct Fickle;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FickleSettings {}

impl Actor for Fickle {
    const NAME: &'static str = "fickle";
    type Settings = FickleSettings;

    fn ports(_: &FickleSettings) -> Ports {
        Ports::new().any_input("in").same_output("out")
    }

    fn create(_: FickleSettings, setup: &Setup) -> Result<Self, ActorError> {
        let stream = setup.stream.as_ref();
        let is_yard = stream.is_some_and(|stream| stream.name == "yard");
        let one_less = |left: u32| left.checked_sub(1);
        let relaxed = Ordering::Relaxed;
        if is_yard && FAILURES.fetch_update(relaxed, relaxed, one_less).is_ok() {
            return Err("not yet".into());
        }
        Ok(Self)
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let envelope = input.envelope.clone();
        out.emit_any(0, envelope, input.take_any(0).ok_or("no payload")?);
        Ok(())
    }
}

/// Its receiving end was made each time, but below it a node was not.
#[test]
fn a_stream_that_could_not_be_added_comes_whole_when_it_is_added_again() {
    let text = "\
machines: {gate: {}, server: {}}
streams: {door: x}
nodes:
  capture: {use: numbers, each: stream, on: gate}
  fickle: {use: fickle, each: stream, in: capture, queue: {capacity: 2}, on: server}
  log: {use: collect, in: fickle, on: server}
run: {clock: asap}";
    let nats = Server::start();
    let server = Part::start_open(&nats, text, "server", true);
    let gate = Part::start_open(&nats, text, "gate", true);
    let adding = gate.running.handle();
    adding.add_stream("yard", "y").expect("a stream");
    adding.streams_complete();
    let arriving = server.running.handle();
    wait_until("a stream that is added", || {
        let added = arriving.add_arriving_stream("yard", "capture-server");
        added.is_ok()
    });
    arriving.streams_complete();
    gate.wait();
    let Ok(report) = server.running.wait_for(PATIENCE) else {
        panic!("{} packets, and no end", server.collector.packets().len());
    };
    server.connection.close(Duration::from_secs(10));
    assert!(report.balanced, "{report:?}");
    assert_eq!(report.faults.len(), 2, "{:?}", report.faults);
    let rows = rows(&server.collector);
    let of_yard = rows.into_iter().filter(|row| row.starts_with("yard "));
    let expected = (0..COUNT).map(|number| format!("yard {number} {number}"));
    assert!(of_yard.eq(expected));
}
