//! A node instance: its role, what it holds, and the state of its streams. The path of a packet through it is in `way`.

use std::sync::Arc;

use crate::end::End;
use crate::error::ActorError;
use crate::observer::Fate;
use crate::outputs::Outputs;
use crate::registry::AnyActor;
use crate::runtime::batch::Batches;
use crate::runtime::call::{discard, discard_each};
use crate::runtime::context::LaneContext;
use crate::runtime::flow::{Flow, Receipt};
use crate::runtime::parts::NodeParts;
use crate::runtime::pool::Pool;
use crate::runtime::protocol::Event;
use crate::runtime::source_runner::{SourceMemory, SourceRunner};
use crate::runtime::stats::{LatencyRecorder, NodeStats};
use crate::runtime::window::Window;

/// Number of failed packets of a node up to which each is logged.
const FAILURES_LOGGED_EACH: u64 = 8;

pub(crate) enum Role {
    /// Not created yet, or gone after a panic; created at this clock time once it is set.
    Absent {
        create_at_ns: Option<u64>,
    },
    Actor(Box<dyn AnyActor>),
    Source(SourceRunner),
    Pool(Pool),
    /// Out of service for good; packets that still reach it count as abandoned. Its replicas may not have finished yet.
    Retired(Option<Pool>),
    /// Has nothing more to do, but its replicas have not finished yet.
    Leaving(Pool),
    Finished,
}

impl Role {
    /// Returns the replicas, if there are any.
    pub(crate) fn pool(&mut self) -> Option<&mut Pool> {
        match self {
            Self::Pool(pool) | Self::Leaving(pool) | Self::Retired(Some(pool)) => Some(pool),
            _ => None,
        }
    }
}

pub(crate) struct Node {
    pub(crate) parts: NodeParts,
    /// Its index in the lane.
    pub(crate) place: usize,
    pub(crate) role: Role,
    /// Flows by the lane's stream slots.
    pub(crate) flows: Vec<Option<Flow>>,
    pub(crate) latencies: Vec<Option<LatencyRecorder>>,
    pub(crate) batches: Option<Batches>,
    /// Calls that are not finished when they return: those of replicas, and those whose ticket the actor keeps.
    pub(crate) window: Option<Window>,
    pub(crate) recorder: NodeStats,
    /// Whether no further stream will come.
    pub(crate) closing: bool,
    /// Whether a stream has been attached.
    pub(crate) attached: bool,
    /// Whether it receives packets from other lanes.
    pub(crate) is_fed_from_outside: bool,
    /// Whether it has work that does not arrive by rings: it is fed from outside, forms batches, or has open calls.
    pub(crate) looks_outside: bool,
    /// Whether at the last poll there was something to take but no room for its output.
    pub(crate) is_blocked: bool,
    /// The slot to poll first.
    pub(crate) turn: usize,
    /// Its slots, oldest stream first, if streams are units of work.
    pub(crate) by_age: Vec<usize>,
    pub(crate) out: Outputs,
    /// Number of failed packets so far, which decides whether the next one is logged.
    pub(crate) failures: u64,
    /// Combined end of its streams so far.
    pub(crate) end: End,
    /// Why a replica could not finish.
    pub(crate) finishing_failure: Option<String>,
    /// State that a source keeps across a restart.
    pub(crate) source_memory: SourceMemory,
}

impl Node {
    pub(crate) fn new(parts: NodeParts, batches: Option<Batches>) -> Self {
        let most = match parts.replicas {
            1 => parts.open_calls,
            replicas => 2 * replicas,
        };
        Self {
            looks_outside: batches.is_some() || most > 0,
            window: (most > 0).then(|| Window::new(most, Arc::clone(&parts.parker))),
            parts,
            place: 0,
            role: Role::Absent {
                create_at_ns: Some(0),
            },
            flows: Vec::new(),
            latencies: Vec::new(),
            batches,
            recorder: NodeStats::default(),
            closing: false,
            attached: false,
            is_fed_from_outside: false,
            is_blocked: false,
            turn: 0,
            by_age: Vec::new(),
            out: Outputs::default(),
            failures: 0,
            end: End::default(),
            finishing_failure: None,
            source_memory: SourceMemory::default(),
        }
    }

    /// Merges what has been recorded into the shared statistics.
    pub(crate) fn merge_statistics(&mut self) {
        self.parts.watch.absorb(&mut self.recorder);
        for latency in self.latencies.iter_mut().flatten() {
            latency.merge();
        }
    }

