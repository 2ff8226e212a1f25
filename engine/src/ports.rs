//! The outside view of a node: named inputs and outputs with their types, and the properties that its actor declares.

use std::any::{Any, TypeId};
use std::path::PathBuf;

use crate::packet::Payload;
use crate::services::Need;

/// The type that a port carries.
#[derive(Clone, Copy, Debug)]
pub enum PortType {
    /// One payload type.
    Of {
        /// Identity of the type, compared when the graph is checked.
        id: TypeId,
        /// Last segment of the Rust path, for messages.
        name: &'static str,
    },
    /// An input that accepts any payload, or an output that carries the same type as the first input.
    Any,
}

impl PortType {
    /// Returns the port type of a payload.
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
    /// Type that it carries.
    pub carries: PortType,
}

/// The outside view of a node.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// Inputs, in the order of [`Input::take_port`](crate::Input::take_port). More than one makes the node a join.
    pub inputs: Vec<Port>,
    /// Outputs, in the order of [`Outputs::emit_on`](crate::Outputs::emit_on).
    pub outputs: Vec<Port>,
    /// Files that the node writes; a graph in which two nodes write the same path is refused.
    pub writes: Vec<PathBuf>,
    /// Whether the actor keeps nothing between packets, so that it may have `replicas`.
    pub stateless: bool,
    /// Whether the actor owns something that a new instance could not take over (a half-written file, trained state),
    /// so that a panic escalates.
    pub irreplaceable: bool,
    /// Whether the actor keeps state of one stream and must be in a node with `each: stream`.
    pub per_stream: bool,
    /// Whether what the actor keeps of one stream does not depend on others, so that streams that are units of work may
    /// share it.
    pub streams_apart: bool,
    /// Maximum number of calls that the actor keeps open because it finishes them later; 0 if it finishes every call
    /// before it returns.
    pub open_calls: usize,
    /// Whether calls that are finished later wait for the packets behind them, however long these take to arrive.
    pub waits_for_packets: bool,
    /// Whether a packet is not yet safe when its call is over: the actor confirms it with
    /// [`Outputs::confirm_flushed`](crate::Outputs::confirm_flushed).
    pub confirms_flushes: bool,
    /// Services that the actor requires.
    pub needs: Vec<Need>,
    /// Outputs whose payload type is given by the name of its codec: (index of the output, name).
    pub named_payloads: Vec<(usize, String)>,
}

impl Ports {
    /// Creates an empty set of ports.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input.
    pub fn input<T: Payload>(self, name: &str) -> Self {
        self.input_of(name, PortType::of::<T>())
    }

    /// Adds an input that accepts any payload.
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

    /// Adds an output that carries the same type as the first input.
    pub fn same_output(self, name: &str) -> Self {
        self.output_of(name, PortType::Any)
    }

    /// Adds an output for payloads whose type is given by the name of its codec ([`Codec::NAME`](crate::Codec::NAME)),
    /// for a source whose packets come from another process. The name must be registered in the program's
    /// [`Codecs`](crate::Codecs).
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

    /// Declares that the actor must be in a node with `each: stream`.
    pub fn per_stream(mut self) -> Self {
        self.per_stream = true;
        self
    }

    /// Declares that the actor, if it is shared, keeps its streams apart: what it does for one depends on no other, and
    /// is complete when that stream has ended. Where streams are units of work, a shared node must declare this or be
    /// stateless, since a unit that is replayed after a failure must give the same result.
    pub fn keeps_streams_apart(mut self) -> Self {
        self.streams_apart = true;
        self
    }

    /// Declares a service of the program that the actor requires; it is available from
    /// [`Setup::service`](crate::Setup::service).
    pub fn needs<T: Any + Send + Sync>(mut self) -> Self {
        self.needs.push(Need::of::<T>());
        self
    }

    /// Declares that the actor may finish calls later ([`Outputs::finish_later`](crate::Outputs::finish_later)), at
    /// most this many at a time (at least one): while that many are open, it gets no more packets. Such a node cannot
    /// have replicas.
    pub fn finishes_later(mut self, open_calls: usize) -> Self {
        self.open_calls = open_calls.max(1);
        self
    }

    /// Declares that calls that the actor finishes later wait for the packets behind them. Since these may take any
    /// time (from a camera that is gone, say), such a call is not reported for exceeding `run.call_deadline`.
    pub fn waits_for_packets(mut self) -> Self {
        self.waits_for_packets = true;
        self
    }

    /// Declares that a packet is not safe until the actor confirms it with
    /// [`Outputs::confirm_flushed`](crate::Outputs::confirm_flushed) or the stream has ended. Sources that read how far
    /// their stream has been settled ([`Setup::settled`](crate::Setup::settled)) wait for it.
    pub fn confirms_flushes(mut self) -> Self {
        self.confirms_flushes = true;
        self
    }
}
