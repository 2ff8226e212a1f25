//! What a node looks like from outside: named inputs and outputs with their types, and what the actor declares of
//! itself.

use std::any::{Any, TypeId};
use std::path::PathBuf;

use crate::packet::Payload;
use crate::services::Need;

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
    /// Inputs, in the order of [`Input::take_port`](crate::Input::take_port). More than one makes the node a join.
    pub inputs: Vec<Port>,
    /// Outputs, in the order of [`Outputs::emit_on`](crate::Outputs::emit_on).
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
    /// What the actor keeps of one stream does not depend on others, so that streams that are units of work may share
    /// it.
    pub streams_apart: bool,
    /// Most calls that the actor may have open at a time because it finishes them later; 0 if it finishes every call
    /// before it returns.
    pub open_calls: usize,
    /// Calls that are finished later wait for the packets behind them, however long these take to come.
    pub waits_for_packets: bool,
    /// What a call was given is not safe when the call is over: the actor says so with
    /// [`Outputs::confirm_flushed`](crate::Outputs::confirm_flushed).
    pub confirms_flushes: bool,
    /// Services that the actor cannot do without.
    pub needs: Vec<Need>,
    /// Outputs whose payload type is known by the name of its codec, by their index.
    pub named_payloads: Vec<(usize, String)>,
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

    /// Adds an output for payloads whose type is known by the name of its codec ([`Codec::NAME`](crate::Codec::NAME)):
    /// of a source whose packets come from another process. The program's [`Codecs`](crate::Codecs) have to know the
    /// name.
    pub fn named_output(mut self, name: &str, payload: &str) -> Self {
        let index = self.outputs.len();
        self.named_payloads.push((index, payload.to_owned()));
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

    /// Declares a service of the program that the actor cannot do without; [`Setup::service`](crate::Setup::service)
    /// has it.
    pub fn needs<T: Any + Send + Sync>(mut self) -> Self {
        self.needs.push(Need::of::<T>());
        self
    }

    /// Declares that the actor may finish calls later ([`Outputs::finish_later`](crate::Outputs::finish_later)), at
    /// most this many at a time (at least one): while so many are open, it gets no more packets. Such a node cannot
    /// have replicas.
    pub fn finishes_later(mut self, open_calls: usize) -> Self {
        self.open_calls = open_calls.max(1);
        self
    }

    /// Declares that calls which the actor finishes later wait for the packets behind them. These may take any time, as
    /// from a camera that is gone: such a call is not reported for having run longer than `run.call_deadline`.
    pub fn waits_for_packets(mut self) -> Self {
        self.waits_for_packets = true;
        self
    }

    /// Declares that what a call was given is not safe before the actor says so with
    /// [`Outputs::confirm_flushed`](crate::Outputs::confirm_flushed), or the stream has ended. Sources that ask how far
    /// their stream has been settled ([`Setup::settled`](crate::Setup::settled)) wait for it.
    pub fn confirms_flushes(mut self) -> Self {
        self.confirms_flushes = true;
        self
    }
}
