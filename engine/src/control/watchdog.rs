//! Detects calls that do not return, and deadlocks.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::nanoseconds;
use crate::control::core::Core;
use crate::runtime::books::read;
use crate::runtime::protocol::NodeId;
use crate::runtime::records::LaneRecord;
use crate::runtime::stats::NodeWatch;
use crate::runtime::wiring::Wiring;

/// Time for which nothing may move while something is blocked before this counts as a deadlock.
const STANDSTILL_NS: u64 = 2_000_000_000;

pub(crate) struct Watchdog {
    call_deadline_ns: u64,
    /// Reported calls by instance, replica and the time at which the call began.
    reported: HashSet<(NodeId, usize, u64)>,
    activity: u64,
    still_since_ns: u64,
}

impl Watchdog {
    pub(crate) fn new(call_deadline: Duration) -> Self {
        Self {
            call_deadline_ns: nanoseconds(call_deadline),
            reported: HashSet::new(),
            activity: 0,
            still_since_ns: 0,
        }
    }

    /// Checks all nodes: logs calls that take too long, and returns a description of the deadlock if there is one.
    pub(crate) fn look(&mut self, core: &Core, now_ns: u64) -> Option<String> {
        let wiring = core.wiring();
        let mut is_calling = false;
        let mut activity = 0;
        let mut blocked: Vec<NodeId> = Vec::new();
        let held_up = held_up_sources(&wiring);
        for (&id, instance) in &wiring.instances {
            let watch = &instance.watch;
            for flow in instance.flows.values() {
                activity += read(&flow.books.captured);
                let ports = flow.books.ports.iter();
                activity += ports.map(|port| read(&port.received)).sum::<u64>();
            }
            if instance.is_finished() {
                continue;
            }
            let is_blocked = watch.blocked.load(Ordering::Relaxed);
            if is_blocked {
                blocked.push(id);
            }
            let is_calling_here = self.report_overdue_calls(id, watch, now_ns);
            is_calling |= is_calling_here && !held_up.contains(&id);
            // Nodes that wait for one that will be restarted are not deadlocked.
            is_calling |= watch.restart_at_ns.load(Ordering::Relaxed) >= now_ns;
        }
        let waits = |lane: &LaneRecord| {
            let mut nodes = lane.nodes.iter();
            lane.watch.waits_for_others.load(Ordering::Relaxed)
                || nodes.all(|node| wiring.instances[node].is_finished() || held_up.contains(node))
        };
        let all_wait = wiring.lanes.values().all(waits);
        if activity != self.activity || is_calling || !all_wait || blocked.is_empty() {
            self.activity = activity;
            self.still_since_ns = now_ns;
            return None;
        }
        if now_ns.saturating_sub(self.still_since_ns) < STANDSTILL_NS {
            return None;
        }
        let waits: Vec<String> = wiring
            .edges
            .values()
            .filter(|edge| blocked.contains(&edge.from) && edge.is_full())
            .map(|edge| {
                let from = &wiring.instances[&edge.from].watch.name;
                let to = &wiring.instances[&edge.to].watch.name;
                format!("`{from}` waits for room in the queue of `{to}`")
            })
            .collect();
        Some(format!(
            "deadlock: nothing has moved for {} s: {}; give these queues more capacity",
            STANDSTILL_NS / 1_000_000_000,
            waits.join(", ")
        ))
    }

    /// Logs the calls of an instance that have run too long, including open tickets. Returns whether there are any
    /// calls at all.
    fn report_overdue_calls(&mut self, id: NodeId, watch: &NodeWatch, now_ns: u64) -> bool {
        let mut is_calling = false;
        for (replica, began) in watch.running_calls() {
            is_calling = true;
            self.report_overdue_call(id, replica, &watch.name, began, now_ns);
        }
        is_calling
    }

    /// Logs, once, a call that has run longer than the deadline.
    fn report_overdue_call(
        &mut self,
        id: NodeId,
        replica: usize,
        name: &str,
        started: u64,
        now_ns: u64,
    ) {
        let elapsed_ns = now_ns.saturating_sub(started);
        if elapsed_ns > self.call_deadline_ns && self.reported.insert((id, replica, started)) {
            let seconds = elapsed_ns as f64 / 1e9;
            tracing::error!(node = %name, replica, "a call has not returned for {seconds:.1} s");
        }
    }
}

/// Returns the live sources that have no room for what they read: their reads are no progress.
fn held_up_sources(wiring: &Wiring) -> HashSet<NodeId> {
    let is_blocked = |node: &NodeId| {
        let instance = wiring.instances.get(node);
        instance.is_some_and(|known| known.source && known.watch.blocked.load(Ordering::Relaxed))
    };
    let edges = wiring.edges.values();
    let full = edges.filter(|edge| is_blocked(&edge.from) && edge.is_full());
    full.map(|edge| edge.from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_that_takes_too_long_is_reported_once_whatever_its_replica() {
        let mut watchdog = Watchdog::new(Duration::from_nanos(10));
        for now_ns in [5, 11, 12, 30] {
            watchdog.report_overdue_call(0, 0, "pool", 1, now_ns);
            watchdog.report_overdue_call(0, 1, "pool", 15, now_ns);
        }
        assert_eq!(watchdog.reported, HashSet::from([(0, 0, 1), (0, 1, 15)]));
    }

    #[test]
    fn an_open_ticket_is_reported_after_the_deadline_although_its_call_has_returned() {
        let mut watchdog = Watchdog::new(Duration::from_nanos(10));
        let watch = NodeWatch::new("asks".to_owned(), 1);
        assert!(!watchdog.report_overdue_calls(3, &watch, 5));
        watch.call_began(0, 5);
        watch.open_call_began(Some(5));
        watch.call_ended(0);
        assert!(watchdog.report_overdue_calls(3, &watch, 15));
        assert!(watchdog.reported.is_empty(), "{:?}", watchdog.reported);
        assert!(watchdog.report_overdue_calls(3, &watch, 16));
        assert_eq!(watchdog.reported, HashSet::from([(3, 0, 5)]));
        watch.open_call_began(None);
        assert!(!watchdog.report_overdue_calls(3, &watch, 30));
    }
}
