//! What stands in the store of an edge, and by which policy.

use crate::graph::WhenFull;
use crate::packet::Packet;

/// The mark of a stream that has ended: no sequence can come any more.
pub(crate) const END: u64 = u64::MAX;

/// What a consumer wants of its queue; see the graph file's `queue:`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) capacity: usize,
    pub(crate) bytes: Option<u64>,
    pub(crate) full: WhenFull,
    pub(crate) max_age_ns: Option<u64>,
    /// A producer that waits for room is woken when the queue has drained to this length: few wake-ups for a plain
    /// consumer, at once for a join, which may wait for what that producer sends elsewhere.
    pub(crate) wake_at: usize,
    /// Packets that the producer may have in hand while it asks for room: it publishes them whole, on top of the
    /// capacity.
    pub(crate) in_hand: usize,
}

/// A packet in a store.
pub(crate) struct Queued {
    pub(crate) packet: Packet,
    /// Bytes of its payload, where the policy counts them.
    pub(crate) bytes: u64,
    /// The payload could not tell how large it is: the consumer fails it.
    pub(crate) is_broken: bool,
    /// Clock time at which it was sent.
    pub(crate) queued_ns: u64,
}
