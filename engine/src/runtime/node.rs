//! One node instance inside its lane: how it is created, gets streams, gives up and finishes.
//!
//! Which input it takes next is in `serving`, what becomes of a call's packets in `settling`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::actor::{ActorError, Outputs, Setup};
use crate::graph::{OnError, Settings};
use crate::registry::{ActorType, AnyActor, Behaviour};
use crate::runtime::batch::Batch;
use crate::runtime::call::{discard, guard};
use crate::runtime::flow::{Fate, Flow, HandOver};
use crate::runtime::held_up::HeldUp;
use crate::runtime::host::{Host, Workers};
use crate::runtime::intake::Intake;
use crate::runtime::link::END;
use crate::runtime::parker::Parker;
use crate::runtime::pool::Pool;
use crate::runtime::protocol::{Event, NodeId};
use crate::runtime::settling::Ticket;
use crate::runtime::source::SourceRunner;
use crate::runtime::stats::{NodeStats, NodeWatch, SinkLatency};

/// What all nodes of a lane share while one of them runs.
pub(crate) struct LaneContext {
    pub(crate) host: Host,
    /// Clock time of the last look, refreshed after each call.
    pub(crate) now_ns: u64,
    /// Hand-overs inside the lane that have not been handled yet.
    pub(crate) work: VecDeque<HandOver>,
    /// Set when some flow of the lane holds packets for a full queue, so that a lane that flows freely looks at none.
    pub(crate) suspended: bool,
    pub(crate) held_up: HeldUp,
}

impl LaneContext {
    pub(crate) fn tick(&mut self) -> u64 {
        self.now_ns = self.host.clock.now_ns();
        self.now_ns
    }

    pub(crate) fn tell(&self, event: Event) {
        (self.host.events)(event);
    }
}

/// What a node instance is made of, fixed for its life.
pub(crate) struct NodeParts {
    pub(crate) id: NodeId,
    pub(crate) watch: Arc<NodeWatch>,
    /// Where the lane parks; replicas wake it.
    pub(crate) parker: Arc<Parker>,
    pub(crate) workers: Workers,
    pub(crate) actor_type: ActorType,
    pub(crate) settings: Settings,
    pub(crate) setup: Setup,
    pub(crate) on_error: OnError,
    /// Instances of an `each: stream` node end with their stream.
    pub(crate) per_stream: bool,
    /// Streams are served strictly by sequence, in declared order (clock `asap`).
    pub(crate) strict: bool,
    pub(crate) replicas: usize,
    /// Nobody consumes its outputs: packets are delivered here.
    pub(crate) sink: bool,
    /// The payloads' outputs by number.
    pub(crate) outputs: usize,
}

pub(crate) enum Role {
    /// Not created yet, or gone after a panic; created again at the time, once there is one.
    Absent {
        create_at_ns: Option<u64>,
    },
    Actor(Box<dyn AnyActor>),
    Source(SourceRunner),
    Pool(Pool),
    /// Will not come back; what still reaches it is counted as abandoned.
    Retired,
    /// Stopped, but calls of its replicas have not returned yet.
    Leaving(Pool),
    Finished,
}

pub(crate) struct Node {
    pub(crate) parts: NodeParts,
    /// Its index in the lane.
    pub(crate) place: usize,
    pub(crate) role: Role,
    /// By the lane's stream slots.
    pub(crate) flows: Vec<Option<Flow>>,
    pub(crate) latencies: Vec<Option<Arc<SinkLatency>>>,
    pub(crate) batch: Option<Batch>,
    pub(crate) recorder: NodeStats,
    pub(crate) closing: bool,
    /// A stream has been attached.
    attached: bool,
    /// There may be something to look for: some input comes through a queue, or is joined with another.
    pub(super) is_polled: bool,
    pub(super) turn: usize,
    pub(super) out: Outputs,
    /// Failed packets so far, for deciding which of them are logged.
    pub(super) failures: u64,
    /// What a source keeps over a restart.
    pub(crate) source_memory: crate::runtime::source::SourceMemory,
}

