//! Turn-taking: which of its streams a node takes from next, and when it flushes batches and polls its replicas.
//!
//! A node takes from its streams in turn. Under `asap` it serves them by (position, declared order) and waits for the
//! first one, so that its results do not depend on timing.

use crate::runtime::context::LaneContext;
use crate::runtime::node::{Node, Role};
use crate::runtime::protocol::Event;
use crate::runtime::queued::END;
use crate::runtime::way::Look;

impl Node {
    /// Takes one thing that has arrived inside the lane. Returns whether anything was done.
    pub(crate) fn take_arrived(&mut self, cx: &mut LaneContext) -> bool {
        self.is_blocked = false;
        if !self.can_take() {
            return false;
        }
        if self.parts.strict {
            return self.take_arrived_in_turn(cx);
        }
        if self.parts.oldest_first {
            return self.take_from_oldest(true, cx);
        }
        for (from, to) in [(self.turn, usize::MAX), (0, self.turn)] {
            let mut next = cx.edges.next_arrival(self.place, from);
            while let Some(slot) = next.filter(|slot| *slot < to) {
                match self.look(slot, cx) {
                    Look::Progressed => {
                        self.turn = self.behind(slot);
                        return true;
                    }
                    Look::NoRoom => {}
                    Look::Nothing | Look::Ended => cx.edges.forget_arrival(self.place, slot),
                }
                next = cx.edges.next_arrival(self.place, slot + 1);
            }
        }
        false
    }

    /// Returns the slot whose turn it is after this one.
    #[inline]
    fn behind(&self, slot: usize) -> usize {
        let next = slot + 1;
        if next < self.flows.len() { next } else { 0 }
    }

    fn take_arrived_in_turn(&mut self, cx: &mut LaneContext) -> bool {
        let Some(first) = cx.edges.next_arrival(self.place, 0) else {
            return false;
        };
        let look = self.take_in_turn(cx);
        if look == Look::Progressed {
            // It may now be the turn of another stream, at which something arrived earlier.
            cx.edges.note_arrival(self.place, first);
        } else if look == Look::Nothing {
            // The node waits for a packet that has not arrived yet.
            let mut slot = Some(first);
            while let Some(arrived) = slot {
                cx.edges.forget_arrival(self.place, arrived);
                slot = cx.edges.next_arrival(self.place, arrived + 1);
            }
        }
        look == Look::Progressed
    }

    /// Takes one thing from outside the lane: a finished call, a packet from a queue, or a batch that is due. Returns
    /// whether anything was done.
    pub(crate) fn take_from_outside(&mut self, cx: &mut LaneContext) -> bool {
        let collected = self.look_after_replicas(cx) | self.collect(cx);
        if collected || !self.can_take() {
            return collected;
        }
        if self.flush_if_due(cx) {
            return true;
        }
        if !self.is_fed_from_outside {
            return false;
        }
        if self.parts.strict {
            return self.take_in_turn(cx) == Look::Progressed;
        }
        if self.parts.oldest_first {
            return self.take_from_oldest(false, cx);
        }
        for slot in (self.turn..self.flows.len()).chain(0..self.turn) {
            if self.look(slot, cx) == Look::Progressed {
                self.turn = self.behind(slot);
                return true;
            }
        }
        false
    }

    /// Takes from the oldest unit of work that has something; with `arrived_only`, considers only slots at which
    /// something has arrived inside the lane.
    fn take_from_oldest(&mut self, arrived_only: bool, cx: &mut LaneContext) -> bool {
        for index in 0..self.by_age.len() {
            let slot = self.by_age[index];
            if arrived_only && !cx.edges.has_arrived(self.place, slot) {
                continue;
            }
            match self.look(slot, cx) {
                Look::Progressed => return true,
                Look::NoRoom => {}
                Look::Nothing | Look::Ended => cx.edges.forget_arrival(self.place, slot),
            }
        }
        false
    }

    /// Takes from a stream, or closes it if it has ended.
    #[inline]
    fn look(&mut self, slot: usize, cx: &mut LaneContext) -> Look {
        match self.take(slot, cx) {
            Look::Ended if self.end_flow(slot, cx) => Look::Progressed,
            look => look,
        }
    }