    /// Returns whether it may take another packet now.
    #[inline]
    pub(crate) fn can_take(&self) -> bool {
        match &self.role {
            Role::Actor(_) | Role::Pool(_) => self.window.as_ref().is_none_or(Window::has_room),
            Role::Retired(_) => true,
            Role::Absent { .. } | Role::Source(_) | Role::Leaving(_) | Role::Finished => false,
        }
    }

    /// Ends a stream early, as the actor asked: packets of it that a batch holds count as finished.
    pub(crate) fn end_early(&mut self, stream: u32, cx: &mut LaneContext) {
        let is_of =
            |flow: &Option<Flow>| flow.as_ref().is_some_and(|flow| flow.stream.id == stream);
        let Some(slot) = self.flows.iter().position(is_of) else {
            return;
        };
        if let Some(flow) = &mut self.flows[slot]
            && flow.end_early(&cx.edges)
        {
            cx.tell(Event::StreamFinished { stream });
        }
        let batches = self.batches.as_mut();
        for taken in batches.map_or_else(Vec::new, |batches| batches.give_up_slot(slot)) {
            self.release(&[taken.receipt], cx);
            self.refuse(taken, Fate::Finished, None, cx);
        }
    }

    /// Drops an actor (or one replica) that will be replaced, and the calls that it was to finish later.
    pub(crate) fn drop_actor(&mut self, replica: usize, cx: &mut LaneContext) {
        match &mut self.role {
            Role::Pool(pool) => pool.drop_actor(replica),
            Role::Actor(_) => {
                let absent = Role::Absent { create_at_ns: None };
                let role = std::mem::replace(&mut self.role, absent);
                if let Role::Actor(actor) = role {
                    discard(actor);
                }
                if let Some(window) = &mut self.window {
                    let given_up = window.give_up();
                    self.release(&given_up, cx);
                    self.settle(&given_up, Fate::Failed, cx);
                    self.note_open_calls();
                }
            }
            _ => {}
        }
    }

    /// Counts these packets as held by a batch or an open call.
    pub(crate) fn keep(&mut self, receipts: &[Receipt]) {
        for receipt in receipts {
            if let Some(flow) = &mut self.flows[receipt.slot] {
                flow.held += 1;
            }
        }
    }

    /// Counts these packets as no longer held.
    pub(crate) fn release(&mut self, receipts: &[Receipt], cx: &mut LaneContext) {
        for receipt in receipts {
            if let Some(flow) = &mut self.flows[receipt.slot] {
                flow.held -= 1;
                if flow.held == 0 {
                    // Marks and the end had to wait for it.
                    self.look_again(receipt.slot, cx);
                }
            }
        }
    }

    /// Has a stream polled although nothing has arrived inside the lane. Streams from outside are polled in turn
    /// anyway: if one that always has more were noted as arrived, the note would never be cleared and no other stream
    /// would be served.
    pub(crate) fn look_again(&self, slot: usize, cx: &mut LaneContext) {
        if !self.is_fed_from_outside {
            cx.edges.note_arrival(self.place, slot);
        }
    }

    /// Publishes since when the oldest call has been waiting for its ticket.
    pub(crate) fn note_open_calls(&self) {
        let oldest = self.window.as_ref().and_then(Window::oldest_ns);
        if self.parts.open_calls > 0 && !self.parts.waits_for_packets {
            self.parts.watch.open_call_began(oldest);
        }
    }

    #[inline]
    pub(crate) fn clear_out(&mut self) {
        if !self.out.emitted.is_empty() || !self.out.failed.is_empty() {
            discard_each(self.out.emitted.drain(..));
            discard_each(self.out.failed.drain(..));
        }
        self.out.ended.clear();
        self.out.flushed.clear();
        self.out.is_open = false;
    }

    /// Logs failed packets: each of the first ones, then one each time their number has doubled, so that a node that
    /// fails on everything does not fill the disk. The books count all of them.
    pub(crate) fn log_failure(&mut self, receipts: &[Receipt], error: &ActorError) {
        for receipt in receipts {
            self.failures += 1;
            let failures = self.failures;
            if failures > FAILURES_LOGGED_EACH && !failures.is_power_of_two() {
                continue;
            }
            let stream = self.flows[receipt.slot]
                .as_ref()
                .map_or("", |flow| flow.stream.name.as_str());
            let sequence = receipt.packet.sequence;
            tracing::warn!(node = %self.parts.watch.name, stream, sequence, failures, "packet failed: {error}");
        }
    }
}
