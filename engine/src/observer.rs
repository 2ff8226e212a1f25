//! Observation of single packets on their way, for traces, taps and tests.
//!
//! An [`Observer`] gives every lane a [`Recorder`] of its own, so recording needs no lock. A run without an observer
//! only tests for one at each event.

use crate::packet::{Envelope, Packet};

/// Creates recorders; see [`RunOptions::observer`](crate::RunOptions::observer).
pub trait Observer: Send + Sync {
    /// Creates the recorder of a lane when the lane begins. It lives as long as the lane.
    fn recorder(&self, lane: &str) -> Box<dyn Recorder>;
}

/// Receives what happens in one lane, in the order in which it happens. It must return at once and must not panic.
pub trait Recorder: Send {
    /// Called when something has happened to a packet.
    fn record(&mut self, seen: &Seen<'_>);
}

/// Identity of a packet: the id of its stream and its position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PacketId {
    /// [`Stream::id`](crate::Stream).
    pub stream: u32,
    /// Position in the stream.
    pub sequence: u64,
}

impl PacketId {
    /// Returns the id of a packet with this envelope.
    pub fn of(envelope: &Envelope) -> Self {
        Self {
            stream: envelope.stream.id,
            sequence: envelope.sequence,
        }
    }
}

/// What happened, where, and when.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Name of the node instance.
    pub node: &'a str,
    /// Clock time, nanoseconds since the run's start.
    pub at_ns: u64,
    /// What happened.
    pub event: Event<'a>,
}

/// What can happen to a packet.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A source handed it to the graph.
    Captured(PacketId),
    /// A node took it out of its queues.
    Taken {
        /// Which one.
        packet: PacketId,
        /// When it was queued (at a join: the last of its parts), which is not after the event's own time.
        queued_ns: u64,
    },
    /// A batch was closed; the call that takes it comes next.
    Batched {
        /// Its packets.
        packets: &'a [PacketId],
        /// Their total weight.
        weight: usize,
        /// When the first of them was taken.
        since_ns: u64,
    },
    /// A call returned, or was finished.
    Called {
        /// The packets of the call.
        packets: &'a [PacketId],
        /// When it began.
        began_ns: u64,
        /// The replica that ran it; 0 without replicas.
        replica: usize,
    },
    /// It is settled at a node.
    Settled {
        /// Which one.
        packet: PacketId,
        /// Bit n is set if input n had a packet.
        inputs: u64,
        /// What became of it there.
        fate: Fate,
    },
    /// A node sent it on.
    Sent {
        /// The output.
        output: usize,
        /// The packet.
        packet: &'a Packet,
    },
}

/// What became of a packet at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// Its call succeeded.
    Processed,
    /// Its call failed or panicked.
    Failed,
    /// A join's required partner never came.
    Unmatched,
    /// It was abandoned.
    Abandoned,
    /// The actor had ended the stream before.
    Finished,
}
