//! What a lane has recorded, as it is handed over: small records in a buffer, packets of calls beside them.

use std::ops::Range;
use std::sync::Arc;

use fermata_engine::observer::{Fate, PacketId};

/// Something that happened at a node.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The node, as an index into [`Chunk::nodes`].
    pub(crate) node: usize,
    /// When, nanoseconds since the run's start.
    pub(crate) at_ns: u64,
    pub(crate) what: What,
}

/// Packets are given as a part of [`Chunk::packets`] where there may be several.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Captured(PacketId),
    Taken {
        packet: PacketId,
        queued_ns: u64,
    },
    Batched {
        packets: Range<usize>,
        since_ns: u64,
    },
    Called {
        packets: Range<usize>,
        began_ns: u64,
        replica: usize,
    },
    Settled {
        packet: PacketId,
        fate: Fate,
    },
}

/// A lane, in the trace.
#[derive(Debug)]
pub(crate) struct LaneId {
    /// Unique in the trace.
    pub(crate) number: u64,
    pub(crate) name: String,
}

/// What a lane hands over at a time.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) lane: Arc<LaneId>,
    /// Names of the node instances that the lane has recorded so far.
    pub(crate) nodes: Arc<Vec<String>>,
    pub(crate) records: Vec<Record>,
    pub(crate) packets: Vec<PacketId>,
    /// Records of this lane that were lost just before these.
    pub(crate) lost_before: u64,
    /// Nothing more comes from this lane.
    pub(crate) is_last: bool,
}

/// What the writer is sent.
#[derive(Debug)]
pub(crate) enum Handed {
    Chunk(Chunk),
    /// The run is over.
    End,
}
