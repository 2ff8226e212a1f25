//! A camera that blocks until its next picture and is held up, and calls besides `process` that do not return.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use fermata_engine::statistics::{NodeNow, NodeState};
use fermata_engine::testing::ListSource;
use fermata_engine::{
    Actor, ActorError, Captured, End, Graph, Input, Next, Outputs, Pacing, Payload, Ports,
    Registry, RunHandle, RunOptions, RunningGraph, Services, Setup, Source, Stream, Ticket,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::{assert_balanced, options, wait_until};

struct Picture;

impl Payload for Picture {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoSettings {}

/// What a test lets happen.
struct Moves {
    pictures: Mutex<Receiver<()>>,
    /// How often the camera has been asked for a picture.
    asked: AtomicU64,
    permits: Mutex<Receiver<()>>,
    /// Sequence numbers that the sink has finished.
    seen: Mutex<Vec<u64>>,
}

impl Moves {
    /// Also returns how the test makes a picture and permits a call; nothing blocks any more once these are dropped.
    fn new() -> (Arc<Self>, Sender<()>, Sender<()>) {
        let ((picture, pictures), (permit, permits)) = (channel(), channel());
        let moves = Self {
            pictures: Mutex::new(pictures),
            asked: AtomicU64::new(0),
            permits: Mutex::new(permits),
            seen: Mutex::default(),
        };
        (Arc::new(moves), picture, permit)
    }

    fn wait_for_permit(&self) {
        let _ = self.permits.lock().unwrap().recv();
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

struct Camera(Arc<Moves>);

impl Source for Camera {
    const NAME: &'static str = "camera";
    type Settings = NoSettings;

    fn ports(_: &NoSettings) -> Ports {
        Ports::new().output::<Picture>("out").needs::<Moves>()
    }

    fn create(_: NoSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self(setup.service().ok_or("no moves")?))
    }

    fn pacing(&self) -> Pacing {
        Pacing::Live
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        Ok(match self.0.pictures.lock().unwrap().recv() {
            Ok(()) => Next::Packet(Captured::new(Arc::new(Picture), 0)),
            Err(_) => Next::End,
        })
    }
}

/// Needs a permit for each packet.
struct Slow(Arc<Moves>);

impl Actor for Slow {
    const NAME: &'static str = "slow";
    type Settings = NoSettings;

    fn ports(_: &NoSettings) -> Ports {
        Ports::new().input::<Picture>("in").needs::<Moves>()
    }

    fn create(_: NoSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self(setup.service().ok_or("no moves")?))
    }

    fn process(&mut self, input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        self.0.wait_for_permit();
        self.0.seen.lock().unwrap().push(input.envelope.sequence);
        Ok(())
    }
}

/// Needs a permit for the end of a stream.
struct EndsSlowly(Arc<Moves>);

impl Actor for EndsSlowly {
    const NAME: &'static str = "ends_slowly";
    type Settings = NoSettings;

    fn ports(_: &NoSettings) -> Ports {
        Ports::new().input::<Picture>("in").needs::<Moves>()
    }

    fn create(_: NoSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self(setup.service().ok_or("no moves")?))
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }

    fn stream_ended(&mut self, _: &Arc<Stream>, _: End) -> Result<(), ActorError> {
        self.0.wait_for_permit();
        Ok(())
    }
}

/// Keeps the tickets of its packets until it has more than it may have open.
struct Keeps(Vec<Ticket>);

impl Actor for Keeps {
    const NAME: &'static str = "keeps";
    type Settings = NoSettings;

    fn ports(_: &NoSettings) -> Ports {
        let ports = Ports::new().input::<Picture>("in");
        ports.finishes_later(2).waits_for_packets()
    }

    fn create(_: NoSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self(Vec::new()))
    }

    fn process(&mut self, _: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.0.push(out.finish_later()?);
        if self.0.len() > 2 {
            self.0.drain(..).for_each(Ticket::done);
        }
        Ok(())
    }
}

fn start(nodes: &str, moves: &Arc<Moves>) -> RunningGraph {
    let mut registry = Registry::builtin();
    registry.register_source::<Camera>();
    registry.register::<Slow>();
    registry.register::<EndsSlowly>();
    registry.register::<Keeps>();
    ListSource::register(&mut registry, "album", (0..3).map(|_| Picture));
    let text = format!("fermata: 1\nnodes:\n{nodes}run: {{clock: live}}\n");
    let graph = Graph::parse("held_up.yaml", &text, &registry, &options()).expect("a graph");
    let run_options = RunOptions {
        services: Services::new().with(Arc::clone(moves)),
        ..RunOptions::default()
    };
    RunningGraph::start(graph, Arc::new(registry), run_options).expect("a graph that starts")
}

fn node(handle: &RunHandle, name: &str) -> NodeNow {
    let nodes = handle.snapshot().nodes;
    let mut named = nodes.into_iter().filter(|node| node.place.node == name);
    named.next().expect("the node")
}

#[test]
fn a_camera_that_is_held_up_hands_over_the_picture_it_has_as_soon_as_there_is_room() {
    let (moves, picture, permit) = Moves::new();
    let nodes = "  camera: {use: camera}
  slow: {use: slow, in: camera, queue: {capacity: 1}}
";
    let running = start(nodes, &moves);
    let handle = running.handle();
    let received = |count: u64| node(&handle, "slow").received == count;
    picture.send(()).unwrap();
    wait_until("the first to be in the call", || received(1));
    // The second is in the queue, the third in the camera's hand while it waits for the fourth.
    picture.send(()).unwrap();
    wait_until("the second to be read", || moves.asked() == 3);
    picture.send(()).unwrap();
    wait_until("the third to be read", || moves.asked() == 4);
    let is_blocked = || matches!(node(&handle, "camera").state, NodeState::Blocked);
    wait_until("the camera to be called blocked", is_blocked);
    permit.send(()).unwrap();
    wait_until("the second to be in the call", || received(2));
    picture.send(()).unwrap();
    wait_until("the fourth to be read", || moves.asked() == 5);
    drop(permit);
    drop(picture);
    let report = running.wait();
    assert_balanced(&report);
    assert_eq!(*moves.seen.lock().unwrap(), [0, 1, 2, 3]);
    assert_eq!(report.streams["camera"].missed, 0);
}

#[test]
fn a_deadlock_behind_a_camera_that_blocks_is_named() {
    let (moves, picture, _permit) = Moves::new();
    let nodes = "  camera: {use: camera}
  keeps: {use: keeps, in: camera, queue: {capacity: 1}}
";
    let running = start(nodes, &moves);
    let handle = running.handle();
    // Two are open, one is in the queue, one in the camera's hand, and it waits for the next.
    for read in 1..=4 {
        picture.send(()).unwrap();
        wait_until("the picture to be read", || moves.asked() == read + 1);
    }
    wait_until("a fault", || !handle.report().faults.is_empty());
    drop(picture);
    let report = running.wait();
    let fault = &report.faults[0].message;
    assert!(
        fault.contains("deadlock")
            && fault.contains("`camera` waits for room in the queue of `keeps`"),
        "{fault}"
    );
}

#[test]
fn the_end_of_a_stream_that_takes_long_is_a_call_that_is_seen() {
    let (moves, picture, permit) = Moves::new();
    drop(picture);
    let nodes = "  album: {use: album}
  ends: {use: ends_slowly, in: album}
";
    let running = start(nodes, &moves);
    let handle = running.handle();
    wait_until("the end to be in hand", || {
        let ends = node(&handle, "ends");
        ends.processed == 3 && ends.calls.len() == 1
    });
    drop(permit);
    assert_balanced(&running.wait());
}
