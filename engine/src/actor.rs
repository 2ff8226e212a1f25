//! The contract between the engine and the behaviour it runs: [`Actor`], [`Source`], their ports and their errors.
//!
//! An actor is synchronous code that owns its state. The engine calls it from one thread at a time, never
//! shares it, and publishes what it emitted only when the call returned `Ok`.

use std::any::TypeId;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::clock::{Clock, ClockMode};
use crate::packet::{AnyPayload, Envelope, Payload, Stream, downcast};

/// Why an actor could not do what it was asked; the engine adds node, stream and sequence.
pub type ActorError = Box<dyn std::error::Error + Send + Sync>;

/// Transforms packets, or consumes them (a sink is an actor without outputs).
pub trait Actor: Sized + Send + 'static {
    /// The name after `use:` in a graph file.
    const NAME: &'static str;
    /// What the node's block in the graph file may hold besides the engine's own keys. Derive
    /// `Deserialize` with `deny_unknown_fields` and `JsonSchema`.
    type Settings: DeserializeOwned + JsonSchema + 'static;

    /// Inputs, outputs and properties under these settings. Called when the graph is checked; must not touch the world.
    fn ports(settings: &Self::Settings) -> Ports;

    /// Looks for what would make [`Actor::create`] fail (a missing file, say) without side effects; called before
    /// anything starts, once for each node instance.
    fn check(_settings: &Self::Settings) -> Result<(), ActorError> {
        Ok(())
    }

    /// Builds the actor on the thread that will run it; called again after a panic.
    fn create(settings: Self::Settings, setup: &Setup) -> Result<Self, ActorError>;

    /// Handles one packet, or at a join one packet of each input that has it. Emitted packets carry the
    /// envelope of the input, at most one for each output. Emitting nothing ends the packet here.
    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError>;

    /// Handles a batch that the engine formed (`batch:`). An error or a panic fails all of it;
    /// [`Outputs::fail`] fails single packets of it.
    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        for input in inputs {
            let envelope = input.envelope.clone();
            if let Err(error) = self.process(input, out) {
                out.fail(&envelope, error);
            }
        }
        Ok(())
    }

    /// A stream begins to reach this node (for a shared node also while it runs).
    fn stream_started(&mut self, _stream: &Arc<Stream>) -> Result<(), ActorError> {
        Ok(())
    }

    /// The last packet of the stream has been handled.
    fn stream_ended(&mut self, _stream: &Arc<Stream>) -> Result<(), ActorError> {
        Ok(())
    }

    /// Everything has been handled: complete and rename files here. Not called when the run is stopped or the
    /// actor panicked, so that an unfinished file never gets its final name.
    fn finish(&mut self) -> Result<(), ActorError> {
        Ok(())
    }
}

/// Where a stream comes from. Sequence numbers, segments, pacing and capture times are the engine's.
pub trait Source: Sized + Send + 'static {
    /// The name after `use:` in a graph file.
    const NAME: &'static str;
    /// See [`Actor::Settings`].
    type Settings: DeserializeOwned + JsonSchema + 'static;

    /// Outputs and properties under these settings.
    fn ports(settings: &Self::Settings) -> Ports;

    /// See [`Actor::check`].
    fn check(_settings: &Self::Settings) -> Result<(), ActorError> {
        Ok(())
    }

    /// Opens the source on the thread that will read it.
    fn create(settings: Self::Settings, setup: &Setup) -> Result<Self, ActorError>;

    /// Whether the engine paces the packets by their pts, or the world outside does.
    fn pacing(&self) -> Pacing {
        Pacing::ByPts
    }

    /// Reads the next packet. May block for as long as a read takes; a source that can block for long watches
    /// [`Setup::cancelled`]. An error ends the stream as failed.
    fn next(&mut self) -> Result<Next, ActorError>;
}

/// Who sets a source's pace under the `live` and `replay` clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// A recording: the engine holds each packet until its pts is due, and a full queue suspends the source.
    ByPts,
    /// A camera: packets come when they come, and what cannot be taken is overwritten and counted as `missed`.
    Live,
}

/// What a source has.
pub enum Next {
    /// A packet.
    Packet(Captured),
    /// Nothing for now; ask again after this time at the latest (a reconnect waiting for its next try, say).
    Wait(Duration),
    /// The end of the stream.
    End,
}

