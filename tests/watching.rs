//! What a run reports while it runs: snapshots, rates, lost devices, how far a stream is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fermata_engine::rates::Window;
use fermata_engine::statistics::{NodeNow, NodeState, Place, Snapshot};
use fermata_engine::{
    Actor, ActorError, Captured, End, Input, Next, Outputs, Payload, Ports, ProviderSetup,
    Registry, RunEvent, RunOptions, Services, Setup, Source, StreamProvider, graph::StreamSpec,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::{assert_balanced, start, start_with, wait_for};

fn place(node: &str, stream: Option<&str>) -> Place {
    Place {
        node: node.to_owned(),
        stream: stream.map(str::to_owned),
    }
}

fn node<'a>(snapshot: &'a Snapshot, place: &Place) -> Option<&'a NodeNow> {
    snapshot.nodes.iter().find(|node| node.place == *place)
}

fn state(snapshot: &Snapshot, place: &Place) -> Option<NodeState> {
    node(snapshot, place).map(|node| node.state.clone())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Holds each packet until the gate is opened.
struct Gate(Arc<AtomicBool>);

impl Actor for Gate {
    const NAME: &'static str = "gate";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new()
            .any_input("in")
            .same_output("out")
            .needs::<AtomicBool>()
    }

    fn create(_: Nothing, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self(setup.service().ok_or("no gate")?))
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        while !self.0.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(payload) = input.take_any(0) {
            out.emit_any(0, input.envelope, payload);
        }
        Ok(())
    }
}

#[test]
fn a_snapshot_says_who_waits_for_whom() {
    let gate = Arc::new(AtomicBool::new(false));
    let mut registry = Registry::builtin();
    registry.register::<Gate>();
    let options = RunOptions {
        services: Services::new().with(Arc::clone(&gate)),
        ..RunOptions::default()
    };
    let text = "\
fermata: 1
streams: {door: x}
nodes:
  source: {use: test_source, each: stream, count: 50}
  gate:   {use: gate, in: source, queue: {capacity: 3}}
  end:    {use: discard, in: gate}
";
    let running = start_with(text, registry, options);
    let handle = running.handle();
    let (source, shut) = (place("source", Some("door")), place("gate", None));
    let snapshot = wait_for(&handle, |snapshot| {
        state(snapshot, &source) == Some(NodeState::Blocked)
            && state(snapshot, &shut) == Some(NodeState::Working)
            // Its counts are read before its state.
            && node(snapshot, &shut).is_some_and(|node| node.received == 1)
    });
    assert_eq!(
        state(&snapshot, &place("end", None)),
        Some(NodeState::Waiting)
    );
    let held = node(&snapshot, &shut).unwrap();
    assert_eq!((held.in_hand, held.received, held.processed), (1, 1, 0));
    assert_eq!(held.calls.len(), 1);
    let mut edges = snapshot.edges.iter();
    let edge = edges.find(|edge| edge.to == shut).unwrap();
    assert_eq!(
        (&*edge.stream, &*edge.output, &*edge.input),
        ("door", "out", "in")
    );
    // The queue may have been full before the gate took its first packet: then its producer waits until half of it is
    // free.
    assert!((2..=3).contains(&edge.depth), "{edge:?}");
    assert_eq!((edge.capacity, edge.high_water), (3, 3));
    assert_eq!((edge.from.clone(), edge.drops), (source, false));

    // The call ages as time passes, and nothing else happens.
    let later = wait_for(&handle, |later| later.at_s > snapshot.at_s);
    let age = |snapshot: &Snapshot| node(snapshot, &shut).unwrap().calls[0].age_s;
    assert!(age(&later) > age(&snapshot));
    gate.store(true, Ordering::Relaxed);
    let report = running.wait();
    assert_balanced(&report);
    assert_eq!(report.streams["door"].delivered, 50);
    let edge = &report.edges[0];
    assert_eq!(
        [&edge.from, &edge.output, &edge.to, &edge.input],
        ["source@door", "out", "gate", "in"]
    );
    let node = &report.nodes["source@door"];
    assert_eq!(
        (&*node.node, node.stream.as_deref()),
        ("source", Some("door"))
    );
}

