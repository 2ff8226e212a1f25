//! The measurements of a node. A recorder belongs to its lane; once a second it is merged into the shared statistics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::lock::lock;
use crate::runtime::batch::FlushReason;
use crate::runtime::distribution::Distribution;

/// Statistics of one node instance.
#[derive(Default)]
pub(crate) struct NodeStats {
    pub(crate) service_ns: Distribution,
    pub(crate) queue_wait_ns: Distribution,
    pub(crate) busy_ns: u64,
    pub(crate) blocked_ns: u64,
    pub(crate) batches: u64,
    pub(crate) batch_weight: u64,
    pub(crate) flushes: [u64; 3],
}

impl NodeStats {
    /// Records how long a packet has waited in a queue.
    pub(crate) fn queue_waited(&mut self, ns: u64) {
        self.queue_wait_ns.record(ns);
    }

    /// Records the duration of a call.
    pub(crate) fn served(&mut self, ns: u64) {
        self.service_ns.record(ns);
        self.busy_ns += ns;
    }

    pub(crate) fn record_batch(&mut self, weight: usize, reason: FlushReason) {
        self.batches += 1;
        self.batch_weight = self.batch_weight.saturating_add(weight as u64);
        self.flushes[reason as usize] += 1;
    }

    /// Moves the counts and records of `other` into these statistics; `other` is empty afterwards.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        self.service_ns.absorb(&mut other.service_ns);
        self.queue_wait_ns.absorb(&mut other.queue_wait_ns);
        self.busy_ns += std::mem::take(&mut other.busy_ns);
        self.blocked_ns += std::mem::take(&mut other.blocked_ns);
        self.batches += std::mem::take(&mut other.batches);
        self.batch_weight += std::mem::take(&mut other.batch_weight);
        for (mine, theirs) in self.flushes.iter_mut().zip(&mut other.flushes) {
            *mine += std::mem::take(theirs);
        }
    }
}

/// The part of a node that other threads may read while its lane runs.
pub(crate) struct NodeWatch {
    pub(crate) name: String,
    stats: Mutex<NodeStats>,
    /// For each replica (index 0 for a node without replicas), the clock time at which the running call began; 0
    /// between calls.
    calls: Box<[AtomicU64]>,
    /// Clock time at which the oldest call that waits for its ticket began; 0 if there is none.
    open_call_ns: AtomicU64,
    /// Whether the node was waiting for room in a queue when its lane last became idle or, if it is a source, at its last
    /// read.
    pub(crate) blocked: AtomicBool,
    pub(crate) restarts: AtomicU64,
    /// Latest clock time for which a rebuild of it (or of a replica) has been scheduled.
    pub(crate) restart_at_ns: AtomicU64,
    pub(crate) created_ns: AtomicU64,
    pub(crate) finished_ns: AtomicU64,
    /// Clock time of a source's first capture; `u64::MAX` before.
    pub(crate) first_capture_ns: AtomicU64,
    /// Clock time of a sink's last delivery; 0 before.
    pub(crate) last_delivery_ns: AtomicU64,
}

impl NodeWatch {
    pub(crate) fn new(name: String, replicas: usize) -> Self {
        Self {
            name,
            calls: (0..replicas).map(|_| AtomicU64::new(0)).collect(),
            open_call_ns: AtomicU64::new(0),
            stats: Mutex::default(),
            blocked: AtomicBool::new(false),
            restarts: AtomicU64::new(0),
            restart_at_ns: AtomicU64::new(0),
            created_ns: AtomicU64::new(0),
            finished_ns: AtomicU64::new(0),
            first_capture_ns: AtomicU64::new(u64::MAX),
            last_delivery_ns: AtomicU64::new(0),
        }
    }

    /// Notes whether the node is waiting for room in a queue.
    #[inline]
    pub(crate) fn note_blocked(&self, is_blocked: bool) {
        if self.blocked.load(Ordering::Relaxed) != is_blocked {
            self.blocked.store(is_blocked, Ordering::Relaxed);
        }
    }

    /// Notes that a replica's call begins.
    pub(crate) fn call_began(&self, replica: usize, now_ns: u64) {
        self.calls[replica].store(now_ns.max(1), Ordering::Relaxed);
    }

    /// Notes that a replica's call has returned.
    pub(crate) fn call_ended(&self, replica: usize) {
        self.calls[replica].store(0, Ordering::Relaxed);
    }

    /// Runs what is not to take for ever: it counts as a running call.
    pub(crate) fn calling<T>(&self, now_ns: u64, run: impl FnOnce() -> T) -> T {
        self.call_began(0, now_ns);
        let result = run();
        self.call_ended(0);
        result
    }

    /// Sets when the oldest call that waits for its ticket began.
    pub(crate) fn open_call_began(&self, began_ns: Option<u64>) {
        let began_ns = began_ns.map_or(0, |began_ns| began_ns.max(1));
        self.open_call_ns.store(began_ns, Ordering::Relaxed);
    }

    /// Counts rebuilt actors.
    pub(crate) fn note_restarts(&self, restarts: u64) {
        if restarts > 0 {
            self.restarts.fetch_add(restarts, Ordering::Relaxed);
        }
    }

    /// Returns the calls that have not ended: replica and clock time at which the call began.
    pub(crate) fn running_calls(&self) -> impl Iterator<Item = (usize, u64)> {
        let calls = self.calls.iter().enumerate();
        let open = std::iter::once((0, &self.open_call_ns));
        let calls = calls.chain(open);
        let calls = calls.map(|(replica, began)| (replica, began.load(Ordering::Relaxed)));
        calls.filter(|&(_, began)| began > 0)
    }

    /// Returns its lifetime until `now_ns` or its end.
    pub(crate) fn life_ns(&self, now_ns: u64) -> u64 {
        let finished_ns = self.finished_ns.load(Ordering::Relaxed);
        let until_ns = if finished_ns > 0 { finished_ns } else { now_ns };
        until_ns.saturating_sub(self.created_ns.load(Ordering::Relaxed))
    }

    /// Marks the instance as finished because its lane never got a thread.
    pub(crate) fn never_ran(&self) {
        self.finished_ns.fetch_max(1, Ordering::Relaxed);
    }

    /// Returns the statistics as of the last merge.
    pub(crate) fn stats(&self) -> MutexGuard<'_, NodeStats> {
        lock(&self.stats)
    }

    /// Merges a recorder into the statistics and clears it.
    pub(crate) fn absorb(&self, recorder: &mut NodeStats) {
        self.stats().absorb(recorder);
    }
}

/// Latency from capture of one stream at one sink, as other threads see it.
#[derive(Default)]
pub(crate) struct SinkLatency(Mutex<Distribution>);

impl SinkLatency {
    /// Returns the latencies merged so far.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Distribution> {
        lock(&self.0)
    }
}

/// Records the latencies in the sink's lane: without a lock, merged from time to time.
pub(crate) struct LatencyRecorder {
    own: Distribution,
    merged: Arc<SinkLatency>,
}

impl LatencyRecorder {
    pub(crate) fn new(merged: Arc<SinkLatency>) -> Self {
        Self {
            own: Distribution::default(),
            merged,
        }
    }

    /// Records the latency of a delivered packet.
    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.own.record(latency_ns);
    }

    /// Merges the recorded latencies into the shared ones.
    pub(crate) fn merge(&mut self) {
        self.merged.lock().absorb(&mut self.own);
    }
}

/// The part of a lane that other threads may read while it runs.
#[derive(Default)]
pub(crate) struct LaneWatch {
    /// Whether the lane is idle and can only continue when others act.
    pub(crate) waits_for_others: AtomicBool,
}
