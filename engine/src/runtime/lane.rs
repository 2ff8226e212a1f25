//! A lane: the nodes that share one thread, as a state machine that is stepped.
//!
//! A step never blocks on another lane, so that the same code runs on a thread of its own and under a simulated scheduler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::Clock;
use crate::runtime::flow::{HandOver, Outlet};
use crate::runtime::held_up::HeldUp;
use crate::runtime::host::Host;
use crate::runtime::node::{LaneContext, Node, Role};
use crate::runtime::protocol::{Attachment, Command, Event, Mailbox, NodeId};

/// How often recorders are merged into the shared statistics.
const STATISTICS_PERIOD_NS: u64 = 1_000_000_000;

/// Hand-overs that a step handles before it looks at commands and queues again.
const HAND_OVERS_PER_STEP: usize = 64;

/// What a step led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done; step again.
    Progressed,
    /// Nothing can be done until something comes in, room appears, or this clock time.
    Idle { until_ns: Option<u64> },
    /// Every node is finished.
    Finished,
}

pub(crate) struct Lane {
    pub(crate) id: usize,
    pub(crate) name: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) mailbox: Arc<Mailbox>,
    /// Set when every instance of the run has been created: sources begin.
    started: Arc<AtomicBool>,
    cx: LaneContext,
    next_node: usize,
    merged_ns: u64,
    idle_since_ns: Option<u64>,
    stopped: bool,
}

impl Lane {
    pub(crate) fn new(
        id: usize,
        name: String,
        mut nodes: Vec<Node>,
        mailbox: Arc<Mailbox>,
        started: Arc<AtomicBool>,
        host: Host,
    ) -> Self {
        for (place, node) in nodes.iter_mut().enumerate() {
            node.place = place;
        }
        let cx = LaneContext {
            held_up: HeldUp::new(nodes.len()),
            now_ns: host.clock.now_ns(),
            host,
            work: Default::default(),
            suspended: false,
        };
        Self {
            id,
            name,
            nodes,
            mailbox,
            started,
            cx,
            next_node: 0,
            merged_ns: 0,
            idle_since_ns: None,
            stopped: false,
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        self.cx.host.clock.clone()
    }

    /// Does the next thing there is to do.
    pub(crate) fn step(&mut self) -> Step {
        self.leave_idle();
        let commanded = self.obey();
        if self.stopped {
            return self.leave();
        }
        let mut progressed = commanded | self.flush() | self.work_off();
        // Which streams are held up was looked at before hand-overs were handled.
        let is_held_up = self.cx.suspended || !self.cx.work.is_empty();
        if !(progressed && is_held_up) {
            progressed |= self.poll_nodes();
        }
        if progressed {
            self.merge_statistics();
            return Step::Progressed;
        }
        let finished = self.finish_nodes();
        if self.is_finished() {
            return Step::Finished;
        }
        if finished {
            return Step::Progressed;
        }
        self.enter_idle();
        Step::Idle {
            until_ns: self.next_deadline(),
        }
    }

    fn is_finished(&self) -> bool {
        let mut roles = self.nodes.iter().map(|node| &node.role);
        roles.all(|role| matches!(role, Role::Finished))
    }

    /// After a stop there is only to wait for calls of replicas; a replica that returns wakes the lane.
    fn leave(&mut self) -> Step {
        for node in &mut self.nodes {
            node.leave(&mut self.cx);
        }
        if self.is_finished() {
            Step::Finished
        } else {
            Step::Idle { until_ns: None }
        }
    }

    fn obey(&mut self) -> bool {
        let commands = self.mailbox.take();
        let any = !commands.is_empty();
        for command in commands {
            match command {
                Command::Attach { flows } => self.attach(flows),
                Command::Close => self.nodes.iter_mut().for_each(|node| node.closing = true),
                Command::Restart {
                    node,
                    replica,
                    at_ns,
                } => self.restart(node, replica, at_ns),
                Command::Retire { node } => {
                    if let Some(index) = self.nodes.iter().position(|known| known.parts.id == node)
                    {
                        self.nodes[index].retire(&mut self.cx);
                    }
                }
                Command::Stop => self.stop(),
            }
        }
        any
    }

    /// Gives a stream the first free slot, so that a run of many short streams looks at no more slots than live at once.
    fn attach(&mut self, flows: Vec<Option<Attachment>>) {
        let slots = self.nodes.first().map_or(0, |node| node.flows.len());
        let is_free = |slot: &usize| {
            self.nodes.iter().all(|node| node.flows[*slot].is_none())
                && self.cx.work.iter().all(|hand_over| hand_over.slot != *slot)
        };
        let slot = (0..slots).find(is_free).unwrap_or(slots);
        for (node, attachment) in self.nodes.iter_mut().zip(flows) {
            let (flow, latency) = match attachment {
                Some(attachment) => (Some(attachment.flow), attachment.latency),
                None => (None, None),
            };
            for outlet in flow.iter().flat_map(|flow| flow.outlets.iter().flatten()) {
                if let Outlet::Lane { node: to, .. } = outlet {
                    self.cx.held_up.connect(node.place, *to);
                }
            }
            node.attach(slot, flow, latency, &self.cx);
        }
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.parts.id == id)
    }

