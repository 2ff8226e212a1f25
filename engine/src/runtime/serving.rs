//! What a node takes next from its streams, and how it is handed to the actor: alone, in a batch, or to a replica.
//!
//! How calls end is in `settling`.

use std::sync::atomic::Ordering;

use crate::runtime::batch::FlushReason;
use crate::runtime::call::{Work, call};
use crate::runtime::flow::{Fate, Found, HandOver, Taken};
use crate::runtime::held_up::HeldUp;
use crate::runtime::link::{END, HANDED_OVER};
use crate::runtime::node::{LaneContext, Node, Role};
use crate::runtime::protocol::Event;
use crate::runtime::settling::Ticket;

impl Node {
    /// Whether it may take another input now.
    pub(crate) fn can_take(&self) -> bool {
        match &self.role {
            Role::Actor(_) | Role::Retired => true,
            Role::Pool(pool) => pool.has_room(),
            Role::Absent { .. } | Role::Source(_) | Role::Leaving(_) | Role::Finished => false,
        }
    }

    /// Takes and handles the next input from a queue, if there is one. True if anything was done.
    pub(crate) fn poll(&mut self, cx: &mut LaneContext) -> bool {
        let mut progressed = self.collect(cx);
        if !self.can_take() {
            return progressed;
        }
        let slots = self.flows.len();
        if self.parts.strict {
            return self.poll_strictly(cx) || self.flush_if_due(cx) || progressed;
        }
        for step in 0..slots {
            let slot = (self.turn + step) % slots;
            match self.look(slot, cx) {
                Found::Input(taken) => {
                    self.turn = slot + 1;
                    self.handle(taken, cx);
                    return true;
                }
                Found::Unmatched => return true,
                Found::Ended => progressed |= self.end_flow(slot, cx),
                Found::Nothing => {}
            }
        }
        self.flush_if_due(cx) || progressed
    }

