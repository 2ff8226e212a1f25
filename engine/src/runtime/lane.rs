//! A lane: the nodes that share one thread, as a state machine that is advanced in steps.
//!
//! A step never waits for another lane, so that the same code runs on a thread of its own and in a simulation. It first
//! empties the rings between the lane's nodes as far as there is room, then takes one thing from outside: a packet from
//! a queue, a packet of a source, a finished call, or a batch that is due. Its nodes take turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::Clock;
use crate::runtime::context::LaneContext;
use crate::runtime::edge::Edge;
use crate::runtime::edges::{EdgeId, Edges};
use crate::runtime::flow::{Flow, FlowSpec};
use crate::runtime::host::Host;
use crate::runtime::node::{Node, Role};
use crate::runtime::protocol::{Attachment, Command, Event, Mailbox, NewEdge, NodeId};
use crate::runtime::stats::LaneWatch;

/// Interval at which recorders are merged into the shared statistics.
const STATISTICS_PERIOD_NS: u64 = 1_000_000_000;

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done; step again.
    Progressed,
    /// Nothing was done. What the step found out (a mark passed on into a ring, the end of a stream with a held batch,
    /// a free replica) may give the next step something to do. After two idle steps in a row, nothing can be done until
    /// something arrives, room appears, or this clock time is reached.
    Idle { until_ns: Option<u64> },
    /// Every node is finished.
    Finished,
}

pub(crate) struct Lane {
    pub(crate) id: usize,
    pub(crate) name: String,
    /// The nodes, each after those of the lane that feed it.
    nodes: Vec<Node>,
    mailbox: Arc<Mailbox>,
    watch: Arc<LaneWatch>,
    /// Set when every instance that was wired together has been created: sources then begin.
    started: Arc<AtomicBool>,
    cx: LaneContext,
    /// Number of stream slots that have been allocated.
    slots: usize,
    /// Index of the node whose turn it is to take from outside.
    turn: usize,
    merged_ns: u64,
    idle_since_ns: Option<u64>,
    is_stopped: bool,
}

/// The parts of a lane besides its nodes.
pub(crate) struct LaneParts {
    pub(crate) id: usize,
    pub(crate) name: String,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) watch: Arc<LaneWatch>,
    pub(crate) started: Arc<AtomicBool>,
    pub(crate) host: Host,
}

