//! Edges between machines, and jobs spread over several of them, over NATS JetStream.
//!
//! A graph on one machine sends the packets of its streams ([`SendPackets`]), a graph on another one receives them
//! ([`ReceivePackets`]), and a NATS server stands between the two. The guarantees of an edge inside a machine hold here
//! too: each stream keeps its order; an edge that blocks loses nothing, whatever breaks meanwhile; an edge that drops
//! counts what it lost; marks and ends arrive after the packets they refer to.
//!
//! # Problems it solves
//!
//! - **A store that keeps no order.** JetStream delivers at least once, and not in the order of publication. Packets
//!   carry the edge's own number, and the receiving end takes only the next one.
//! - **A receiver that dies.** A packet is acknowledged once the sinks of the receiving graph have settled and flushed
//!   it; until then the server keeps it in a file.
//! - **A server that is away.** Both ends continue: the sender holds its source back, or drops and counts; the receiver
//!   waits. Both recover by themselves.
//!
//! # What it does not do
//!
//! It offers no exactly-once delivery into external systems, and no broker of its own: the server, its accounts and its
//! storage are NATS's.
//!
//! # Map
//!
//! | to … | read |
//! | --- | --- |
//! | connect a program | [`NatsConnection`], [`Credentials`], [`RemoteError`] |
//! | place an edge in a graph | [`SendPackets`], [`ReceivePackets`] |
//! | find streams that another machine has added | [`opened_streams`], [`watch_streams`] |
//! | compute the units of a job on several machines | [`work`] |
//! | let the parts of a run find each other, and end it | [`site`] |
//! | understand the protocol | [`edge::sender`], [`edge::receiver`]: state machines without a network, and their tests (`edge/laws.rs`) |

mod arriving;
mod claim;
mod connection;
mod credentials;
pub mod edge;
mod error;
mod examine;
mod incoming;
mod last;
mod lock;
mod losses;
mod memory;
mod names;
mod pass;
mod receive_packets;
mod receiving;
mod send_packets;
mod sending;
pub mod site;
mod standstill;
mod store;
mod take_over;
mod time;
pub mod work;

use fermata_engine::graph::EdgeActors;
use fermata_engine::{Actor, Registry, Source};

pub use arriving::{Arriving, opened_streams, watch_streams};
pub use connection::NatsConnection;
pub use credentials::Credentials;
pub use error::{OLDEST_SERVER, RemoteError};
pub use examine::{ServerFindings, examine};
pub use receive_packets::{ReceivePackets, ReceivePacketsSettings};
pub use send_packets::{SendPackets, SendPacketsSettings};
pub use take_over::{Earlier, take_over};

/// Actors that carry the edges of a graph whose parts run on several machines.
pub const EDGE_ACTORS: EdgeActors = EdgeActors {
    send: SendPackets::NAME,
    receive: ReceivePackets::NAME,
};

/// Registers the actors of this crate.
pub fn register(registry: &mut Registry) {
    registry.register::<SendPackets>();
    registry.register_source::<ReceivePackets>();
}
