//! Types that go into and come out of a receiving end: packets as they arrive, what is handed on, what is to be done.
//! The [`Receiver`](super::receiver::Receiver) makes the decisions.

use fermata_engine::End;
use fermata_engine::graph::WhenFull;

use super::wire::SettledMessage;

/// Configuration of a receiving end.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverSpec {
    /// Whether every number must be taken, in order, or what is dropped if nobody fetches them.
    pub full: WhenFull,
    /// Most packets that are held until their turn, as many as the store holds; or, where packets may be dropped, most
    /// that wait to be fetched.
    pub capacity: usize,
    /// What an earlier receiving end had settled; without one, counting begins with the first number.
    pub settled: Option<SettledMessage>,
}

/// Returns how many unacknowledged deliveries the store may have under way, if it holds `limit` packets.
pub fn most_unacknowledged(full: WhenFull, limit: usize) -> usize {
    match full {
        WhenFull::Block => limit,
        // Packets should wait in the store, where the newest push out the oldest.
        WhenFull::DropOldest | WhenFull::DropNewest => limit.min(2),
    }
}

/// A packet as it arrived; `T` is the rest of its content.
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
    /// Its place in the store; each copy of a packet has a place of its own.
    pub stored: u64,
    /// The rest.
    pub content: T,
}

/// What the receiving end hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// A packet, with its sequence and segment at this end.
    Packet {
        /// Grows within the stream, even if the sending end restarts.
        sequence: u64,
        /// A new one if the sending end restarts.
        segment: u32,
        /// The rest.
        content: T,
    },
    /// No packet with a sequence below this will come.
    Mark(u64),
    /// The stream has ended.
    End(End),
}

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<A> {
    /// Begin a new pass.
    Pass,
    /// Ask the store how many deliveries this pass has had, and how many are still to come; see
    /// [`Receiver::looked`](super::receiver::Receiver::looked).
    Look,
    /// Let the store remember how far the sinks have come, before the acknowledgements that follow: copies of settled
    /// packets may turn up after this end is gone.
    Remember(SettledMessage),
    /// Acknowledge a delivery.
    Acknowledge(A),
}
