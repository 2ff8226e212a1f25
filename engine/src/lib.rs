//! A streaming dataflow engine: a graph file wires actors, and the engine runs them.
//!
//! # What it solves
//!
//! - **Unnoticed loss.** Every queue of packets is bounded and has a policy for when it is full. A packet that does not
//!   arrive is counted where it was lost, by cause, and the books are checked at the end of every run: a packet that is
//!   neither delivered nor accounted for is an error.
//! - **One slow or dead stream that stops all.** Queues, order, pacing and restarts belong to a stream; shared actors
//!   serve streams in turn.
//! - **Joins that guess.** Packets are matched by (stream, sequence). Progress marks travel beside the queues and
//!   announce what will never come, so matching needs no timeouts.
//! - **Results that depend on timing.** Under the clock `asap`, two runs give the same packets in the same order.
//! - **Actors that break.** An error loses its packet, a panic loses its call; the actor is rebuilt on the same queues,
//!   within a restart budget. Whatever an actor's code does, a run ends and reports how.
//!
//! # What it is not
//!
//! It is not a cluster scheduler: a run is one process (edges to other processes are actors). It is not hard real time,
//! and it does not deliver exactly once into outside systems: a sink is notified how its streams ended and decides what
//! to keep. It contains no vision and no learning.
//!
//! # Map
//!
//! | to … | read |
//! | --- | --- |
//! | write an actor or a source | [`Actor`], [`Source`], [`Ports`], [`Input`], [`Outputs`], [`Setup`], [`End`] |
//! | load a graph | [`Graph`], [`Registry`], [`LoadOptions`]; the crate's own actors: [`builtin`] |
//! | run it | [`RunningGraph`], [`RunHandle`], [`Report`] |
//! | watch it | [`RunHandle::snapshot`], [`statistics`] and [`rates`], [`RunHandle::subscribe`], [`RunHandle::report`]; single packets: [`observer`] |
//! | provide streams, lend services to actors | [`StreamProvider`], [`Services`] |
//! | test your own actors | [`testing`] |
//! | turn payloads into bytes | [`codec`] |
//! | run it in virtual time, reproducibly | [`sim`] |
//! | understand it | `runtime/way.rs` (the way of a packet), `runtime/edge.rs` (one stream between two nodes), `control/` (decisions as pure state machines) |
//!
//! A node is an actor placed in a graph, a lane is a thread with the nodes that share it, and an edge carries one
//! stream from an output to an input. A lane never waits for another lane: it parks when it finds nothing to do, and
//! whatever gives it work or makes room wakes it.

mod actor;
pub mod builtin;
pub mod clock;
pub mod codec;
mod connection;
mod control;
mod end;
mod error;
mod events;
mod file_book;
pub mod graph;
mod input;
mod instance_name;
mod life;
mod lock;
pub mod observer;
mod outputs;
pub mod packet;
mod ports;
pub mod provider;
mod providing;
pub mod rates;
pub mod registry;
pub mod report;
mod reporting;
pub mod run;
mod runtime;
mod services;
mod settled;
mod setup;
pub mod sim;
mod snapshot;
mod source;
mod start_error;
pub mod statistics;
mod tallies;
pub mod testing;
pub mod units;

pub use actor::Actor;
pub use clock::{Clock, ClockMode};
pub use codec::{Codec, CodecError, Codecs};
pub use connection::Connection;
pub use end::{End, How};
pub use error::ActorError;
pub use events::RunEvent;
pub use file_book::FileBook;
pub use graph::{Graph, LoadOptions, Overrides, Problem, Problems};
pub use input::Input;
pub use instance_name::InstanceName;
pub use life::Life;
pub use outputs::{Outputs, Ticket};
pub use packet::{AnyPayload, Capture, Envelope, Packet, Payload, Stream};
pub use ports::{Port, PortType, Ports};
pub use provider::{ProviderSetup, StreamProvider};
pub use registry::{ActorType, ProviderType, Registry, Rule};
pub use report::Report;
pub use run::{RunHandle, RunOptions, RunningGraph, StartError};
pub use services::{Need, Services};
pub use settled::Settled;
pub use setup::Setup;
pub use source::{Captured, Next, Pacing, Source};

/// Runs the guide's code with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/actors.md")]
struct Guide;
