//! What a node measures of itself. A recorder belongs to its lane; once a second it is merged into the shared statistics.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hdrhistogram::Histogram;

use crate::runtime::batch::FlushReason;

/// Histogram of nanoseconds with two significant digits: 1 % of the value, whatever its size.
pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 2)
        .expect("the bounds are constants that hdrhistogram accepts")
}

/// Statistics of one node instance.
#[derive(Clone)]
pub(crate) struct NodeStats {
    pub(crate) service_ns: Histogram<u64>,
    pub(crate) queue_wait_ns: Histogram<u64>,
    pub(crate) busy_ns: u64,
    pub(crate) blocked_ns: u64,
    pub(crate) batches: u64,
    pub(crate) batch_weight: u64,
    pub(crate) flushes: [u64; 3],
}

impl NodeStats {
    pub(crate) fn new() -> Self {
        Self {
            service_ns: new_histogram(),
            queue_wait_ns: new_histogram(),
            busy_ns: 0,
            blocked_ns: 0,
            batches: 0,
            batch_weight: 0,
            flushes: [0; 3],
        }
    }

    pub(crate) fn record_batch(&mut self, weight: usize, reason: FlushReason) {
        self.batches += 1;
        self.batch_weight += weight as u64;
        self.flushes[reason as usize] += 1;
    }

    fn merge(&mut self, other: &Self) {
        // Equal bounds: adding cannot fail.
        let _ = self.service_ns.add(&other.service_ns);
        let _ = self.queue_wait_ns.add(&other.queue_wait_ns);
        self.busy_ns += other.busy_ns;
        self.blocked_ns += other.blocked_ns;
        self.batches += other.batches;
        self.batch_weight += other.batch_weight;
        for (mine, others) in self.flushes.iter_mut().zip(other.flushes) {
            *mine += others;
        }
    }

    fn reset(&mut self) {
        self.service_ns.reset();
        self.queue_wait_ns.reset();
        self.busy_ns = 0;
        self.blocked_ns = 0;
        self.batches = 0;
        self.batch_weight = 0;
        self.flushes = [0; 3];
    }
}

/// The part of a node that others may look at while its lane runs.
pub(crate) struct NodeWatch {
    pub(crate) name: String,
    pub(crate) stats: Mutex<NodeStats>,
    /// By replica (a node without replicas is its own first): clock time at which the running call began; 0 between calls.
    calls: Box<[AtomicU64]>,
    /// Something of it waits for room in a queue, and nothing else can go on.
    pub(crate) blocked: AtomicBool,
    pub(crate) restarts: AtomicU64,
    pub(crate) created_ns: AtomicU64,
    pub(crate) finished_ns: AtomicU64,
    /// A source's first capture, a sink's last delivery.
    pub(crate) first_capture_ns: AtomicU64,
    pub(crate) last_delivery_ns: AtomicU64,
}

impl NodeWatch {
    pub(crate) fn new(name: String, replicas: usize) -> Self {
        Self {
            name,
            calls: (0..replicas).map(|_| AtomicU64::new(0)).collect(),
            stats: Mutex::new(NodeStats::new()),
            blocked: AtomicBool::new(false),
            restarts: AtomicU64::new(0),
            created_ns: AtomicU64::new(0),
            finished_ns: AtomicU64::new(0),
            first_capture_ns: AtomicU64::new(u64::MAX),
            last_delivery_ns: AtomicU64::new(0),
        }
    }

    /// A replica's call begins.
    pub(crate) fn call_began(&self, replica: usize, now_ns: u64) {
        self.calls[replica].store(now_ns.max(1), Ordering::Relaxed);
    }

    /// A replica's call has returned.
    pub(crate) fn call_ended(&self, replica: usize) {
        self.calls[replica].store(0, Ordering::Relaxed);
    }

    /// The calls that are running now: replica, and clock time at which the call began.
    pub(crate) fn running_calls(&self) -> impl Iterator<Item = (usize, u64)> {
        let calls = self.calls.iter().enumerate();
        let calls = calls.map(|(replica, began)| (replica, began.load(Ordering::Relaxed)));
        calls.filter(|&(_, began)| began > 0)
    }

    /// A copy of the statistics up to the last merge.
    pub(crate) fn snapshot(&self) -> NodeStats {
        self.stats
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Merges a recorder into the statistics and clears it.
    pub(crate) fn absorb(&self, recorder: &mut NodeStats) {
        self.stats
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .merge(recorder);
        recorder.reset();
    }
}

/// Latency from capture of one stream at one sink; recorded by the sink's lane.
pub(crate) struct SinkLatency(Mutex<Histogram<u64>>);

impl SinkLatency {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(new_histogram()))
    }

    /// Records one delivery. The lock is free but for the moment in which a report copies the histogram.
    pub(crate) fn record(&self, latency_ns: u64) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .saturating_record(latency_ns);
    }

    pub(crate) fn snapshot(&self) -> Histogram<u64> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}
