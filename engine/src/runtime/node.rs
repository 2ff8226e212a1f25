//! One node instance inside its lane: which stream it serves next, how its calls end, when it is done.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::actor::{ActorError, Outputs, Setup};
use crate::clock::Clock;
use crate::graph::{OnError, Settings};
use crate::packet::Packet;
use crate::registry::{ActorType, AnyActor, Behaviour};
use crate::runtime::batch::{Batch, FlushReason};
use crate::runtime::books::count;
use crate::runtime::call::{Outcome, Work, call, discard, guard};
use crate::runtime::flow::{Fate, Flow, Found, HandOver, Taken};
use crate::runtime::link::END;
use crate::runtime::parker::Parker;
use crate::runtime::pool::Pool;
use crate::runtime::protocol::{Event, EventSink, NodeId};
use crate::runtime::source::SourceRunner;
use crate::runtime::stats::{NodeStats, NodeWatch, SinkLatency};

/// What all nodes of a lane share while one of them runs.
pub(crate) struct LaneContext {
    pub(crate) clock: Clock,
    /// Clock time of the last look, refreshed after each call.
    pub(crate) now_ns: u64,
    /// Hand-overs inside the lane that have not been handled yet.
    pub(crate) work: VecDeque<HandOver>,
    pub(crate) events: EventSink,
}

impl LaneContext {
    pub(crate) fn tick(&mut self) -> u64 {
        self.now_ns = self.clock.now_ns();
        self.now_ns
    }

    pub(crate) fn tell(&self, event: Event) {
        (self.events)(event);
    }
}

/// What a node instance is made of, fixed for its life.
pub(crate) struct NodeParts {
    pub(crate) id: NodeId,
    pub(crate) watch: Arc<NodeWatch>,
    /// Where the lane parks; replicas wake it.
    pub(crate) parker: Arc<Parker>,
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
    Finished,
}

pub(crate) struct Node {
    pub(crate) parts: NodeParts,
    pub(crate) role: Role,
    /// By the lane's stream slots.
    pub(crate) flows: Vec<Option<Flow>>,
    pub(crate) latencies: Vec<Option<Arc<SinkLatency>>>,
    pub(crate) batch: Option<Batch>,
    pub(crate) recorder: NodeStats,
    pub(crate) closing: bool,
    turn: usize,
    out: Outputs,
    /// What a source keeps over a restart.
    pub(crate) source_memory: crate::runtime::source::SourceMemory,
}

/// What is needed to settle a packet after the actor took its payload.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) slot: usize,
    pub(crate) stream: u32,
    pub(crate) sequence: u64,
    pub(crate) present: u64,
    pub(crate) captured_ns: u64,
}

impl Ticket {
    pub(crate) fn of(taken: &Taken) -> Self {
        let envelope = &taken.input.envelope;
        Self {
            slot: taken.slot,
            stream: envelope.stream.id,
            sequence: envelope.sequence,
            present: taken.present,
            captured_ns: envelope.captured_ns,
        }
    }
}