/// A payload fresh from its source.
pub struct Captured {
    /// What was captured.
    pub payload: AnyPayload,
    /// Presentation time stamp, nanoseconds.
    pub pts_ns: i64,
    /// True on the first packet after a reconnect: a new segment begins here.
    pub new_segment: bool,
}

/// What an actor or source is told when it is created.
#[derive(Clone)]
pub struct Setup {
    /// Name of the node instance: `detect`, or `capture@lobby`.
    pub node: String,
    /// The stream of an `each: stream` node.
    pub stream: Option<Arc<Stream>>,
    /// Where the run's outputs go.
    pub run_dir: PathBuf,
    /// How time passes in this run.
    pub clock_mode: ClockMode,
    /// The run's clock.
    pub clock: Clock,
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) missed: Arc<AtomicU64>,
    pub(crate) lasting: Arc<AtomicU64>,
}

impl Setup {
    /// A setup outside a graph (unit tests and benches of an actor).
    pub fn detached(node: &str, run_dir: impl Into<PathBuf>, clock_mode: ClockMode) -> Self {
        Self {
            node: node.to_owned(),
            stream: None,
            run_dir: run_dir.into(),
            clock_mode,
            clock: Clock::real(),
            cancel: Arc::default(),
            missed: Arc::default(),
            lasting: Arc::default(),
        }
    }

    /// True once the source should end early: its stream is removed, or the run drains or stops.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// The flag behind [`Setup::cancelled`], for code that must poll it from elsewhere (an interrupt callback).
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// A number, 0 at first, that belongs to the node instance and not to the actor: it survives restarts. What an actor
    /// must never give out twice is counted with it.
    pub fn lasting_number(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lasting)
    }

    /// Counts frames that a live source lost before it could hand them over.
    pub fn count_missed(&self, frames: u64) {
        self.missed.fetch_add(frames, Ordering::Relaxed);
    }
}

/// One packet, or at a join the packets of one (stream, sequence), in the order of the node's inputs.
pub struct Input {
    /// Envelope shared by all payloads.
    pub envelope: Envelope,
    pub(crate) first: Option<AnyPayload>,
    pub(crate) rest: Vec<Option<AnyPayload>>,
}

impl Input {
    /// A packet for an actor with one input, outside a graph (unit tests and benches of an actor).
    pub fn single(envelope: Envelope, payload: AnyPayload) -> Self {
        Self {
            envelope,
            first: Some(payload),
            rest: Vec::new(),
        }
    }

    /// Weight of the payloads together; see [`Payload::weight`].
    pub(crate) fn weight(&self) -> usize {
        let payloads = self.first.iter().chain(self.rest.iter().flatten());
        payloads.map(|payload| payload.weight()).sum()
    }

    /// Takes the payload of the first (for most actors: only) input.
    ///
    /// # Panics
    /// If the payload is of another type than the port that the actor declared, which the graph check rules out.
    pub fn take<T: Payload>(&mut self) -> Arc<T> {
        self.take_port(0)
            .expect("an actor without a join gets a packet on its only input")
    }

    /// Takes the payload of the input with this index (the order of [`Ports`]), if the packet has one there
    /// (`require` may allow inputs to be absent).
    ///
    /// # Panics
    /// See [`Input::take`].
    pub fn take_port<T: Payload>(&mut self, port: usize) -> Option<Arc<T>> {
        self.take_any(port).map(|payload| {
            downcast::<T>(payload).unwrap_or_else(|_| {
                panic!("input {port} does not carry {}", std::any::type_name::<T>())
            })
        })
    }

    /// Takes the payload of an input whatever its type.
    pub fn take_any(&mut self, port: usize) -> Option<AnyPayload> {
        match port {
            0 => self.first.take(),
            n => self.rest.get_mut(n - 1).and_then(Option::take),
        }
    }
}

/// Collects what a call emits; the engine publishes it when the call returned `Ok`.
#[derive(Default)]
pub struct Outputs {
    pub(crate) emitted: Vec<(usize, Envelope, AnyPayload)>,
    pub(crate) failed: Vec<(Envelope, ActorError)>,
}

impl Outputs {
    /// Emits on the first (for most actors: only) output.
    pub fn emit<T: Payload>(&mut self, envelope: Envelope, payload: impl Into<Arc<T>>) {
        self.emit_on(0, envelope, payload);
    }

    /// Emits on the output with this index (the order of [`Ports`]).
    pub fn emit_on<T: Payload>(
        &mut self,
        port: usize,
        envelope: Envelope,
        payload: impl Into<Arc<T>>,
    ) {
        self.emitted.push((port, envelope, payload.into()));
    }

