//! Forming batches: what a `batch:` node holds until it is enough, or has waited long enough.

use crate::clock::nanoseconds;
use crate::graph::BatchSpec;
use crate::runtime::flow::Taken;

/// Why a batch was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushReason {
    Full = 0,
    Time = 1,
    End = 2,
}

/// The packets held by one node, of all its streams, in the order in which they were taken.
pub(crate) struct Batch {
    max: usize,
    wait_ns: Option<u64>,
    held: Vec<Taken>,
    weight: usize,
    oldest_ns: u64,
}

impl Batch {
    /// Under `asap` batches close by count and at the end only, so that they do not depend on timing.
    pub(crate) fn new(spec: &BatchSpec, asap: bool) -> Self {
        Self {
            max: spec.max,
            wait_ns: (!asap).then(|| nanoseconds(spec.wait)),
            held: Vec::new(),
            weight: 0,
            oldest_ns: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether a packet of this weight would make the batch too large, so that the batch must go first.
    pub(crate) fn must_flush_before(&self, weight: usize) -> bool {
        !self.held.is_empty() && self.weight + weight > self.max
    }

    /// Holds a packet. True if the batch is full now, in weight or in packets.
    pub(crate) fn hold(&mut self, taken: Taken, weight: usize, now_ns: u64) -> bool {
        if self.held.is_empty() {
            self.oldest_ns = now_ns;
        }
        self.held.push(taken);
        self.weight += weight;
        self.weight >= self.max || self.held.len() >= self.max
    }

    /// When the oldest packet will have waited long enough.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        if self.held.is_empty() {
            return None;
        }
        self.wait_ns.map(|wait| self.oldest_ns.saturating_add(wait))
    }

    /// Takes the batch and its weight out.
    pub(crate) fn flush(&mut self) -> (Vec<Taken>, usize) {
        (
            std::mem::take(&mut self.held),
            std::mem::take(&mut self.weight),
        )
    }
}
