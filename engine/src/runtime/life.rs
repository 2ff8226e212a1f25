//! The life cycle of a node instance: creation, attaching and closing streams, retiring, finishing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::end::{End, How};
use crate::error::ActorError;
use crate::observer::Fate;
use crate::registry::Behaviour;
use crate::runtime::call::{discard, discard_each, guard};
use crate::runtime::context::LaneContext;
use crate::runtime::flow::{Flow, Receipt};
use crate::runtime::node::{Node, Role};
use crate::runtime::pool::Pool;
use crate::runtime::protocol::Event;
use crate::runtime::source_runner::SourceRunner;
use crate::runtime::stats::LatencyRecorder;

impl Node {
    /// Creates the instance if it is absent and due. Returns whether anything was done.
    pub(crate) fn create_if_due(&mut self, cx: &mut LaneContext) -> bool {
        let Role::Absent { create_at_ns } = self.role else {
            return false;
        };
        let watch = Arc::clone(&self.parts.watch);
        let is_first = watch.created_ns.load(Ordering::Relaxed) == 0;
        if !is_first && self.parts.actor_type.source && self.parts.setup.cancelled() {
            // It was to be rebuilt, which is no longer necessary.
            self.role = Role::Retired(None);
            self.end_source(End::of(How::Drained), None, cx);
            return true;
        }
        if create_at_ns.is_none_or(|at_ns| at_ns > cx.now_ns) {
            return false;
        }
        self.role = Role::Absent { create_at_ns: None };
        watch.call_began(0, cx.now_ns);
        let built = guard(|| self.build());
        watch.call_ended(0);
        let now_ns = cx.tick();
        let node = self.parts.id;
        match built {
            Ok(role) => {
                self.role = role;
                if is_first {
                    watch.created_ns.store(now_ns.max(1), Ordering::Relaxed);
                    cx.tell(Event::NodeReady { node });
                } else {
                    watch.note_restarts(1);
                    cx.tell(Event::Restarted { node });
                }
                for slot in 0..self.flows.len() {
                    self.start_stream(slot, cx);
                }
            }
            Err(error) if is_first => {
                let message = error.to_string();
                cx.tell(Event::CreateFailed { node, message });
            }
            Err(error) => cx.tell(Event::WantsRestart {
                node,
                replica: 0,
                message: error.to_string(),
            }),
        }
        cx.tick();
        true
    }

    fn build(&mut self) -> Result<Role, ActorError> {
        let parts = &self.parts;
        if let (true, Some(window)) = (parts.replicas > 1, &self.window) {
            return Ok(Role::Pool(Pool::start(parts, window.desk())?));
        }
        Ok(
            match parts.actor_type.create(&parts.settings, &parts.setup)? {
                Behaviour::Actor(actor) => Role::Actor(actor),
                Behaviour::Source(source) => Role::Source(SourceRunner::new(source)),
            },
        )
    }

    fn start_stream(&mut self, slot: usize, cx: &mut LaneContext) {
        let Some(flow) = &self.flows[slot] else {
            return;
        };
        let failure = match &mut self.role {
            Role::Actor(actor) => {
                let started = || guard(|| actor.stream_started(&flow.stream));
                self.parts.watch.calling(cx.now_ns, started).err()
            }
            Role::Pool(pool) => {
                pool.start_stream(&flow.stream);
                None
            }
            _ => None,
        };
        if let Some(error) = failure {
            self.give_up(&error, cx);
        }
    }

    /// Drops an actor that has failed outside a call, and retires the node.
    fn give_up(&mut self, error: &ActorError, cx: &mut LaneContext) {
        let absent = Role::Absent { create_at_ns: None };
        let role = std::mem::replace(&mut self.role, absent);
        self.discard_role(role);
        self.retire(cx);
        cx.tell(Event::WantsStop {
            node: self.parts.id,
            message: error.to_string(),
        });
    }

    /// Adds a stream at one of the lane's slots: a free one or the next.
    pub(crate) fn attach(
        &mut self,
        slot: usize,
        flow: Option<Flow>,
        latency: Option<LatencyRecorder>,
        cx: &mut LaneContext,
    ) {
        if slot == self.flows.len() {
            self.flows.push(None);
            self.latencies.push(None);
        }
        if let Some(flow) = &flow {
            self.attached = true;
            let mut inputs = flow.inputs.iter();
            self.is_fed_from_outside |= inputs.any(|&id| cx.edges.get(id).comes_from_outside());
            self.looks_outside |= self.is_fed_from_outside;
            if !self.parts.actor_type.source {
                // Packets may have arrived already, or none ever will.
                self.look_again(slot, cx);
            }
        }
        if self.parts.oldest_first && flow.is_some() {
            self.by_age.push(slot);
        }
        self.flows[slot] = flow;
        self.latencies[slot] = latency;
        if self.parts.actor_type.source && matches!(self.role, Role::Retired(_)) {
            // Retired before its stream was attached: nothing else would ever close the flow.
            self.close_flow(slot, End::of(How::Failed), cx);
        } else {
            self.start_stream(slot, cx);
        }
    }