    /// Serves the stream whose next unsettled sequence is lowest, the first declared among equals, and waits for it.
    pub(super) fn poll_strictly(&mut self, cx: &mut LaneContext) -> bool {
        let lowest = self.lowest(cx.now_ns);
        for (slot, flow) in self.flows.iter_mut().enumerate() {
            if let Some(flow) = flow {
                let position = flow.position;
                flow.mark_outputs(slot, position, &mut cx.work);
            }
        }
        let mut progressed = false;
        if let Some((_, slot)) = lowest {
            match self.look(slot, cx) {
                Found::Input(taken) => {
                    self.handle(taken, cx);
                    return true;
                }
                Found::Unmatched => return true,
                Found::Ended | Found::Nothing => {}
            }
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

    /// Looks at a stream's inputs, unless nothing may be taken of it now.
    pub(super) fn look(&mut self, slot: usize, cx: &mut LaneContext) -> Found {
        if self.is_blocked(slot, &cx.held_up) {
            return Found::Nothing;
        }
        self.look_anyway(slot, cx)
    }

    /// Whether nothing may be taken of a stream because what it leads to is held up.
    pub(super) fn is_blocked(&self, slot: usize, held_up: &HeldUp) -> bool {
        let has = |slot: usize| self.flows.get(slot).is_some_and(Option::is_some);
        held_up.blocks(self.place, slot, has)
    }

    /// The flows of a node that serves strictly in turn whose hand-overs are not in turn, and the slot of what is.
    pub(crate) fn note_out_of_turn(&mut self, cx: &mut LaneContext) {
        let Some((_, in_turn)) = self.lowest(cx.now_ns) else {
            return;
        };
        for (slot, flow) in self.flows.iter_mut().enumerate() {
            if slot != in_turn
                && flow
                    .as_mut()
                    .is_some_and(|flow| flow.awaits_its_turn(cx.now_ns))
            {
                cx.held_up.out_of_turn.push(((self.place, slot), in_turn));
            }
        }
    }

    /// The lowest position of a stream here and its slot, the first declared among equals.
    fn lowest(&mut self, now_ns: u64) -> Option<(u64, usize)> {
        let mut lowest: Option<(u64, usize)> = None;
        for (slot, flow) in self.flows.iter_mut().enumerate() {
            if let Some(flow) = flow {
                let position = flow.settled_position(now_ns);
                if position != END && lowest.is_none_or(|(least, _)| position < least) {
                    lowest = Some((position, slot));
                }
            }
        }
        lowest
    }

    /// Looks at a stream's inputs also if what it leads to is held up: for what is inside the lane already.
    fn look_anyway(&mut self, slot: usize, cx: &mut LaneContext) -> Found {
        match &mut self.flows[slot] {
            Some(flow) if !flow.is_suspended() => {
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
    fn work_off(&mut self, slot: usize, cx: &mut LaneContext) {
        loop {
            match self.look_anyway(slot, cx) {
                Found::Input(taken) => self.handle(taken, cx),
                Found::Unmatched => {}
                Found::Ended => {
                    self.end_flow(slot, cx);
                    return;
                }
                Found::Nothing => return,
            }
        }
    }

    /// Takes and handles what another node of the lane has handed over.
    pub(crate) fn accept(&mut self, hand_over: HandOver, cx: &mut LaneContext) {
        let HandOver {
            slot, port, item, ..
        } = hand_over;
        let Some(flow) = &mut self.flows[slot] else {
            return;
        };
        if self.parts.strict {
            flow.accept(port, item);
            // It may not be this stream's turn: then the packet waits with its flow.
            while self.poll_strictly(cx) {}
            return;
        }
        match flow.pass(slot, port, item) {
            Some(taken) => self.handle(taken, cx),
            None => self.work_off(slot, cx),
        }
    }

    /// Whether all it ever has to do comes by hand-over, so that there is nothing to look for.
    pub(crate) fn is_fed_by_hand(&self) -> bool {
        !self.is_polled && self.batch.is_none() && !self.parts.strict
    }

    /// Whether a hand-over to this node can be handled now.
    pub(crate) fn can_work_off(&self, slot: usize) -> bool {
        self.can_take()
            && self.flows[slot]
                .as_ref()
                .is_none_or(|flow| !flow.is_suspended())
    }

    pub(super) fn handle(&mut self, taken: Taken, cx: &mut LaneContext) {
        if matches!(self.role, Role::Retired) {
            self.settle_all(&[Ticket::of(&taken)], Fate::Abandoned, cx);
            return;
        }
        if taken.queued_ns != HANDED_OVER {
            let waited = cx.now_ns.saturating_sub(taken.queued_ns);
            self.recorder.queue_wait_ns.record(waited);
        }
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

    pub(super) fn run_single(&mut self, taken: Taken, cx: &mut LaneContext) {
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

    pub(super) fn flush_batch(&mut self, reason: FlushReason, cx: &mut LaneContext) {
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
    pub(super) fn flush_if_due(&mut self, cx: &mut LaneContext) -> bool {
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

    pub(super) fn release(&mut self, tickets: &[Ticket]) {
        for ticket in tickets {
            if let Some(flow) = &mut self.flows[ticket.slot] {
                flow.held -= 1;
            }
        }
    }

    pub(super) fn run(&mut self, tickets: &[Ticket], work: Work, cx: &mut LaneContext) {
        let Role::Actor(actor) = &mut self.role else {
            // Retired between holding and flushing.
            self.settle_all(tickets, Fate::Abandoned, cx);
            return;
        };
        let started = cx.now_ns;
        self.parts.watch.call_began(0, started);
        let outcome = call(&mut **actor, work, &mut self.out);
        self.parts.watch.call_ended(0);
        let service = cx.tick().saturating_sub(started);
        self.recorder.service_ns.record(service);
        self.recorder.busy_ns += service;
        self.conclude(tickets, outcome, 0, cx);
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
            && let Some(done) = pool.next_in_order()
        {
            progressed = true;
            self.recorder.service_ns.record(done.service_ns);
            self.recorder.busy_ns += done.service_ns;
            self.release(&done.tickets);
            self.out = done.out;
            self.conclude(&done.tickets, done.outcome, done.replica, cx);
        }
        if progressed {
            cx.tick();
        }
        progressed
    }
}