    /// Emits a payload whose type is not known here.
    pub fn emit_any(&mut self, port: usize, envelope: Envelope, payload: AnyPayload) {
        self.emitted.push((port, envelope, payload));
    }

    /// Takes out what was emitted as (output, envelope, payload), outside a graph (unit tests and benches of an actor).
    pub fn take(&mut self) -> Vec<(usize, Envelope, AnyPayload)> {
        std::mem::take(&mut self.emitted)
    }

    /// Fails one packet of a batch while the others go on.
    pub fn fail(&mut self, envelope: &Envelope, error: impl Into<ActorError>) {
        self.failed.push((envelope.clone(), error.into()));
    }
}

/// The type that a port carries.
#[derive(Clone, Copy, Debug)]
pub enum PortType {
    /// One payload type.
    Of {
        /// Compared when the graph is checked.
        id: TypeId,
        /// For messages: the last segment of the Rust path.
        name: &'static str,
    },
    /// An input that takes whatever comes, or an output that carries what the first input carries.
    Any,
}

impl PortType {
    /// The port type of a payload.
    pub fn of<T: Payload>() -> Self {
        let path = std::any::type_name::<T>();
        Self::Of {
            id: TypeId::of::<T>(),
            name: path.rsplit("::").next().unwrap_or(path),
        }
    }
}

/// A named input or output.
#[derive(Clone, Debug)]
pub struct Port {
    /// Name in the graph file.
    pub name: String,
    /// What it carries.
    pub carries: PortType,
}

/// What a node looks like from outside.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// Inputs, in the order of [`Input::take_port`]. More than one makes the node a join.
    pub inputs: Vec<Port>,
    /// Outputs, in the order of [`Outputs::emit_on`].
    pub outputs: Vec<Port>,
    /// Files that the node writes; two nodes that write one path are refused.
    pub writes: Vec<PathBuf>,
    /// The actor keeps nothing between packets, so it may have `replicas`.
    pub stateless: bool,
    /// The actor owns something that a new instance could not take over (a half-written file, a trained state): a panic
    /// escalates.
    pub irreplaceable: bool,
    /// The actor keeps state of one stream and must stand in a node with `each: stream`.
    pub per_stream: bool,
    /// What the actor keeps of one stream does not depend on others, so that streams that are units of work may share it.
    pub streams_apart: bool,
}

impl Ports {
    /// No ports yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input.
    pub fn input<T: Payload>(self, name: &str) -> Self {
        self.input_of(name, PortType::of::<T>())
    }

    /// Adds an input that takes any payload.
    pub fn any_input(self, name: &str) -> Self {
        self.input_of(name, PortType::Any)
    }

    fn input_of(mut self, name: &str, carries: PortType) -> Self {
        self.inputs.push(Port {
            name: name.to_owned(),
            carries,
        });
        self
    }

    /// Adds an output.
    pub fn output<T: Payload>(self, name: &str) -> Self {
        self.output_of(name, PortType::of::<T>())
    }

    /// Adds an output that carries what the first input carries.
    pub fn same_output(self, name: &str) -> Self {
        self.output_of(name, PortType::Any)
    }

    fn output_of(mut self, name: &str, carries: PortType) -> Self {
        self.outputs.push(Port {
            name: name.to_owned(),
            carries,
        });
        self
    }

    /// Declares a file that the node writes.
    pub fn writes(mut self, path: impl Into<PathBuf>) -> Self {
        self.writes.push(path.into());
        self
    }

    /// Declares that the actor keeps nothing between packets.
    pub fn stateless(mut self) -> Self {
        self.stateless = true;
        self
    }

    /// Declares that the actor cannot be replaced after a panic.
    pub fn irreplaceable(mut self) -> Self {
        self.irreplaceable = true;
        self
    }

    /// Declares that the actor must stand in a node with `each: stream`.
    pub fn per_stream(mut self) -> Self {
        self.per_stream = true;
        self
    }

    /// Declares that the actor, if it is shared, keeps its streams apart: what it does for one depends on no other, and
    /// is complete when that one has ended. Where streams are units of work, a shared node must do so or be stateless:
    /// a unit that is replayed after a failure has to come out the same.
    pub fn keeps_streams_apart(mut self) -> Self {
        self.streams_apart = true;
        self
    }
}
