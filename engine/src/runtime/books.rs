//! The counters that make a run's books: written by one lane each, read by reports and watchers at any time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Adds to a counter that only one thread writes; cheaper than a locked addition.
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

/// Takes one off a counter that only one thread writes.
pub(crate) fn uncount(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
}

/// Reads a counter.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// What became of the packets of one stream that reached one input of one node.
#[derive(Default)]
pub(crate) struct PortBooks {
    pub(crate) received: AtomicU64,
    pub(crate) processed: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// At a join: the packets that the other inputs had no partner for.
    pub(crate) unmatched: AtomicU64,
    pub(crate) abandoned: AtomicU64,
    /// Received and not yet accounted for; what a node that never returned is holding.
    pub(crate) in_hand: AtomicU64,
}

impl PortBooks {
    /// A packet has come into the node's hands.
    pub(crate) fn receive(&self) {
        count(&self.received, 1);
        count(&self.in_hand, 1);
    }
}

/// The books of one stream at one node.
pub(crate) struct FlowBooks {
    pub(crate) ports: Box<[PortBooks]>,
    /// Per output: handled packets for which the actor emitted nothing there.
    pub(crate) filtered: Box<[AtomicU64]>,
    /// Packets that a source handed to the graph.
    pub(crate) captured: AtomicU64,
    /// The last packet of the stream has been handled here.
    pub(crate) ended: AtomicBool,
}

impl FlowBooks {
    pub(crate) fn new(inputs: usize, outputs: usize) -> Self {
        Self {
            ports: (0..inputs).map(|_| PortBooks::default()).collect(),
            filtered: (0..outputs).map(|_| AtomicU64::new(0)).collect(),
            captured: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }
}
