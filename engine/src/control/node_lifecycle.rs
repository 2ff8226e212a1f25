//! The life cycle of one node instance as a pure state machine: events in, decisions out.
//!
//! Handles restarts, their budget and their backoff. Threads, clocks and channels are elsewhere.

use std::collections::VecDeque;

use crate::clock::nanoseconds;
use crate::graph::RestartSpec;

/// An event for a node's controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeEvent {
    /// A call panicked.
    Panicked { replica: usize, message: String },
    /// A call failed and the graph says `on_error: restart`, or an actor could not be rebuilt.
    WantsRestart { replica: usize, message: String },
    /// A call failed and the graph says `on_error: stop`, or the node cannot continue at all.
    WantsStop { message: String },
}

/// The decision on an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeDecision {
    /// Rebuild the actor at this clock time.
    Restart {
        replica: usize,
        at_ns: u64,
        reason: String,
    },
    /// Take it out of the graph; the graph decides what that means for the stream or the run.
    Escalate { reason: String },
}

/// The restarts of one instance.
pub(crate) struct NodeLifecycle {
    most: u32,
    within_ns: u64,
    irreplaceable: bool,
    /// Clock times of the restarts inside the window.
    recent: VecDeque<u64>,
}

impl NodeLifecycle {
    pub(crate) fn new(budget: &RestartSpec, irreplaceable: bool) -> Self {
        Self {
            most: budget.most,
            within_ns: nanoseconds(budget.within),
            irreplaceable,
            recent: VecDeque::new(),
        }
    }

    /// Returns the decision on an event at a clock time.
    pub(crate) fn decide(&mut self, event: NodeEvent, now_ns: u64) -> NodeDecision {
        match event {
            NodeEvent::Panicked { replica, message } => {
                self.restart(replica, format!("panicked: {message}"), now_ns)
            }
            NodeEvent::WantsRestart { replica, message } => self.restart(replica, message, now_ns),
            NodeEvent::WantsStop { message } => NodeDecision::Escalate { reason: message },
        }
    }

    fn restart(&mut self, replica: usize, reason: String, now_ns: u64) -> NodeDecision {
        if self.irreplaceable {
            return NodeDecision::Escalate {
                reason: format!(
                    "{reason} (it cannot be restarted: what it was writing would be incomplete)"
                ),
            };
        }
        let oldest = now_ns.saturating_sub(self.within_ns);
        self.recent.retain(|&restart| restart >= oldest);
        let restarts = self.recent.len();
        if restarts >= self.most as usize {
            let seconds = self.within_ns as f64 / 1e9;
            return NodeDecision::Escalate {
                reason: format!("{reason} (after {restarts} restarts within {seconds} s)"),
            };
        }
        let at_ns = now_ns.saturating_add(nanoseconds(RestartSpec::delay(restarts)));
        self.recent.push_back(now_ns);
        NodeDecision::Restart {
            replica,
            at_ns,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn lifecycle(most: u32, irreplaceable: bool) -> NodeLifecycle {
        let budget = RestartSpec {
            most,
            within: Duration::from_secs(60),
        };
        NodeLifecycle::new(&budget, irreplaceable)
    }

    fn panic() -> NodeEvent {
        NodeEvent::Panicked {
            replica: 0,
            message: "boom".to_owned(),
        }
    }

    fn restart_delay_ns(decision: &NodeDecision, now_ns: u64) -> Option<u64> {
        match decision {
            NodeDecision::Restart { at_ns, .. } => Some(at_ns - now_ns),
            NodeDecision::Escalate { .. } => None,
        }
    }

    #[test]
    fn delay_doubles_with_each_restart_and_the_budget_ends_in_escalation() {
        let mut node = lifecycle(3, false);
        let delays: Vec<_> = (0..4)
            .map(|second| {
                let now = second * SECOND;
                restart_delay_ns(&node.decide(panic(), now), now)
            })
            .collect();
        let ms = 1_000_000;
        assert_eq!(
            delays,
            [Some(100 * ms), Some(200 * ms), Some(400 * ms), None]
        );
    }

    #[test]
    fn restarts_outside_the_window_are_forgiven() {
        let mut node = lifecycle(1, false);
        assert!(restart_delay_ns(&node.decide(panic(), 0), 0).is_some());
        let later = 61 * SECOND;
        assert_eq!(
            restart_delay_ns(&node.decide(panic(), later), later),
            Some(100_000_000)
        );
    }

    #[test]
    fn an_irreplaceable_node_escalates_at_its_first_panic() {
        let decision = lifecycle(5, true).decide(panic(), 0);
        assert!(matches!(decision, NodeDecision::Escalate { reason } if reason.contains("boom")));
    }
}