#[test]
fn a_window_of_snapshots_knows_the_rate_of_a_paced_source() {
    let running = start(
        "\
fermata: 1
nodes:
  source: {use: test_source, rate: 200}
  end:    {use: discard, in: source}
",
    );
    let handle = running.handle();
    let mut window = Window::new(1.0);
    let first = wait_for(&handle, |snapshot| snapshot.streams[0].delivered > 0).at_s;
    while window
        .newest()
        .is_none_or(|newest| newest.at_s < first + 2.0)
    {
        let snapshot = handle.snapshot();
        // A packet may have been settled between the two counts of one snapshot.
        let end = node(&snapshot, &place("end", None));
        if end.is_some_and(|end| end.processed == snapshot.streams[0].delivered) {
            window.push(snapshot);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    handle.drain();
    assert_balanced(&running.wait());
    let rates = window.rates();
    let rate = rates.streams["source"].delivered;
    assert!(rate > 0.0 && rates.over_s >= 1.0, "{rates:?}");
    assert_eq!(rates.nodes[&place("end", None)].processed, rate);
    let edge = rates.edges.values().next().unwrap();
    assert!(edge.received > 0.0 && edge.dropped == 0.0);
}

#[test]
fn what_has_ended_is_in_the_report_and_no_longer_in_snapshots() {
    let running = start_with(
        "\
fermata: 1
nodes:
  source: {use: test_source, each: stream, count: 5}
  shared: {use: identity, in: source}
  end:    {use: discard, each: stream, in: shared}
",
        Registry::builtin(),
        RunOptions {
            hold_open: true,
            ..RunOptions::default()
        },
    );
    let handle = running.handle();
    for _ in 0..20 {
        handle.add_stream("door", "x").unwrap();
    }
    let snapshot = wait_for(&handle, |snapshot| snapshot.closed.count == 20);
    let names: Vec<&str> = snapshot
        .nodes
        .iter()
        .map(|node| &*node.place.node)
        .collect();
    assert_eq!(names, ["shared"]);
    assert!(snapshot.streams.is_empty() && snapshot.edges.is_empty());
    assert_eq!(
        (snapshot.closed.captured, snapshot.closed.delivered),
        (100, 100)
    );
    assert!(handle.stream_report("door.7").unwrap().ended);
    assert!(!handle.remove_stream("door.7"), "it is gone");
    handle.drain();
    let report = running.wait();
    assert_balanced(&report);
    assert_eq!(report.streams.len(), 20);
    assert_eq!(report.nodes["shared"].processed, 100);
    assert_eq!(report.nodes["end@door.20"].processed, 5);
    assert_eq!(report.edges.len(), 40);
}

/// Supplies a number of units, one after the other.
struct Units(u64, u64);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UnitsSettings {
    units: u64,
}

impl StreamProvider for Units {
    const NAME: &'static str = "some_units";
    type Settings = UnitsSettings;

    fn create(settings: UnitsSettings, _: &ProviderSetup) -> Result<Self, ActorError> {
        Ok(Self(settings.units, 0))
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        self.1 += 1;
        Ok((self.1 <= self.0).then(|| StreamSpec {
            name: format!("u{}", self.1),
            uri: String::new(),
        }))
    }

    fn ended(&mut self, _: &str, _: End) -> Result<(), ActorError> {
        Ok(())
    }
}

#[test]
fn units_that_have_ended_leave_their_sums_and_the_names_of_those_that_failed() {
    let mut registry = Registry::builtin();
    registry.register_provider::<Units>();
    let running = start_with(
        "\
fermata: 1
streams: {use: some_units, units: 30, open: 3}
nodes:
  source: {use: test_source, each: stream, count: 4}
  bad:    {use: inject_faults, in: source, fail_every: 100}
  own:    {use: identity, each: stream, in: bad, batch: {max: 2, each: stream}}
  end:    {use: discard, in: own}
run: {clock: asap}
",
        registry,
        RunOptions::default(),
    );
    let report = running.wait();
    assert_balanced(&report);
    let units = report.units.as_ref().unwrap();
    // The hundredth of thirty times four packets fails, and with it its unit.
    assert_eq!((units.complete, units.failed.len()), (29, 1));
    assert_eq!((units.captured, units.delivered), (120, 119));
    assert_eq!(units.sinks["end"].losses["failed at bad"], 1);
    let streams: Vec<&String> = report.streams.keys().collect();
    assert_eq!(streams, units.failed.iter().collect::<Vec<_>>());
    let nodes: Vec<&str> = report.nodes.keys().map(String::as_str).collect();
    assert_eq!(nodes, ["bad", "end", "own", "source"]);
    assert_eq!(report.nodes["own"].processed, 119);
    assert_eq!(report.batches["own"].flush.full, 59);
    let edges: Vec<(&str, &str, u64)> = report
        .edges
        .iter()
        .map(|edge| (&*edge.from, &*edge.to, edge.sent))
        .collect();
    assert_eq!(
        edges,
        [
            ("source", "bad", 120),
            ("bad", "own", 119),
            ("own", "end", 119)
        ]
    );
}

struct Number;

impl Payload for Number {}

/// Loses its device after two packets, and finds it again once that has been seen.
struct Flaky {
    connection: Arc<fermata_engine::Connection>,
    is_seen: Arc<AtomicBool>,
    given: u64,
}

impl Source for Flaky {
    const NAME: &'static str = "flaky";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new().output::<Number>("out").needs::<AtomicBool>()
    }

    fn create(_: Nothing, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            connection: setup.connection(),
            is_seen: setup.service().ok_or("nobody looks")?,
            given: 0,
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        match self.given {
            2 if !self.is_seen.load(Ordering::Relaxed) => {
                self.connection.lose("unplugged");
                return Ok(Next::Wait(Duration::from_millis(1)));
            }
            2 => self.connection.restore(),
            3 => return Ok(Next::End),
            _ => {}
        }
        self.given += 1;
        Ok(Next::Packet(Captured::new(Arc::new(Number), 0)))
    }
}

#[test]
fn a_lost_device_is_an_event_and_a_state() {
    let mut registry = Registry::builtin();
    registry.register_source::<Flaky>();
    let text = "\
fermata: 1
nodes:
  source: {use: flaky}
  end:    {use: discard, in: source}
";
    let is_seen = Arc::new(AtomicBool::new(false));
    let options = RunOptions {
        services: Services::new().with(Arc::clone(&is_seen)),
        ..RunOptions::default()
    };
    let running = start_with(text, registry, options);
    let handle = running.handle();
    let events = handle.subscribe();
    let snapshot = wait_for(&handle, |snapshot| {
        let source = state(snapshot, &place("source", None));
        matches!(source, Some(NodeState::Lost { .. }))
    });
    is_seen.store(true, Ordering::Relaxed);
    let Some(NodeState::Lost { reason, for_s }) = state(&snapshot, &place("source", None)) else {
        unreachable!("it was just looked at");
    };
    assert!(reason == "unplugged" && for_s >= 0.0);
    assert_eq!(running.wait().streams["source"].delivered, 3);
    let told = events.iter().filter_map(|event| match event {
        RunEvent::Lost { node, reason } => Some(format!("{node}: {reason}")),
        RunEvent::Restored { node } => Some(format!("{node}: there")),
        _ => None,
    });
    assert_eq!(told.last().as_deref(), Some("source: there"));
}

#[test]
fn each_actor_that_is_built_anew_is_an_event_with_replicas_too() {
    let text = "\
fermata: 1
nodes:
  source: {use: test_source, each: stream, count: 400, rate: 400}
  one:    {use: inject_faults, in: source, panic_every: 150}
  pool:   {use: inject_faults, in: source, panic_every: 100, replicas: 2}
  a:      {use: discard, in: one}
  b:      {use: discard, in: pool}
run: {clock: live, restart: {most: 8, within: 60s}}
";
    let options = RunOptions {
        hold_open: true,
        ..RunOptions::default()
    };
    let running = start_with(text, Registry::builtin(), options);
    let handle = running.handle();
    let events = handle.subscribe();
    handle.add_stream("door", "x").unwrap();
    wait_for(&handle, |snapshot| snapshot.closed.count == 1);
    handle.drain();
    let report = running.wait();
    let anew: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            RunEvent::Restarted { node } => Some(node),
            _ => None,
        })
        .collect();
    for node in ["one", "pool"] {
        let told = anew.iter().filter(|name| *name == node).count() as u64;
        assert!(told > 0, "{node} was never built anew");
        assert_eq!(told, report.nodes[node].restarts, "{node}");
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CameraSettings {
    waited_s: u64,
}

/// Emits some packets, reporting how long it waited for each.
struct Camera {
    waited: Duration,
    left: u32,
    setup: Setup,
}

struct Picture;

impl Payload for Picture {}

impl Source for Camera {
    const NAME: &'static str = "camera";
    type Settings = CameraSettings;

    fn ports(_: &CameraSettings) -> Ports {
        Ports::new().output::<Picture>("out")
    }

    fn create(settings: CameraSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            waited: Duration::from_secs(settings.waited_s),
            left: 100,
            setup: setup.clone(),
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        self.setup.count_waited(self.waited);
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(Next::End);
        };
        self.left = left;
        let pts_ns = i64::from(100 - left);
        Ok(Next::Packet(Captured::new(Arc::new(Picture), pts_ns)))
    }
}

/// Otherwise the camera would be the slowest node of every live graph.
#[test]
fn a_source_is_not_busy_while_it_waits_for_its_camera() {
    let mut registry = Registry::builtin();
    registry.register_source::<Camera>();
    let running = start_with(
        "\
fermata: 1
nodes:
  waits: {use: camera, waited_s: 3600}
  works: {use: camera, waited_s: 0}
  end:   {use: discard, in: [waits, works]}
",
        registry,
        RunOptions::default(),
    );
    let report = running.wait();
    assert_balanced(&report);
    let (waits, works) = (&report.nodes["waits"], &report.nodes["works"]);
    assert_eq!((waits.processed, works.processed), (100, 100));
    assert_eq!((waits.busy_s, waits.service_ms.max), (0.0, 0.0));
    assert!(works.busy_s > 0.0 && works.service_ms.max > 0.0);
}