    fn restart(&mut self, id: NodeId, replica: usize, at_ns: u64) {
        if let Some(node) = self.node_mut(id) {
            let restart = &node.parts.watch.restart_at_ns;
            restart.fetch_max(at_ns, Ordering::Relaxed);
            match &mut node.role {
                Role::Absent { create_at_ns } => *create_at_ns = Some(at_ns),
                Role::Pool(pool) => pool.recreate(replica, at_ns),
                _ => {}
            }
        }
    }

    /// Tries again what waited for room, and notes which streams still wait.
    fn flush(&mut self) -> bool {
        if !self.cx.suspended {
            return false;
        }
        let suspended = &mut self.cx.held_up.suspended;
        let waited = suspended.len();
        suspended.clear();
        for node in &mut self.nodes {
            let mut blocked = false;
            for (slot, flow) in node.flows.iter_mut().enumerate() {
                if let Some(flow) = flow
                    && flow.is_suspended()
                    && !flow.flush(self.cx.now_ns)
                {
                    blocked = true;
                    suspended.push((node.place, slot));
                }
            }
            if blocked != node.parts.watch.blocked.load(Ordering::Relaxed) {
                node.parts.watch.blocked.store(blocked, Ordering::Relaxed);
            }
        }
        self.cx.suspended = !suspended.is_empty();
        suspended.len() < waited
    }

    /// Handles hand-overs inside the lane, oldest first. Those to a node that is absent or held up wait in their places, and so
    /// do those of the same stream behind them.
    fn work_off(&mut self) -> bool {
        let mut progressed = false;
        let mut waiting = 0;
        for _ in 0..HAND_OVERS_PER_STEP {
            let Some(hand_over) = self.cx.work.get(waiting) else {
                break;
            };
            let (node, slot) = (&mut self.nodes[hand_over.node], hand_over.slot);
            let is_same = |other: &HandOver| (other.node, other.slot) == (node.place, slot);
            let is_behind = self.cx.work.iter().take(waiting).any(is_same);
            if is_behind || !node.can_work_off(slot) {
                waiting += 1;
                continue;
            }
            progressed = true;
            if let Some(hand_over) = self.cx.work.remove(waiting) {
                node.accept(hand_over, &mut self.cx);
            }
        }
        progressed
    }

    fn poll_nodes(&mut self) -> bool {
        let mut progressed = false;
        // What is left of the hand-overs cannot be handled now.
        let (held_up, work) = (&mut self.cx.held_up, &self.cx.work);
        held_up.waiting.clear();
        held_up.waiting.extend(
            work.iter()
                .map(|hand_over| (hand_over.node, hand_over.slot)),
        );
        held_up.out_of_turn.clear();
        for node in self.nodes.iter_mut().filter(|node| node.parts.strict) {
            node.note_out_of_turn(&mut self.cx);
        }
        let count = self.nodes.len();
        for offset in 0..count {
            let index = (self.next_node + offset) % count;
            let node = &mut self.nodes[index];
            progressed |= match &node.role {
                Role::Absent { .. } => node.create_if_due(&mut self.cx),
                Role::Source(_) => {
                    self.started.load(Ordering::Acquire) && node.step_source(&mut self.cx)
                }
                Role::Leaving(_) | Role::Finished => false,
                Role::Actor(_) if node.is_fed_by_hand() => false,
                Role::Actor(_) | Role::Pool(_) | Role::Retired => node.poll(&mut self.cx),
            };
            if progressed {
                self.next_node = if node_is_source(&self.nodes[index]) {
                    index + 1
                } else {
                    index
                };
                return true;
            }
        }
        false
    }