impl Node {
    pub(crate) fn new(parts: NodeParts, batch: Option<Batch>) -> Self {
        Self {
            parts,
            place: 0,
            role: Role::Absent {
                create_at_ns: Some(0),
            },
            flows: Vec::new(),
            latencies: Vec::new(),
            batch,
            recorder: NodeStats::default(),
            closing: false,
            attached: false,
            is_polled: false,
            turn: 0,
            out: Outputs::default(),
            failures: 0,
            source_memory: Default::default(),
        }
    }

    /// Creates the instance if it is absent and its time has come. True if anything was done.
    pub(crate) fn create_if_due(&mut self, cx: &mut LaneContext) -> bool {
        let Role::Absent {
            create_at_ns: Some(at),
        } = self.role
        else {
            return false;
        };
        if at > cx.now_ns {
            return false;
        }
        self.role = Role::Absent { create_at_ns: None };
        let first = self.parts.watch.created_ns.load(Ordering::Relaxed) == 0;
        self.parts.watch.call_began(0, cx.now_ns);
        let built = guard(|| self.build());
        self.parts.watch.call_ended(0);
        match built {
            Ok(role) => {
                self.role = role;
                self.start_streams(cx);
                if first {
                    let now = cx.tick().max(1);
                    self.parts.watch.created_ns.store(now, Ordering::Relaxed);
                    cx.tell(Event::NodeReady {
                        node: self.parts.id,
                    });
                } else {
                    self.parts.watch.restarts.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(error) => {
                let (node, message) = (self.parts.id, error.to_string());
                cx.tell(if first {
                    Event::CreateFailed { node, message }
                } else {
                    Event::WantsRestart {
                        node,
                        replica: 0,
                        message,
                    }
                });
            }
        }
        cx.tick();
        true
    }

    fn build(&mut self) -> Result<Role, ActorError> {
        if self.parts.replicas > 1 {
            return Ok(Role::Pool(Pool::start(&self.parts)?));
        }
        let parts = &self.parts;
        Ok(
            match parts.actor_type.create(&parts.settings, &parts.setup)? {
                Behaviour::Actor(actor) => Role::Actor(actor),
                Behaviour::Source(source) => Role::Source(SourceRunner::new(source)),
            },
        )
    }

    fn start_streams(&mut self, cx: &LaneContext) {
        for slot in 0..self.flows.len() {
            self.start_stream(slot, cx);
        }
    }

    fn start_stream(&mut self, slot: usize, cx: &LaneContext) {
        if let (Role::Actor(actor), Some(flow)) = (&mut self.role, &self.flows[slot])
            && let Err(error) = guard(|| actor.stream_started(&flow.stream))
        {
            self.want_stop(&error, cx);
        }
    }

    pub(super) fn want_stop(&self, error: &ActorError, cx: &LaneContext) {
        cx.tell(Event::WantsStop {
            node: self.parts.id,
            message: error.to_string(),
        });
    }

    /// Adds a stream under one of the lane's slots, a free one or the next.
    pub(crate) fn attach(
        &mut self,
        slot: usize,
        flow: Option<Flow>,
        latency: Option<Arc<SinkLatency>>,
        cx: &LaneContext,
    ) {
        if slot == self.flows.len() {
            self.flows.push(None);
            self.latencies.push(None);
        }
        if let Some(flow) = &flow {
            self.attached = true;
            let mut intakes = flow.intakes.iter();
            self.is_polled |= flow.intakes.len() > 1;
            self.is_polled |= intakes.any(|intake| matches!(intake, Intake::Link { .. }));
        }
        self.flows[slot] = flow;
        self.latencies[slot] = latency;
        self.start_stream(slot, cx);
    }

    /// The slot of a source's only stream, until that has ended.
    pub(super) fn source_slot(&self) -> Option<usize> {
        self.flows.iter().position(Option::is_some)
    }

    /// Closes a flow whose stream has ended, once nothing of it is held or waits.
    pub(super) fn end_flow(&mut self, slot: usize, cx: &mut LaneContext) -> bool {
        let Some(flow) = &mut self.flows[slot] else {
            return false;
        };
        if flow.held > 0 || flow.is_suspended() {
            return false;
        }
        if let Role::Actor(actor) = &mut self.role
            && let Err(error) = guard(|| actor.stream_ended(&flow.stream))
        {
            self.want_stop(&error, cx);
        }
        self.close_flow(slot, cx);
        true
    }

    /// Tells the outputs that the stream has ended and forgets it.
    pub(crate) fn close_flow(&mut self, slot: usize, cx: &mut LaneContext) {
        if let Some(mut flow) = self.flows[slot].take() {
            flow.mark_outputs(slot, END, &mut cx.work);
            flow.books.ended.store(true, Ordering::Relaxed);
            if let Some(latency) = self.latencies[slot].take() {
                latency.close();
            }
        }
    }

    /// Takes the node out for good: what it holds and what still reaches it is abandoned, and its streams flow on.
    pub(crate) fn retire(&mut self, cx: &mut LaneContext) {
        if matches!(self.role, Role::Retired | Role::Leaving(_) | Role::Finished) {
            return;
        }
        let given_up = self.give_up_held();
        let role = std::mem::replace(&mut self.role, Role::Retired);
        if self.parts.actor_type.source
            && let Some(slot) = self.source_slot()
        {
            self.close_flow(slot, cx);
        }
        discard(role);
        self.release(&given_up);
        self.settle_all(&given_up, Fate::Abandoned, cx);
    }

    /// Takes out what a batch or replicas hold.
    fn give_up_held(&mut self) -> Vec<Ticket> {
        let mut given_up: Vec<Ticket> = Vec::new();
        if let Role::Pool(pool) = &mut self.role {
            given_up.extend(pool.abandon());
        }
        if let Some(batch) = &mut self.batch {
            given_up.extend(batch.flush().0.iter().map(Ticket::of));
        }
        given_up
    }

    /// Finishes the instance if nothing can reach it any more. True if it did.
    pub(crate) fn finish_if_done(&mut self, cx: &mut LaneContext) -> bool {
        let all_ended = self.flows.iter().all(Option::is_none);
        let no_more = if self.parts.per_stream {
            self.attached
        } else {
            self.closing
        };
        if matches!(self.role, Role::Finished) || !all_ended || !no_more {
            return false;
        }
        let failure = match std::mem::replace(&mut self.role, Role::Finished) {
            Role::Actor(mut actor) => {
                let result = guard(|| actor.finish());
                discard(actor);
                result.err()
            }
            other => {
                discard(other);
                None
            }
        };
        self.retire_statistics(cx);
        cx.tell(Event::NodeFinished {
            node: self.parts.id,
            failure: failure.map(|error| error.to_string()),
        });
        true
    }

    /// Gives up everything; the run is being stopped. Nothing is finished, so no file gets its final name.
    pub(crate) fn stop(&mut self, cx: &mut LaneContext) {
        let given_up = self.give_up_held();
        for ticket in given_up {
            if let Some(flow) = &self.flows[ticket.slot] {
                flow.account(ticket.present, Fate::Abandoned);
            }
        }
        for flow in self.flows.iter_mut().flatten() {
            flow.abandon(cx.now_ns);
        }
        self.role = match std::mem::replace(&mut self.role, Role::Finished) {
            Role::Pool(pool) => Role::Leaving(pool),
            role => {
                discard(role);
                Role::Finished
            }
        };
        if matches!(self.role, Role::Finished) {
            self.gone(cx);
        }
    }

    /// Finishes a stopped node once the last call of its replicas has returned.
    pub(crate) fn leave(&mut self, cx: &mut LaneContext) {
        if let Role::Leaving(pool) = &mut self.role
            && !pool.is_working()
        {
            discard(std::mem::replace(&mut self.role, Role::Finished));
            self.gone(cx);
        }
    }

    fn gone(&mut self, cx: &mut LaneContext) {
        self.retire_statistics(cx);
        cx.tell(Event::NodeFinished {
            node: self.parts.id,
            failure: None,
        });
    }

    fn retire_statistics(&mut self, cx: &mut LaneContext) {
        let watch = &self.parts.watch;
        watch.finished_ns.store(cx.tick().max(1), Ordering::Relaxed);
        watch.blocked.store(false, Ordering::Relaxed);
        watch.absorb(&mut self.recorder);
        watch.close_statistics();
    }
}
