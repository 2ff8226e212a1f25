//! Records of a lane in the form in which they are handed over: small records in a buffer, with the packets of calls
//! beside them.

use std::ops::Range;
use std::sync::Arc;

use fermata_engine::observer::{Fate, PacketId};

/// An event at a node.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Node, as an index into [`Chunk::nodes`].
    pub(crate) node: usize,
    /// Time, nanoseconds since the run's start.
    pub(crate) at_ns: u64,
    pub(crate) what: What,
}

/// Kind of event. Where there may be several packets, they are a range of [`Chunk::packets`].
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

/// Identity of a lane in the trace.
#[derive(Debug)]
pub(crate) struct LaneId {
    /// Unique in the trace.
    pub(crate) number: u64,
    pub(crate) name: String,
}

/// A buffer of records that a lane hands over.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) lane: Arc<LaneId>,
    /// Names of the node instances that the lane has recorded so far.
    pub(crate) nodes: Arc<Vec<String>>,
    pub(crate) records: Vec<Record>,
    pub(crate) packets: Vec<PacketId>,
    /// Number of this lane's records that were lost just before these.
    pub(crate) lost_before: u64,
    /// Whether this is the lane's last buffer.
    pub(crate) is_last: bool,
}

/// A message to the writer.
#[derive(Debug)]
pub(crate) enum Handed {
    Chunk(Chunk),
    /// The run is over.
    End,
}
