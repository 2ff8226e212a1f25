//! Notices calls that do not return and graphs in which everything waits for everything.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::nanoseconds;
use crate::run::Core;
use crate::runtime::books::read;
use crate::runtime::protocol::NodeId;

/// How long nothing may move while something is blocked before it counts as a deadlock.
const STANDSTILL_NS: u64 = 2_000_000_000;

pub(crate) struct Watchdog {
    call_deadline_ns: u64,
    named: HashSet<(NodeId, u64)>,
    activity: u64,
    still_since_ns: u64,
}

impl Watchdog {
    pub(crate) fn new(call_deadline: Duration) -> Self {
        Self {
            call_deadline_ns: nanoseconds(call_deadline),
            named: HashSet::new(),
            activity: 0,
            still_since_ns: 0,
        }
    }

    /// Looks at all nodes; names calls that take too long, and returns the description of a deadlock.
    pub(crate) fn look(&mut self, core: &Core, now_ns: u64) -> Option<String> {
        let wiring = core.wiring();
        let mut calling = false;
        let mut source_free = false;
        let mut activity = 0;
        let mut blocked: Vec<NodeId> = Vec::new();
        for (id, instance) in wiring.instances.iter().enumerate() {
            let watch = &instance.watch;
            for flow in instance.flows.values() {
                activity += read(&flow.books.captured);
                activity += flow
                    .books
                    .ports
                    .iter()
                    .map(|port| read(&port.received))
                    .sum::<u64>();
            }
            if watch.finished_ns.load(Ordering::Relaxed) > 0 {
                continue;
            }
            let started = watch.call_started_ns.load(Ordering::Relaxed);
            calling |= started > 0;
            if started > 0 && now_ns.saturating_sub(started) > self.call_deadline_ns {
                self.name_call(id, &watch.name, started, now_ns);
            }
            let is_blocked = watch.blocked.load(Ordering::Relaxed);
            if is_blocked {
                blocked.push(id);
            }
            source_free |= instance.source && !is_blocked;
        }
        if activity != self.activity || calling || source_free || blocked.is_empty() {
            self.activity = activity;
            self.still_since_ns = now_ns;
            return None;
        }
        if now_ns.saturating_sub(self.still_since_ns) < STANDSTILL_NS {
            return None;
        }
        let waits: Vec<String> = wiring
            .edges
            .iter()
            .filter(|edge| blocked.contains(&edge.from) && edge.carrier.is_full())
            .map(|edge| {
                let from = &wiring.instances[edge.from].watch.name;
                let to = &wiring.instances[edge.to].watch.name;
                format!("`{from}` waits for room in the queue of `{to}`")
            })
            .collect();
        Some(format!(
            "deadlock: nothing has moved for {} s: {}; give these queues more capacity",
            STANDSTILL_NS / 1_000_000_000,
            waits.join(", ")
        ))
    }

    fn name_call(&mut self, id: NodeId, name: &str, started: u64, now_ns: u64) {
        if self.named.insert((id, started)) {
            let seconds = now_ns.saturating_sub(started) as f64 / 1e9;
            tracing::error!(node = %name, "a call has not returned for {seconds:.1} s");
        }
    }
}
