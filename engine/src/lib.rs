//! Streaming dataflow engine: a graph file wires actors, and the engine runs them with bounded queues,
//! per-stream order, supervision and books that balance.

pub mod actor;
pub mod clock;
pub mod graph;
pub mod packet;
pub mod registry;

pub use actor::{
    Actor, ActorError, Captured, Input, Next, Outputs, Pacing, Port, PortType, Ports, Setup, Source,
};
pub use clock::{Clock, ClockMode};
pub use packet::{AnyPayload, Envelope, Packet, Payload, Stream};
pub use registry::{ActorType, Registry};
