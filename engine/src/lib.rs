//! Streaming dataflow engine: a graph file wires actors, and the engine runs them with bounded queues,
//! per-stream order, supervision and books that balance.

mod accounts;
pub mod actor;
pub mod builtin;
pub mod clock;
mod control;
pub mod end;
pub mod graph;
pub mod packet;
pub mod provider;
pub mod registry;
pub mod report;
pub mod run;
mod runtime;
pub mod sim;
pub mod units;

pub use actor::{
    Actor, ActorError, Captured, Input, Next, Outputs, Pacing, Port, PortType, Ports, Setup, Source,
};
pub use clock::{Clock, ClockMode};
pub use end::{End, How};
pub use graph::{Graph, LoadOptions, Overrides, Problem, Problems};
pub use packet::{AnyPayload, Capture, Envelope, Packet, Payload, Stream};
pub use provider::{ProviderSetup, StreamProvider};
pub use registry::{ActorType, ProviderType, Registry};
pub use report::Report;
pub use run::{RunHandle, RunOptions, RunningGraph, StartError};
