//! The results of closed streams: nothing of them runs any more, and their records are gone.
//!
//! A stream of a live graph keeps its own lines of the report. Streams that are units of work are summed up, so that a
//! job takes the same memory for any number of units; failed units keep their own lines.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::graph::StreamSpec;
use crate::report::{BatchReport, EdgeReport, NodeReport, StreamReport};
use crate::runtime::books::NodeCounts;
use crate::runtime::distribution::Distribution;
use crate::runtime::stats::{NodeStats, NodeWatch};
use crate::statistics::ClosedStreams;

/// Identifies an edge in the report. Edges are sorted by this key: nodes by their index in the graph, outputs and
/// inputs by their index at the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EdgeKey {
    pub(crate) producer: usize,
    pub(crate) output: usize,
    pub(crate) consumer: usize,
    pub(crate) input: usize,
    /// Name of the producing instance.
    pub(crate) from: String,
    /// Name of the consuming instance.
    pub(crate) to: String,
}

#[derive(Default)]
pub(crate) struct Closed {
    pub(crate) nodes: BTreeMap<String, NodeReport>,
    pub(crate) batches: BTreeMap<String, BatchReport>,
    pub(crate) edges: BTreeMap<EdgeKey, EdgeReport>,
    pub(crate) streams: BTreeMap<String, StreamReport>,
    /// Specs of the closed streams that are not units: their files must stay.
    pub(crate) specs: Vec<StreamSpec>,
    /// Totals of the streams that are not units.
    pub(crate) totals: ClosedStreams,
    pub(crate) units: Units,
    pub(crate) imbalances: Vec<String>,
    pub(crate) span: Span,
}

/// Totals of all closed units.
#[derive(Default)]
pub(crate) struct Units {
    pub(crate) complete: u64,
    pub(crate) unfinished: u64,
    /// Names of the units that failed or lost packets.
    pub(crate) failed: Vec<String>,
    pub(crate) captured: u64,
    pub(crate) missed: u64,
    pub(crate) delivered: u64,
    pub(crate) sinks: BTreeMap<String, UnitSink>,
    /// Totals of per-unit instances, by the index of their node.
    pub(crate) nodes: BTreeMap<usize, UnitNode>,
}

/// Totals of all units at one sink.
#[derive(Default)]
pub(crate) struct UnitSink {
    pub(crate) delivered: u64,
    pub(crate) losses: BTreeMap<String, u64>,
    pub(crate) latency_ns: Distribution,
}

/// Totals of the instances that units had of one node.
#[derive(Default)]
pub(crate) struct UnitNode {
    pub(crate) counts: NodeCounts,
    pub(crate) stats: NodeStats,
    pub(crate) restarts: u64,
    pub(crate) life_ns: u64,
    pub(crate) counted: BTreeMap<String, u64>,
}

/// The time from the first capture to the last delivery.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    first_ns: u64,
    last_ns: u64,
}

impl Default for Span {
    fn default() -> Self {
        Self {
            first_ns: u64::MAX,
            last_ns: 0,
        }
    }
}

impl Span {
    /// Extends the span to cover the captures and deliveries of an instance.
    pub(crate) fn extend(&mut self, watch: &NodeWatch) {
        let first_ns = watch.first_capture_ns.load(Ordering::Relaxed);
        let last_ns = watch.last_delivery_ns.load(Ordering::Relaxed);
        self.first_ns = self.first_ns.min(first_ns);
        self.last_ns = self.last_ns.max(last_ns);
    }

    /// Returns the length in seconds; 0 until there have been both a capture and a delivery.
    pub(crate) fn seconds(self) -> f64 {
        self.last_ns.saturating_sub(self.first_ns) as f64 / 1e9
    }
}
