//! What has been wired in a run, also what has ended since: reports, the watchdog and commands find everything here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::packet::Stream;
use crate::runtime::books::{FlowBooks, count};
use crate::runtime::flow::Outlet;
use crate::runtime::intake::Intake;
use crate::runtime::link::{Link, LinkBooks};
use crate::runtime::parker::Parker;
use crate::runtime::protocol::{Mailbox, NodeId};
use crate::runtime::stats::{NodeWatch, SinkLatency};

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

/// How packets of a stream get from one instance to another.
pub(crate) enum Carrier {
    Link(Arc<Link>),
    /// Inside a lane.
    HandOver(Arc<LinkBooks>),
}

impl Carrier {
    pub(crate) fn books(&self) -> &LinkBooks {
        match self {
            Self::Link(link) => &link.books,
            Self::HandOver(books) => books,
        }
    }

    /// Counts what is left as abandoned; only once neither end runs.
    pub(crate) fn abandon(&self) {
        match self {
            Self::Link(link) => link.abandon(),
            Self::HandOver(books) => {
                let on_their_way = books.producer.suspended.swap(0, Ordering::Relaxed);
                count(&books.consumer.abandoned, on_their_way);
            }
        }
    }

    /// Whether its producer holds packets that the queue has no room for.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.books().producer.suspended.load(Ordering::Relaxed) > 0
    }
}

/// An edge between two instances, for one stream.
pub(crate) struct EdgeRecord {
    pub(crate) from: NodeId,
    pub(crate) output: usize,
    pub(crate) to: NodeId,
    pub(crate) port: usize,
    pub(crate) carrier: Carrier,
}

pub(crate) struct LaneRecord {
    pub(crate) name: String,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) parker: Arc<Parker>,
    pub(crate) nodes: Vec<NodeId>,
}

pub(crate) struct StreamRecord {
    pub(crate) stream: Arc<Stream>,
    pub(crate) source: NodeId,
    /// All instances that it reaches, its source included.
    pub(crate) nodes: Vec<NodeId>,
}

impl EdgeRecord {
    pub(crate) fn intake(&self) -> Intake {
        match &self.carrier {
            Carrier::Link(link) => Intake::Link {
                link: Arc::clone(link),
                head: None,
                seen: 0,
            },
            Carrier::HandOver(books) => Intake::Lane {
                queue: Default::default(),
                next: 0,
                books: Arc::clone(books),
            },
        }
    }

    pub(crate) fn outlet(&self, place_in_lane: usize) -> Outlet {
        match &self.carrier {
            Carrier::Link(link) => Outlet::Link(Arc::clone(link)),
            Carrier::HandOver(books) => Outlet::Lane {
                node: place_in_lane,
                port: self.port,
                books: Arc::clone(books),
            },
        }
    }
}