impl Node {
    pub(crate) fn new(parts: NodeParts, batch: Option<Batch>) -> Self {
        Self {
            parts,
            role: Role::Absent {
                create_at_ns: Some(0),
            },
            flows: Vec::new(),
            latencies: Vec::new(),
            batch,
            recorder: NodeStats::new(),
            closing: false,
            turn: 0,
            out: Outputs::default(),
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
        match guard(|| self.build()) {
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

    fn want_stop(&self, error: &ActorError, cx: &LaneContext) {
        cx.tell(Event::WantsStop {
            node: self.parts.id,
            message: error.to_string(),
        });
    }

    /// Adds a stream under the lane's next slot.
    pub(crate) fn attach(
        &mut self,
        flow: Option<Flow>,
        latency: Option<Arc<SinkLatency>>,
        cx: &LaneContext,
    ) {
        self.flows.push(flow);
        self.latencies.push(latency);
        self.start_stream(self.flows.len() - 1, cx);
    }

    /// Whether it may take another input now.
    pub(crate) fn can_take(&self) -> bool {
        match &self.role {
            Role::Actor(_) | Role::Retired => true,
            Role::Pool(pool) => pool.has_room(),
            Role::Absent { .. } | Role::Source(_) | Role::Finished => false,
        }
    }

    /// Takes and handles the next input from a queue, if there is one. `held_up` are streams that wait for room
    /// further down this lane. True if anything was done.
    pub(crate) fn poll(&mut self, held_up: &[u32], cx: &mut LaneContext) -> bool {
        let mut progressed = self.collect(cx);
        if !self.can_take() {
            return progressed;
        }
        let slots = self.flows.len();
        if self.parts.strict {
            return self.poll_strictly(held_up, cx) || self.flush_if_due(cx) || progressed;
        }
        for step in 0..slots {
            let slot = (self.turn + step) % slots;
            match self.look(slot, held_up, cx) {
                Found::Input(taken) => {
                    self.turn = slot + 1;
                    self.handle(taken, cx);
                    return true;
                }
                Found::Ended => progressed |= self.end_flow(slot, cx),
                Found::Nothing => {}
            }
        }
        self.flush_if_due(cx) || progressed
    }

    /// Serves the stream whose next unsettled sequence is lowest, the first declared among equals, and waits for it.
    fn poll_strictly(&mut self, held_up: &[u32], cx: &mut LaneContext) -> bool {
        let mut lowest: Option<(u64, usize)> = None;
        for slot in 0..self.flows.len() {
            if let Some(flow) = &mut self.flows[slot] {
                let position = flow.settled_position(cx.now_ns);
                flow.mark_outputs(slot, position, &mut cx.work);
                if position != END && lowest.is_none_or(|(least, _)| position < least) {
                    lowest = Some((position, slot));
                }
            }
        }
        let mut progressed = false;
        if let Some((_, slot)) = lowest
            && let Found::Input(taken) = self.look(slot, held_up, cx)
        {
            self.handle(taken, cx);
            return true;
        }
        for slot in 0..self.flows.len() {
            if self.flows[slot]
                .as_ref()
                .is_some_and(|flow| flow.position == END)
            {
                progressed |= self.end_flow(slot, cx);
            }
        }
        progressed
    }

    fn look(&mut self, slot: usize, held_up: &[u32], cx: &mut LaneContext) -> Found {
        match &mut self.flows[slot] {
            Some(flow) if !flow.is_suspended() && !held_up.contains(&flow.stream.id) => {
                let found = flow.take(slot, cx.now_ns);
                if !matches!(found, Found::Input(_)) && flow.position != END {
                    let position = flow.position;
                    flow.mark_outputs(slot, position, &mut cx.work);
                }
                found
            }
            _ => Found::Nothing,
        }
    }

    /// Handles what another node of the lane handed over to `slot`.
    pub(crate) fn work_off(&mut self, slot: usize, cx: &mut LaneContext) {
        loop {
            match self.look(slot, &[], cx) {
                Found::Input(taken) => self.handle(taken, cx),
                Found::Ended => {
                    self.end_flow(slot, cx);
                    return;
                }
                Found::Nothing => return,
            }
        }
    }

    /// Whether a hand-over to this node can be handled now.
    pub(crate) fn can_work_off(&self, slot: usize) -> bool {
        self.can_take()
            && self.flows[slot]
                .as_ref()
                .is_none_or(|flow| !flow.is_suspended())
    }

    fn handle(&mut self, taken: Taken, cx: &mut LaneContext) {
        if matches!(self.role, Role::Retired) {
            self.settle_all(&[Ticket::of(&taken)], Fate::Abandoned, cx);
            return;
        }
        let waited = cx.now_ns.saturating_sub(taken.queued_ns);
        self.recorder.queue_wait_ns.saturating_record(waited);
        let Some(batch) = &mut self.batch else {
            self.run_single(taken, cx);
            return;
        };
        let weight = taken.input.weight();
        let Some(flow) = &mut self.flows[taken.slot] else {
            return;
        };
        let nothing_before = if self.parts.strict {
            batch.is_empty()
        } else {
            flow.held == 0
        };
        if weight == 0 && nothing_before {
            self.run_single(taken, cx);
            return;
        }
        flow.held += 1;
        if batch.must_flush_before(weight) {
            self.flush_batch(FlushReason::Full, cx);
        }
        if let Some(batch) = &mut self.batch
            && batch.hold(taken, weight, cx.now_ns)
        {
            self.flush_batch(FlushReason::Full, cx);
        }
    }

    fn run_single(&mut self, taken: Taken, cx: &mut LaneContext) {
        let ticket = Ticket::of(&taken);
        if let Role::Pool(pool) = &mut self.role {
            if let Some(flow) = &mut self.flows[ticket.slot] {
                flow.held += 1;
            }
            pool.dispatch(vec![ticket], Work::Single(taken.input));
            return;
        }
        self.run(&[ticket], Work::Single(taken.input), cx);
    }

    fn flush_batch(&mut self, reason: FlushReason, cx: &mut LaneContext) {
        let Some(batch) = &mut self.batch else {
            return;
        };
        let (held, weight) = batch.flush();
        self.recorder.record_batch(weight, reason);
        let tickets: Vec<Ticket> = held.iter().map(Ticket::of).collect();
        let work = Work::Batch(held.into_iter().map(|taken| taken.input).collect());
        match &mut self.role {
            Role::Pool(pool) => pool.dispatch(tickets, work),
            _ => {
                self.release(&tickets);
                self.run(&tickets, work, cx);
            }
        }
    }

    /// Flushes a batch that has waited long enough, or to which nothing more can come.
    fn flush_if_due(&mut self, cx: &mut LaneContext) -> bool {
        let Some(batch) = &self.batch else {
            return false;
        };
        if batch.is_empty() || !self.can_take() {
            return false;
        }
        let ended = self.flows.iter().flatten().all(|flow| flow.position == END);
        let reason = if ended {
            FlushReason::End
        } else if batch.due_ns().is_some_and(|due| due <= cx.now_ns) {
            FlushReason::Time
        } else {
            return false;
        };
        self.flush_batch(reason, cx);
        true
    }

    fn release(&mut self, tickets: &[Ticket]) {
        for ticket in tickets {
            if let Some(flow) = &mut self.flows[ticket.slot] {
                flow.held -= 1;
            }
        }
    }

    fn run(&mut self, tickets: &[Ticket], work: Work, cx: &mut LaneContext) {
        let Role::Actor(actor) = &mut self.role else {
            // Retired between holding and flushing.
            self.settle_all(tickets, Fate::Abandoned, cx);
            return;
        };
        let started = cx.now_ns;
        let watch = &self.parts.watch;
        watch
            .call_started_ns
            .store(started.max(1), Ordering::Relaxed);
        let mut out = std::mem::take(&mut self.out);
        let outcome = call(&mut **actor, work, &mut out);
        watch.call_started_ns.store(0, Ordering::Relaxed);
        let service = cx.tick().saturating_sub(started);
        self.recorder.service_ns.saturating_record(service);
        self.recorder.busy_ns += service;
        self.conclude(tickets, outcome, &mut out, 0, cx);
        out.emitted.clear();
        out.failed.clear();
        self.out = out;
    }

    /// Takes results of replicas and publishes what is in order.
    pub(crate) fn collect(&mut self, cx: &mut LaneContext) -> bool {
        let Role::Pool(pool) = &mut self.role else {
            return false;
        };
        let restarts = pool.receive(cx.now_ns);
        self.parts
            .watch
            .restarts
            .fetch_add(restarts, Ordering::Relaxed);
        while let Some((replica, message)) = pool.failed_creation() {
            cx.tell(Event::WantsRestart {
                node: self.parts.id,
                replica,
                message,
            });
        }
        let mut progressed = false;
        while let Role::Pool(pool) = &mut self.role
            && let Some(mut done) = pool.next_in_order()
        {
            progressed = true;
            self.recorder.service_ns.saturating_record(done.service_ns);
            self.recorder.busy_ns += done.service_ns;
            self.release(&done.tickets);
            self.conclude(&done.tickets, done.outcome, &mut done.out, done.replica, cx);
        }
        if progressed {
            cx.tick();
        }
        progressed
    }

    /// Settles the packets of a call by its outcome.
    fn conclude(
        &mut self,
        tickets: &[Ticket],
        outcome: Outcome,
        out: &mut Outputs,
        replica: usize,
        cx: &mut LaneContext,
    ) {
        let node = self.parts.id;
        let outcome = match outcome {
            Outcome::Done => match breach(tickets, out, self.parts.outputs) {
                None => Outcome::Done,
                Some(message) => Outcome::Failed(message.into()),
            },
            other => other,
        };
        match outcome {
            Outcome::Done => self.publish(tickets, out, cx),
            Outcome::Failed(error) => {
                self.log_failure(tickets, &error);
                self.settle_all(tickets, Fate::Failed, cx);
                let message = error.to_string();
                match self.parts.on_error {
                    OnError::Skip => {}
                    OnError::Restart => {
                        self.drop_actor(replica);
                        cx.tell(Event::WantsRestart {
                            node,
                            replica,
                            message,
                        });
                    }
                    OnError::Stop => cx.tell(Event::WantsStop { node, message }),
                }
            }
            Outcome::Panicked(message) => {
                self.settle_all(tickets, Fate::Failed, cx);
                self.drop_actor(replica);
                cx.tell(Event::Panicked {
                    node,
                    replica,
                    message,
                });
            }
        }
    }

    /// Gets rid of an actor (or one replica) that will be replaced.
    fn drop_actor(&mut self, replica: usize) {
        match &mut self.role {
            Role::Pool(pool) => pool.drop_replica(replica),
            Role::Actor(_) => {
                discard(std::mem::replace(
                    &mut self.role,
                    Role::Absent { create_at_ns: None },
                ));
            }
            _ => {}
        }
    }

    fn log_failure(&self, tickets: &[Ticket], error: &ActorError) {
        for ticket in tickets {
            let stream = self.flows[ticket.slot]
                .as_ref()
                .map_or("", |flow| flow.stream.name.as_str());
            tracing::warn!(node = %self.parts.watch.name, stream, sequence = ticket.sequence, "packet failed: {error}");
        }
    }

    /// Publishes what a call emitted, in the order of its inputs.
    fn publish(&mut self, tickets: &[Ticket], out: &mut Outputs, cx: &mut LaneContext) {
        for ticket in tickets {
            let failure = out
                .failed
                .iter()
                .position(|(envelope, _)| is_of(envelope, ticket));
            if let Some(index) = failure {
                let (_, error) = out.failed.swap_remove(index);
                self.log_failure(&[*ticket], &error);
                self.settle_all(&[*ticket], Fate::Failed, cx);
                if self.parts.on_error != OnError::Skip {
                    self.want_stop(&error, cx);
                }
                continue;
            }
            let Some(flow) = &mut self.flows[ticket.slot] else {
                continue;
            };
            flow.account(ticket.present, Fate::Processed);
            let mut emitted = 0u64;
            let mut index = 0;
            while index < out.emitted.len() {
                if is_of(&out.emitted[index].1, ticket) {
                    let (output, envelope, payload) = out.emitted.swap_remove(index);
                    emitted |= 1 << output;
                    let packet = Packet { envelope, payload };
                    flow.publish(ticket.slot, output, packet, cx.now_ns, &mut cx.work);
                } else {
                    index += 1;
                }
            }
            for output in 0..self.parts.outputs {
                if emitted & (1 << output) == 0 {
                    count(&flow.books.filtered[output], 1);
                    flow.mark_output(ticket.slot, output, ticket.sequence + 1, &mut cx.work);
                }
            }
            flow.published(ticket.sequence);
            if self.parts.sink
                && let Some(Some(latency)) = self.latencies.get(ticket.slot)
            {
                latency.record(cx.now_ns.saturating_sub(ticket.captured_ns));
                self.parts
                    .watch
                    .last_delivery_ns
                    .store(cx.now_ns, Ordering::Relaxed);
            }
        }
    }

    /// Ends packets here: counted, and marked on the outputs.
    fn settle_all(&mut self, tickets: &[Ticket], fate: Fate, cx: &mut LaneContext) {
        for ticket in tickets {
            if let Some(flow) = &mut self.flows[ticket.slot] {
                flow.account(ticket.present, fate);
                for output in 0..self.parts.outputs {
                    flow.mark_output(ticket.slot, output, ticket.sequence + 1, &mut cx.work);
                }
                flow.published(ticket.sequence);
            }
        }
    }

    /// Closes a flow whose stream has ended, once nothing of it is held or waits.
    fn end_flow(&mut self, slot: usize, cx: &mut LaneContext) -> bool {
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
        }
    }

    /// Takes the node out for good: what it holds and what still reaches it is abandoned, and its streams flow on.
    pub(crate) fn retire(&mut self, cx: &mut LaneContext) {
        if matches!(self.role, Role::Retired | Role::Finished) {
            return;
        }
        let given_up = self.give_up_held();
        let role = std::mem::replace(&mut self.role, Role::Retired);
        if self.parts.actor_type.source {
            self.close_flow(0, cx);
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
            !self.flows.is_empty()
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
        discard(std::mem::replace(&mut self.role, Role::Finished));
        self.retire_statistics(cx);
        cx.tell(Event::NodeFinished {
            node: self.parts.id,
            failure: None,
        });
    }

    fn retire_statistics(&mut self, cx: &mut LaneContext) {
        let watch = &self.parts.watch;
        watch.finished_ns.store(cx.tick(), Ordering::Relaxed);
        watch.blocked.store(false, Ordering::Relaxed);
        watch.absorb(&mut self.recorder);
    }
}

fn is_of(envelope: &crate::packet::Envelope, ticket: &Ticket) -> bool {
    envelope.sequence == ticket.sequence && envelope.stream.id == ticket.stream
}

/// How what was emitted breaks the contract, if it does.
fn breach(tickets: &[Ticket], out: &Outputs, outputs: usize) -> Option<String> {
    for (index, (output, envelope, _)) in out.emitted.iter().enumerate() {
        let sequence = envelope.sequence;
        if *output >= outputs {
            return Some(format!(
                "the actor emitted on output {output}, but declares {outputs} output(s)"
            ));
        }
        if !tickets.iter().any(|ticket| is_of(envelope, ticket)) {
            return Some(format!(
                "the actor emitted sequence {sequence}, which this call was not given"
            ));
        }
        let twice = out.emitted[..index].iter().any(|(earlier, other, _)| {
            earlier == output && other.sequence == sequence && other.stream.id == envelope.stream.id
        });
        if twice {
            return Some(format!(
                "the actor emitted sequence {sequence} twice on output {output}"
            ));
        }
    }
    None
}
