//! What has been wired in a run, also what has ended since: reports, the watchdog and commands find everything here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::end::End;
use crate::graph::{StreamSpec, WhenFull};
use crate::packet::Stream;
use crate::runtime::books::{EdgeBooks, FlowBooks, count, read};
use crate::runtime::channel::Channel;
use crate::runtime::parker::Parker;
use crate::runtime::protocol::{Mailbox, NodeId};
use crate::runtime::queued::Policy;
use crate::runtime::stats::{LaneWatch, NodeWatch, SinkLatency};

/// An instance as reports and the control plane see it.
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
    /// By stream id.
    pub(crate) flows: HashMap<u32, FlowRecord>,
}

/// A stream at an instance.
pub(crate) struct FlowRecord {
    pub(crate) books: Arc<FlowBooks>,
    pub(crate) latency: Option<Arc<SinkLatency>>,
    /// By input: index of the edge record that feeds it.
    pub(crate) fed_by: Vec<usize>,
}

/// An edge between two instances, for one stream.
pub(crate) struct EdgeRecord {
    pub(crate) from: NodeId,
    pub(crate) output: usize,
    pub(crate) to: NodeId,
    pub(crate) port: usize,
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
            None => read(&self.books.producer.in_ring),
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
        if let Some(channel) = &self.channel {
            channel.abandon();
        }
        let left = self.books.producer.in_ring.swap(0, Ordering::Relaxed);
        count(&self.books.consumer.abandoned, left);
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
    /// Nodes at which it has not ended yet.
    pub(crate) unended: usize,
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
