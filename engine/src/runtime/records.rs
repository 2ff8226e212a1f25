//! What has been wired in a run and has not been closed: the report, statistics, the watchdog and commands find it
//! here.

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
    /// The stream of an `each: stream` node, or the stream that a shared source is.
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
    /// By stream id.
    pub(crate) flows: HashMap<u32, FlowRecord>,
    /// The books of streams that have been closed.
    pub(crate) closed: NodeCounts,
}

impl Instance {
    /// Its books, of all streams that there have been.
    pub(crate) fn counts(&self) -> NodeCounts {
        let mut counts = self.closed;
        for flow in self.flows.values() {
            counts.add(&flow.books);
        }
        counts
    }

    /// Whether nothing is left of it but its books.
    pub(crate) fn is_finished(&self) -> bool {
        self.watch.finished_ns.load(Ordering::Relaxed) > 0
    }
}

/// A stream at an instance.
pub(crate) struct FlowRecord {
    pub(crate) books: Arc<FlowBooks>,
    pub(crate) latency: Option<Arc<SinkLatency>>,
    /// By input: the edge that feeds it.
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
    /// Its store, if that is between two lanes.
    pub(crate) channel: Option<Arc<Channel>>,
}

impl EdgeRecord {
    /// Packets in its store now.
    pub(crate) fn depth(&self) -> u64 {
        match &self.channel {
            Some(channel) => channel.depth() as u64,
            None => self.books.in_ring(),
        }
    }

    /// Whether a producer that asks for room finds none.
    pub(crate) fn is_full(&self) -> bool {
        let depth = self.depth();
        self.policy.full == WhenFull::Block
            && (depth >= self.policy.capacity as u64 || depth > 0 && self.policy.bytes.is_some())
    }

    /// Counts what is left as abandoned; only once neither end runs. A ring is empty by then, unless a call of its lane
    /// never returned.
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
    /// Its edges.
    pub(crate) edges: Vec<EdgeNumber>,
    /// Whether it has been let begin: that is said, and then its end is.
    pub(crate) has_begun: bool,
    /// Nodes at which it has not ended yet.
    pub(crate) unended: usize,
    /// Lanes of its own whose thread has not ended yet.
    pub(crate) lanes: Vec<usize>,
    /// How it ended at the others.
    pub(crate) end: End,
}

impl StreamRecord {
    /// What the stream was added with.
    pub(crate) fn spec(&self) -> StreamSpec {
        StreamSpec {
            name: self.stream.name.clone(),
            uri: self.stream.uri.clone(),
        }
    }
}