    fn finish_nodes(&mut self) -> bool {
        let mut finished = false;
        if self.cx.work.is_empty() {
            for node in &mut self.nodes {
                finished |= node.finish_if_done(&mut self.cx);
            }
        }
        finished
    }

    /// The earliest clock time at which something can be done without anything coming in.
    fn next_deadline(&mut self) -> Option<u64> {
        let mut earliest: Option<u64> = None;
        let mut consider = |time: Option<u64>| {
            if let Some(time) = time {
                earliest = Some(earliest.map_or(time, |known| known.min(time)));
            }
        };
        for node in &mut self.nodes {
            match &node.role {
                Role::Absent { create_at_ns } => consider(*create_at_ns),
                Role::Source(_) if self.started.load(Ordering::Acquire) => {
                    consider(node.source_deadline(&self.cx.held_up));
                }
                Role::Pool(pool) => consider(pool.deadline()),
                _ => {}
            }
            if node.can_take() {
                consider(node.batch.as_ref().and_then(|batch| batch.due_ns()));
            }
        }
        earliest
    }

    fn enter_idle(&mut self) {
        self.idle_since_ns = Some(self.cx.now_ns);
        for node in &self.nodes {
            // A source waits for room also where a node behind it in the lane does.
            if let Some(held_up) = node.is_source_held_up(&self.cx.held_up) {
                node.parts.watch.blocked.store(held_up, Ordering::Relaxed);
            }
        }
        self.merge_statistics();
    }

    /// Credits the time since the last look to the nodes that wait for room, as they stood during it.
    fn leave_idle(&mut self) {
        if let Some(since) = self.idle_since_ns.take() {
            let idle = self.cx.tick().saturating_sub(since);
            for node in &mut self.nodes {
                if node.parts.watch.blocked.load(Ordering::Relaxed) {
                    node.recorder.blocked_ns += idle;
                }
            }
        }
    }

    fn merge_statistics(&mut self) {
        if self.cx.now_ns.saturating_sub(self.merged_ns) >= STATISTICS_PERIOD_NS {
            self.merged_ns = self.cx.now_ns;
            for node in &mut self.nodes {
                node.parts.watch.absorb(&mut node.recorder);
            }
        }
    }

    /// Gives up everything, counting it.
    fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        // Packets on their way inside the lane are counted as abandoned with the edges.
        self.cx.work.clear();
        for node in &mut self.nodes {
            if !matches!(node.role, Role::Finished) {
                node.stop(&mut self.cx);
            }
        }
    }

    /// Reports the end of the thread.
    pub(crate) fn exited(&self) {
        self.cx.tell(Event::LaneExited { lane: self.id });
    }
}

fn node_is_source(node: &Node) -> bool {
    matches!(node.role, Role::Source(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_in_which_nothing_waits_for_room_looks_at_no_flow() {
        let mailbox = Arc::new(Mailbox::new(Arc::default()));
        let host = Host {
            clock: Clock::manual(),
            events: Arc::new(|_| {}),
            workers: crate::runtime::host::Workers::Threads,
            deliveries: None,
        };
        let mut lane = Lane::new(0, "lane".to_owned(), vec![], mailbox, Arc::default(), host);
        lane.cx.held_up.suspended.push((7, 0));
        assert!(!lane.flush());
        assert_eq!(lane.cx.held_up.suspended.len(), 1, "it did not look");
        lane.cx.suspended = true;
        assert!(lane.flush(), "what waited has gone");
        assert!(lane.cx.held_up.suspended.is_empty() && !lane.cx.suspended);
    }
}