    /// Returns the slot of a source's only stream, until the stream has ended.
    pub(crate) fn source_slot(&self) -> Option<usize> {
        self.flows.iter().position(Option::is_some)
    }

    /// Closes a flow whose stream has ended, once none of its packets is held. Returns whether anything was done.
    pub(crate) fn end_flow(&mut self, slot: usize, cx: &mut LaneContext) -> bool {
        let Some(flow) = &mut self.flows[slot] else {
            return false;
        };
        if flow.held > 0 {
            return self.tell_of_the_ending(slot, cx);
        }
        let mut end = flow.end(&cx.edges);
        let mut failure = None;
        match &mut self.role {
            Role::Absent { .. } => return false,
            Role::Actor(actor) => {
                let ended = || guard(|| actor.stream_ended(&flow.stream, end));
                failure = self.parts.watch.calling(cx.now_ns, ended).err();
            }
            Role::Pool(pool) => {
                let untold = flow
                    .untold
                    .get_or_insert_with(|| pool.end_stream(&flow.stream, end));
                if *untold > 0 {
                    return false;
                }
            }
            Role::Retired(_) => end = end.and(End::of(How::Failed)),
            Role::Source(_) | Role::Leaving(_) | Role::Finished => {}
        }
        match failure {
            Some(error) => {
                end = end.and(End::of(How::Failed));
                self.give_up(&error, cx);
            }
            // An actor that was told of the end has saved its data; at a retired node no actor was told.
            None if matches!(self.role, Role::Actor(_) | Role::Pool(_)) => {
                flow.books.flush_below(u64::MAX);
            }
            None => {}
        }
        self.close_flow(slot, end, cx);
        true
    }

    /// Notifies an actor that keeps calls open, once, that no more packets of a stream will come: it may be holding
    /// packets back until the next one. Returns whether it was notified.
    fn tell_of_the_ending(&mut self, slot: usize, cx: &mut LaneContext) -> bool {
        let batches = self.batches.as_ref();
        // Packets held by a batch are handed over first.
        if self.parts.open_calls == 0 || batches.is_some_and(|batches| batches.holds(slot)) {
            return false;
        }
        let (Some(flow), Role::Actor(actor)) = (&mut self.flows[slot], &mut self.role) else {
            return false;
        };
        if std::mem::replace(&mut flow.is_told_of_its_ending, true) {
            return false;
        }
        let ending = || guard(|| actor.stream_ending(&flow.stream));
        if let Err(error) = self.parts.watch.calling(cx.now_ns, ending) {
            self.give_up(&error, cx);
        }
        true
    }

    /// Ends the stream on the outputs and removes the flow.
    pub(crate) fn close_flow(&mut self, slot: usize, end: End, cx: &mut LaneContext) {
        let Some(flow) = self.flows[slot].take() else {
            return;
        };
        for &id in flow.outputs.iter().flatten() {
            cx.edges.finish(id, end);
            // A ring is removed by its consumer.
            if cx.edges.get(id).arrives_at().is_none() {
                cx.edges.remove(id);
            }
        }
        for &id in &flow.inputs {
            cx.edges.remove(id);
        }
        cx.edges.forget_arrival(self.place, slot);
        self.by_age.retain(|known| *known != slot);
        self.end = self.end.and(end);
        flow.books.end.set(end);
        flow.books.ended.store(true, Ordering::Release);
        flow.books.settle_below(u64::MAX);
        if let Some(mut latency) = self.latencies[slot].take() {
            latency.merge();
        }
        cx.tell(Event::StreamEnded {
            node: self.parts.id,
            stream: flow.stream.id,
            end,
        });
    }

    /// Takes the node out of service for good: the packets that it holds, and those that still reach it, are abandoned,
    /// and its streams flow on.
    pub(crate) fn retire(&mut self, cx: &mut LaneContext) {
        if matches!(
            self.role,
            Role::Retired(_) | Role::Leaving(_) | Role::Finished
        ) {
            return;
        }
        let given_up = self.give_up_held();
        let end = self.end.and(End::of(How::Failed));
        let retired = Role::Retired(None);
        match std::mem::replace(&mut self.role, retired) {
            Role::Actor(mut actor) => {
                let finished = || guard(|| actor.finish(end));
                if let Err(error) = self.parts.watch.calling(cx.now_ns, finished) {
                    let node = &self.parts.watch.name;
                    tracing::warn!(node = %node, "the actor could not finish after it was given up: {error}");
                }
                discard(actor);
            }
            Role::Pool(mut pool) => {
                pool.give_up();
                pool.finish(end);
                self.role = Role::Retired(Some(pool));
            }
            role => self.discard_role(role),
        }
        if self.parts.actor_type.source
            && let Some(slot) = self.source_slot()
        {
            self.close_flow(slot, End::of(How::Failed), cx);
        }
        self.release(&given_up, cx);
        self.settle(&given_up, Fate::Abandoned, cx);
        for slot in 0..self.flows.len() {
            self.look_again(slot, cx);
        }
    }

