//! The records of everything that has been wired in a run and not been closed, for the report, statistics, the watchdog
//! and commands.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::connection::Connection;
use crate::end::End;
use crate::graph::{StreamSpec, WhenFull};
use crate::packet::Stream;
use crate::runtime::books::{EdgeBooks, FlowBooks, NodeCounts, count};
use crate::runtime::channel::Channel;
use crate::runtime::parker::Parker;
use crate::runtime::protocol::{Mailbox, NodeId};
use crate::runtime::queued::Policy;
use crate::runtime::stats::{LaneWatch, NodeWatch, SinkLatency};
use crate::settled::Settled;
use crate::tallies::Tallies;

/// Identifies an edge in a run.
pub(crate) type EdgeNumber = usize;

/// A node instance.
pub(crate) struct Instance {
    /// Index of its node in the graph.
    pub(crate) spec: usize,
    /// The stream of an `each: stream` node, or the own stream of a shared source.
    pub(crate) stream: Option<u32>,
    pub(crate) source: bool,
    pub(crate) sink: bool,
    pub(crate) irreplaceable: bool,
    pub(crate) watch: Arc<NodeWatch>,
    pub(crate) lane: usize,
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) missed: Arc<AtomicU64>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) settled: Settled,
    pub(crate) tallies: Tallies,
    /// Flows by stream id.
    pub(crate) flows: HashMap<u32, FlowRecord>,
    /// Total books of closed streams.
    pub(crate) closed: NodeCounts,
}

impl Instance {
    /// Returns its books, for all streams so far.
    pub(crate) fn counts(&self) -> NodeCounts {
        let mut counts = self.closed;
        for flow in self.flows.values() {
            counts.add(&flow.books);
        }
        counts
    }

    /// Returns whether it has finished, so that only its books remain.
    pub(crate) fn is_finished(&self) -> bool {
        self.watch.finished_ns.load(Ordering::Relaxed) > 0
    }
}

/// A stream at an instance.
pub(crate) struct FlowRecord {
    pub(crate) books: Arc<FlowBooks>,
    pub(crate) latency: Option<Arc<SinkLatency>>,
    /// For each input, the edge that feeds it.
    pub(crate) fed_by: Vec<Option<EdgeNumber>>,
}

/// An edge between two instances, for one stream.
pub(crate) struct EdgeRecord {
    pub(crate) from: NodeId,
    pub(crate) output: usize,
    pub(crate) to: NodeId,
    pub(crate) port: usize,
    pub(crate) stream: u32,
    pub(crate) policy: Policy,
    pub(crate) books: Arc<EdgeBooks>,
    /// Its store, if the edge is between two lanes.
    pub(crate) channel: Option<Arc<Channel>>,
}

impl EdgeRecord {
    /// Returns the number of packets in its store now.
    pub(crate) fn depth(&self) -> u64 {
        match &self.channel {
            Some(channel) => channel.depth() as u64,
            None => self.books.in_ring(),
        }
    }

    /// Returns whether a producer may find no room. A blocking queue with a limit in bytes counts as full once it holds
    /// a packet.
    pub(crate) fn is_full(&self) -> bool {
        let depth = self.depth();
        self.policy.full == WhenFull::Block
            && (depth >= self.policy.capacity as u64 || depth > 0 && self.policy.bytes.is_some())
    }

    /// Counts the remaining packets as abandoned; to be called only once neither end is running. A ring is empty by
    /// then, unless a call of its lane never returned.
    pub(crate) fn abandon(&self) {
        match &self.channel {
            Some(channel) => channel.abandon(),
            None => count(&self.books.consumer.abandoned, self.books.in_ring()),
        }
    }
}

pub(crate) struct LaneRecord {
    pub(crate) name: String,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) parker: Arc<Parker>,
    pub(crate) watch: Arc<LaneWatch>,
    pub(crate) nodes: Vec<NodeId>,
}

/// A stream of the run.
pub(crate) struct StreamRecord {
    pub(crate) stream: Arc<Stream>,
    pub(crate) source: NodeId,
    /// All instances that it reaches, its source included.
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) edges: Vec<EdgeNumber>,
    /// Whether it has begun; the end of the run cuts off only streams that have.
    pub(crate) has_begun: bool,
    /// Number of nodes at which it has not ended yet.
    pub(crate) unended: usize,
    /// Its own lanes whose threads have not ended yet.
    pub(crate) lanes: Vec<usize>,
    /// Combined end at the nodes where it has ended.
    pub(crate) end: End,
}

impl StreamRecord {
    /// Returns the spec that the stream was added with.
    pub(crate) fn spec(&self) -> StreamSpec {
        StreamSpec {
            name: self.stream.name.clone(),
            uri: self.stream.uri.clone(),
        }
    }
}
