//! What a receiving end is given and gives: packets as they arrive, what is handed on, what is to be done. The
//! decisions are the [`Receiver`](super::receiver::Receiver)'s.

use fermata_engine::End;
use fermata_engine::graph::WhenFull;

use super::wire::SettledMessage;

/// How a receiving end behaves.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverSpec {
    /// Whether every number is to be taken, in order, or what is dropped where nobody fetches them.
    pub full: WhenFull,
    /// Packets that are held until their turn, at most, as many as the store holds; or that wait to be fetched, where
    /// they may be dropped.
    pub capacity: usize,
    /// What an earlier receiving end had settled; without one, counting begins with the first number.
    pub settled: Option<SettledMessage>,
}

/// Deliveries that the store is to have under way, unacknowledged, where it holds so many packets.
pub fn most_unacknowledged(full: WhenFull, limit: usize) -> usize {
    match full {
        WhenFull::Block => limit,
        // What waits shall wait in the store, where the newest push out the oldest.
        WhenFull::DropOldest | WhenFull::DropNewest => limit.min(2),
    }
}

/// A packet as it arrived; `T` is what else belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival<T> {
    /// See [`PacketMessage`](super::wire::PacketMessage).
    pub incarnation: u64,
    /// See [`PacketMessage`](super::wire::PacketMessage).
    pub number: u64,
    /// The stream's sequence.
    pub sequence: u64,
    /// The stream's segment.
    pub segment: u32,
    /// See [`PacketMessage`](super::wire::PacketMessage).
    pub goes_on: bool,
    /// Where it is in the store: of several copies of a packet each has a place of its own.
    pub stored: u64,
    /// The rest.
    pub content: T,
}

/// What the receiving end hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// A packet, its sequence and segment as they are here.
    Packet {
        /// Grows within the stream, also where the sending end began anew.
        sequence: u64,
        /// A new one where the sending end began anew.
        segment: u32,
        /// The rest.
        content: T,
    },
    /// No packet with a sequence below this will come.
    Mark(u64),
    /// The stream has ended.
    End(End),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<A> {
    /// Begin a new pass.
    Pass,
    /// Ask the store how many deliveries this pass has had, and what is still to come; see
    /// [`Receiver::looked`](super::receiver::Receiver::looked).
    Look,
    /// Let the store remember how far the sinks have come, before what follows is acknowledged: copies of packets that
    /// have been settled may turn up when this end is no more.
    Remember(SettledMessage),
    /// Acknowledge a delivery.
    Acknowledge(A),
}