    /// Serves the stream with the lowest unsettled sequence, the first declared among equals, and waits for it.
    fn take_in_turn(&mut self, cx: &mut LaneContext) -> Look {
        let lowest = self.lowest(cx);
        for flow in self.flows.iter_mut().flatten() {
            flow.mark_outputs(&mut cx.edges);
        }
        let mut look = Look::Nothing;
        if let Some(slot) = lowest {
            look = self.take(slot, cx);
            if look == Look::Progressed {
                return look;
            }
        }
        for slot in 0..self.flows.len() {
            let flow = &self.flows[slot];
            if flow.as_ref().is_some_and(|flow| flow.position == END) && self.end_flow(slot, cx) {
                return Look::Progressed;
            }
        }
        look
    }

    /// Returns the slot of the stream with the lowest position, the first declared among equals, if its next sequence
    /// has arrived. A sequence that arrives after this poll must not be taken: it may be far beyond that position and
    /// beyond those of other streams.
    fn lowest(&mut self, cx: &mut LaneContext) -> Option<usize> {
        let mut lowest: Option<(u64, usize, bool)> = None;
        for (slot, flow) in self.flows.iter_mut().enumerate() {
            if let Some(flow) = flow {
                let (position, has_come) = flow.settled_position(&mut cx.edges, cx.now_ns);
                if position != END && lowest.is_none_or(|(least, ..)| position < least) {
                    lowest = Some((position, slot, has_come));
                }
            }
        }
        let there = lowest.filter(|(.., has_come)| *has_come);
        there.map(|(_, slot, _)| slot)
    }

    /// Flushes a batch that is full, has waited long enough, or can receive nothing more.
    fn flush_if_due(&mut self, cx: &mut LaneContext) -> bool {
        let Some(batches) = &self.batches else {
            return false;
        };
        let flows = &self.flows;
        let has_ended = |slot: Option<usize>| match slot {
            Some(slot) => flows[slot].as_ref().is_none_or(|flow| flow.position == END),
            None => flows.iter().flatten().all(|flow| flow.position == END),
        };
        match batches.due(cx.now_ns, has_ended) {
            Some((slot, reason)) => {
                self.flush(slot, reason, cx);
                true
            }
            None => false,
        }
    }

    /// Handles the reports of replicas other than answers to calls. Returns whether actors were rebuilt or ends of
    /// streams were handled.
    fn look_after_replicas(&mut self, cx: &mut LaneContext) -> bool {
        let Some(pool) = self.role.pool() else {
            return false;
        };
        let news = pool.look(cx.now_ns);
        self.parts.watch.note_restarts(news.restarts);
        let node = self.parts.id;
        let progressed = news.restarts > 0 || !news.told_ends.is_empty();
        for _ in 0..news.restarts {
            cx.tell(Event::Restarted { node });
        }
        for (replica, message) in news.failed_creations {
            cx.tell(Event::WantsRestart {
                node,
                replica,
                message,
            });
        }
        for message in news.failures {
            match &self.role {
                Role::Leaving(_) => self.finishing_failure = Some(message),
                _ => cx.tell(Event::WantsStop { node, message }),
            }
        }
        for stream in news.told_ends {
            let mut flows = self.flows.iter_mut().flatten();
            if let Some(flow) = flows.find(|flow| flow.stream.id == stream)
                && let Some(untold) = &mut flow.untold
            {
                *untold = untold.saturating_sub(1);
            }
        }
        progressed
    }

    /// Finishes a node once all its replicas have finished.
    pub(crate) fn leave(&mut self, cx: &mut LaneContext) -> bool {
        let progressed = self.look_after_replicas(cx) | self.collect(cx);
        match std::mem::replace(&mut self.role, Role::Finished) {
            Role::Leaving(pool) if pool.has_finished() => {
                pool.join();
                let failure = self.finishing_failure.take();
                self.gone(failure, cx);
                true
            }
            role => {
                self.role = role;
                progressed
            }
        }
    }
}
