//! Edges between machines, and jobs over several of them, over NATS JetStream.
//!
//! A graph on one machine sends the packets of its streams ([`SendPackets`]), a graph on another one receives them
//! ([`ReceivePackets`]), and between the two stands a NATS server. What an edge inside a machine promises holds here
//! too: each stream keeps its order; an edge that blocks loses nothing, whatever breaks meanwhile; one that drops
//! counts what it lost; marks and ends arrive behind what they speak of.
//!
//! # The problems that it solves
//!
//! - **A store that keeps no order.** JetStream hands over at least once, and not in the order of publication. Packets
//!   carry the edge's own number, and the receiving end takes only the next one.
//! - **A receiver that dies.** A packet is acknowledged once the sinks of the receiving graph have settled and flushed
//!   it; until then the server has it, in a file.
//! - **A server that is away.** Both ends go on: the one holds its source up, or drops and counts; the other waits.
//!   Both resume by themselves.
//!
//! # What it is not
//!
//! No exactly-once delivery into systems outside. No broker of its own: the server, its accounts and its storage are
//! NATS's.
//!
//! # Map
//!
//! | to … | read |
//! | --- | --- |
//! | connect a program | [`NatsConnection`], [`Credentials`], [`RemoteError`] |
//! | place an edge in a graph | [`SendPackets`], [`ReceivePackets`] |
//! | find streams that another machine has added | [`opened_streams`], [`watch_streams`] |
//! | let several machines do the units of a job | [`work`] |
//! | let the parts of a run find each other, and end it | [`site`] |
//! | understand the protocol | [`edge::sender`], [`edge::receiver`]: state machines without a network, and what tries them (`edge/laws.rs`) |

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

/// What carries the edges of a graph whose parts run on several machines.
pub const EDGE_ACTORS: EdgeActors = EdgeActors {
    send: SendPackets::NAME,
    receive: ReceivePackets::NAME,
};

/// Adds the actors of this crate.
pub fn register(registry: &mut Registry) {
    registry.register::<SendPackets>();
    registry.register_source::<ReceivePackets>();
}