    /// Removes the packets held by batches and open calls, and returns their receipts.
    fn give_up_held(&mut self) -> Vec<Receipt> {
        let mut given_up: Vec<Receipt> = Vec::new();
        if let Some(window) = &mut self.window {
            given_up.extend(window.give_up());
        }
        if let Some(batches) = &mut self.batches {
            for taken in batches.give_up() {
                given_up.push(taken.receipt);
                discard_each(taken.input.into_payloads());
            }
        }
        given_up
    }

    /// Finishes the instance if nothing can reach it any more. Returns whether anything was done.
    pub(crate) fn finish_if_done(&mut self, cx: &mut LaneContext) -> bool {
        let all_ended = self.flows.iter().all(Option::is_none);
        let no_more = if self.parts.per_stream {
            self.attached
        } else {
            self.closing
        };
        if matches!(self.role, Role::Leaving(_) | Role::Finished) || !all_ended || !no_more {
            return false;
        }
        let end = self.end;
        let mut failure = None;
        match std::mem::replace(&mut self.role, Role::Finished) {
            Role::Actor(mut actor) => {
                let finished = || guard(|| actor.finish(end));
                failure = self.parts.watch.calling(cx.now_ns, finished).err();
                discard(actor);
            }
            Role::Pool(mut pool) => {
                pool.finish(end);
                self.role = Role::Leaving(pool);
                return true;
            }
            Role::Retired(Some(pool)) => {
                self.role = Role::Leaving(pool);
                return true;
            }
            role => self.discard_role(role),
        }
        self.gone(failure.map(|error| error.to_string()), cx);
        true
    }

    /// Gives up everything because the run is being stopped. The actor's `finish` is called, so that it can save its
    /// data.
    pub(crate) fn stop(&mut self, cx: &mut LaneContext) {
        let mut given_up = self.give_up_held();
        for (slot, flow) in self.flows.iter_mut().enumerate() {
            if let Some(flow) = flow {
                given_up.extend(flow.abandon(slot, &mut cx.edges, cx.now_ns));
            }
        }
        for receipt in given_up {
            if let Some(flow) = &self.flows[receipt.slot] {
                flow.settle(receipt.present, Fate::Abandoned);
            }
            cx.observe_settled(&self.parts.watch.name, &receipt, Fate::Abandoned);
        }
        let end = self.end.and(End {
            how: How::Stopped,
            lost: true,
        });
        let mut failure = None;
        match std::mem::replace(&mut self.role, Role::Finished) {
            Role::Actor(mut actor) => {
                let finished = || guard(|| actor.finish(end));
                failure = self.parts.watch.calling(cx.now_ns, finished).err();
                discard(actor);
            }
            Role::Pool(mut pool) => {
                pool.give_up();
                pool.finish(end);
                self.role = Role::Leaving(pool);
                return;
            }
            Role::Retired(Some(pool)) | Role::Leaving(pool) => {
                self.role = Role::Leaving(pool);
                return;
            }
            role => self.discard_role(role),
        }
        self.gone(failure.map(|error| error.to_string()), cx);
    }

    /// Reports that the instance is gone; only its books remain.
    pub(crate) fn gone(&mut self, failure: Option<String>, cx: &mut LaneContext) {
        let watch = &self.parts.watch;
        watch.finished_ns.store(cx.tick().max(1), Ordering::Relaxed);
        watch.blocked.store(false, Ordering::Relaxed);
        watch.absorb(&mut self.recorder);
        cx.tell(Event::NodeFinished {
            node: self.parts.id,
            failure,
        });
    }

    /// Drops the former role of the node; destructors of actors and sources may panic.
    fn discard_role(&self, role: Role) {
        match role {
            Role::Actor(actor) => discard(actor),
            Role::Source(runner) => {
                // A recording is read ahead: its packet in hand was never captured.
                let is_live = runner.known_pacing() == Some(true);
                self.discard_source(runner, is_live);
            }
            Role::Pool(_) | Role::Leaving(_) | Role::Retired(_) => {}
            Role::Absent { .. } | Role::Finished => {}
        }
    }
}