impl Lane {
    pub(crate) fn new(parts: LaneParts, mut nodes: Vec<Node>) -> Self {
        for (place, node) in nodes.iter_mut().enumerate() {
            node.place = place;
        }
        let observer = parts.host.observer.as_ref();
        let cx = LaneContext {
            recorder: observer.map(|observer| observer.recorder(&parts.name)),
            edges: Edges::new(nodes.len()),
            now_ns: parts.host.clock.now_ns(),
            host: parts.host,
        };
        Self {
            id: parts.id,
            name: parts.name,
            nodes,
            mailbox: parts.mailbox,
            watch: parts.watch,
            started: parts.started,
            cx,
            slots: 0,
            turn: 0,
            merged_ns: 0,
            idle_since_ns: None,
            is_stopped: false,
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        self.cx.host.clock.clone()
    }

    /// Does all work inside the lane and takes one thing from outside.
    pub(crate) fn step(&mut self) -> Step {
        self.leave_idle();
        for node in &mut self.nodes {
            node.is_blocked = false;
        }
        let mut progressed = self.mailbox.has_commands() && self.obey();
        if !self.is_stopped {
            progressed |= self.empty_rings();
        }
        progressed |= self.take_from_outside();
        if progressed {
            self.merge_statistics();
            return Step::Progressed;
        }
        let finished = !self.is_stopped && self.finish_nodes();
        if self.is_finished() {
            return Step::Finished;
        }
        if finished {
            return Step::Progressed;
        }
        let (until_ns, waits_for_others) = self.next_deadline();
        self.enter_idle(waits_for_others);
        Step::Idle { until_ns }
    }

    /// Returns whether an idle lane may receive work before this time. It cannot if all its nodes are sources that wait
    /// for their next packet's time.
    pub(crate) fn may_get(&self, until_ns: Option<u64>) -> bool {
        let mut nodes = self.nodes.iter();
        until_ns.is_none() || nodes.any(|node| !node.parts.actor_type.source || node.is_blocked)
    }

    /// Returns the largest number of streams that it has had at once.
    pub(crate) fn streams(&self) -> u32 {
        self.slots as u32
    }

    fn is_finished(&self) -> bool {
        let mut roles = self.nodes.iter().map(|node| &node.role);
        roles.all(|role| matches!(role, Role::Finished))
    }

    fn obey(&mut self) -> bool {
        let commands = self.mailbox.take();
        let any = !commands.is_empty();
        for command in commands {
            match command {
                Command::Attach(attachment) if !self.is_stopped => self.attach(attachment),
                // The stream comes too late; its books show that nothing was captured.
                Command::Attach(_) => {}
                Command::Close => self.nodes.iter_mut().for_each(|node| node.closing = true),
                Command::Restart {
                    node,
                    replica,
                    at_ns,
                } => self.restart(node, replica, at_ns),
                Command::Retire { node } => {
                    let mut nodes = self.nodes.iter_mut();
                    if let Some(node) = nodes.find(|known| known.parts.id == node) {
                        node.retire(&mut self.cx);
                    }
                }
                Command::Stop => self.stop(),
            }
        }
        any
    }

    /// Attaches a stream at the first free slot, so that a run of many short streams polls only as many slots as there
    /// were streams at once.
    fn attach(&mut self, attachment: Attachment) {
        let is_free = |slot: &usize| self.nodes.iter().all(|node| node.flows[*slot].is_none());
        let slot = (0..self.slots).find(is_free).unwrap_or(self.slots);
        self.slots = self.slots.max(slot + 1);
        let edges = &mut self.cx.edges;
        let added = attachment.edges.into_iter().map(|edge| {
            edges.add(match edge {
                NewEdge::Ring {
                    policy,
                    books,
                    consumer,
                } => Edge::ring(policy, books, (consumer, slot)),
                NewEdge::Sending(policy, channel) => Edge::sending(policy, channel),
                NewEdge::Receiving(policy, channel) => Edge::receiving(policy, channel),
            })
        });
        let added: Vec<EdgeId> = added.collect();
        for (node, new) in self.nodes.iter_mut().zip(attachment.flows) {
            let Some(new) = new else {
                node.attach(slot, None, None, &mut self.cx);
                continue;
            };
            let inputs = new.inputs.into_iter().map(|input| match input {
                Some(index) => added[index],
                None => self.cx.edges.add(Edge::ended()),
            });
            let inputs = inputs.collect();
            let outputs = new.outputs.into_iter();
            let outputs =
                outputs.map(|feeds| feeds.into_iter().map(|index| added[index]).collect());
            let spec = FlowSpec {
                books: new.books,
                inputs,
                outputs: outputs.collect(),
                required: new.required,
            };
            let flow = Flow::new(Arc::clone(&attachment.stream), spec, &self.cx.edges);
            node.attach(slot, Some(flow), new.latency, &mut self.cx);
        }
    }

    fn restart(&mut self, id: NodeId, replica: usize, at_ns: u64) {
        let mut nodes = self.nodes.iter_mut();
        let Some(node) = nodes.find(|node| node.parts.id == id) else {
            return;
        };
        let restart = &node.parts.watch.restart_at_ns;
        restart.fetch_max(at_ns, Ordering::Relaxed);
        match &mut node.role {
            Role::Absent { create_at_ns } => *create_at_ns = Some(at_ns),
            Role::Pool(pool) => pool.recreate(replica, at_ns),
            _ => {}
        }
    }

    /// Lets each node take one packet from its rings, upstream nodes first, until nothing moves. Each packet thus goes
    /// as far as it can before the next one follows.
    fn empty_rings(&mut self) -> bool {
        let mut progressed = false;
        loop {
            let mut moved = false;
            let mut next = self.cx.edges.next_waiting(0);
            while let Some(place) = next {
                moved |= self.nodes[place].take_arrived(&mut self.cx);
                next = self.cx.edges.next_waiting(place + 1);
            }
            progressed |= moved;
            // Emptying a full ring takes long if calls do; commands must not wait for it.
            if !moved || self.mailbox.has_commands() {
                return progressed;
            }
        }
    }

    /// Lets the node whose turn it is take one thing from outside.
    fn take_from_outside(&mut self) -> bool {
        for index in (self.turn..self.nodes.len()).chain(0..self.turn) {
            let node = &mut self.nodes[index];
            if matches!(node.role, Role::Actor(_)) && !node.looks_outside {
                continue;
            }
            let progressed = match &node.role {
                Role::Leaving(_) => node.leave(&mut self.cx),
                Role::Finished => false,
                _ if self.is_stopped => false,
                Role::Absent { .. } => node.create_if_due(&mut self.cx),
                Role::Source(_) => {
                    self.started.load(Ordering::Acquire) && node.step_source(&mut self.cx)
                }
                Role::Actor(_) | Role::Pool(_) | Role::Retired(_) => {
                    node.take_from_outside(&mut self.cx)
                }
            };
            if progressed {
                self.turn = index + 1;
                return true;
            }
        }
        false
    }

    fn finish_nodes(&mut self) -> bool {
        let mut finished = false;
        for node in &mut self.nodes {
            finished |= node.finish_if_done(&mut self.cx);
        }
        finished
    }

    /// Returns the earliest clock time at which something can be done without anything arriving, and whether the lane
    /// makes no progress by itself, because others have to act first.
    fn next_deadline(&mut self) -> (Option<u64>, bool) {
        let mut earliest: Option<u64> = None;
        let mut waits_for_others = true;
        for node in &mut self.nodes {
            let mut consider = |time: Option<u64>, helps: bool| {
                if let Some(time) = time {
                    earliest = Some(earliest.map_or(time, |known| known.min(time)));
                    waits_for_others &= !helps;
                }
            };
            match &mut node.role {
                Role::Absent { create_at_ns } => consider(*create_at_ns, true),
                Role::Source(_) if self.started.load(Ordering::Acquire) => {
                    if let Some((time, only_reads)) = node.source_deadline(&self.cx) {
                        consider(Some(time), !only_reads);
                    }
                }
                role => consider(role.pool().and_then(|pool| pool.deadline()), true),
            }
            if node.can_take() {
                let batches = node.batches.as_ref();
                consider(batches.and_then(|batches| batches.first_due_ns()), true);
            }
        }
        (earliest, waits_for_others)
    }

    fn enter_idle(&mut self, waits_for_others: bool) {
        self.idle_since_ns = Some(self.cx.now_ns);
        for node in &self.nodes {
            node.parts.watch.note_blocked(node.is_blocked);
        }
        let waits = &self.watch.waits_for_others;
        waits.store(waits_for_others, Ordering::Relaxed);
        self.merge_statistics();
    }

    /// Adds the idle time to the nodes that waited for room during it.
    fn leave_idle(&mut self) {
        if let Some(since) = self.idle_since_ns.take() {
            self.watch.waits_for_others.store(false, Ordering::Relaxed);
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
                node.merge_statistics();
            }
        }
    }

    /// Gives up everything and counts it. Only calls of replicas remain to be waited for.
    fn stop(&mut self) {
        if std::mem::replace(&mut self.is_stopped, true) {
            return;
        }
        for node in &mut self.nodes {
            if !matches!(node.role, Role::Finished) {
                node.stop(&mut self.cx);
            }
        }
    }

    /// Reports the end of the thread, and why if it died.
    pub(crate) fn exited(&self, failure: Option<String>) {
        self.cx.tell(Event::LaneExited {
            lane: self.id,
            failure,
        });
    }
}
