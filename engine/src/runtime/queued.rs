//! The contents of an edge's store, and the policy of the store.

use crate::graph::WhenFull;
use crate::packet::Packet;

/// The mark of a stream that has ended: no sequence can come any more.
pub(crate) const END: u64 = u64::MAX;

/// The policy that a consumer sets for its queue; see the graph file's `queue:`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) capacity: usize,
    pub(crate) bytes: Option<u64>,
    pub(crate) full: WhenFull,
    pub(crate) max_age_ns: Option<u64>,
    /// A waiting producer is woken when the queue has drained to this length: half the capacity for a plain consumer,
    /// so that there are few wake-ups; one below the capacity under `asap` and for a join, which may be waiting for
    /// packets that this producer sends elsewhere.
    pub(crate) wake_at: usize,
    /// Packets that the producer may have in hand when it checks for room. It publishes them whole, beyond the
    /// capacity.
    pub(crate) in_hand: usize,
}

/// A packet in a store.
pub(crate) struct Queued {
    pub(crate) packet: Packet,
    /// Bytes of its payload, if the policy counts them.
    pub(crate) bytes: u64,
    /// Whether the payload panicked when asked for its size; the consumer then fails the packet.
    pub(crate) is_broken: bool,
    /// Clock time at which it was sent.
    pub(crate) queued_ns: u64,
}
