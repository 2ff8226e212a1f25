//! The path of a packet through a node.
//!
//! 1. **Wait.** The packet waits in the store of an edge (`edge`): a channel if its producer is in another lane, a ring
//!    if it is in this one. The lane (`lane`) polls its nodes in turn, a node (`turns`) polls its streams in turn.
//! 2. **Take** ([`Node::take`]). A node takes from a stream only if every edge that it feeds for that stream has room;
//!    marks and ends need none. At a join, [`Flow::take`] waits until every input either has the sequence or is known
//!    to lack it. If there is no room the packet stays where it is: the queue fills, its producer finds no room either,
//!    and so on up to the source. When room appears, the waiting lane is woken.
//! 3. **Hold.** With `batch:` it is held until the batch is full, has waited long enough, or can receive nothing more.
//! 4. **Call** ([`Node::begin`]). The actor is called, or a replica receives the call, or the actor keeps a ticket and
//!    finishes the call later. A call that does not finish at once is kept in the node's `window`, which returns calls
//!    in order.
//! 5. **Settle** ([`Node::conclude`]). If the call returned `Ok`, its output is sent and its packets count as
//!    processed. If it failed, they count as failed and nothing is sent. If it panicked, they count as failed, the
//!    actor is dropped, and the control plane is asked for a new one; packets waiting for the node stay where they are.
//! 6. **Send** ([`Flow::publish`]). The packets go to every edge of the output without waiting: everything in hand is
//!    published whole. An output that gets nothing gets a mark, so that downstream joins know.
//!
//! `node` holds the state of a node, `life` its creation and end, `sourcing` where streams come from.

use std::collections::HashMap;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::ActorError;
use crate::graph::OnError;
use crate::observer::{Event as Observed, Fate, PacketId};
use crate::outputs::{Desk, Emitted};
use crate::runtime::arranging::{arrange, is_of};
use crate::runtime::batch::FlushReason;
use crate::runtime::call::{Outcome, Work, call, discard, discard_each, guard};
use crate::runtime::context::LaneContext;
use crate::runtime::flow::{Flow, Found, Receipt, Taken};
use crate::runtime::node::{Node, Role};
use crate::runtime::protocol::Event;
use crate::runtime::queued::END;
use crate::runtime::window::Answer;

/// The result of polling a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Something was taken or settled; there may be more.
    Progressed,
    /// There is a packet, but no room for its output.
    NoRoom,
    /// There is nothing to take.
    Nothing,
    /// The stream has been taken completely; it can be closed once none of its packets is held.
    Ended,
}

impl Node {
    /// Takes the next packet of a stream, if there is one and there is room for its output, and handles it.
    #[inline]
    pub(crate) fn take(&mut self, slot: usize, cx: &mut LaneContext) -> Look {
        let Some(flow) = &mut self.flows[slot] else {
            return Look::Nothing;
        };
        let refuses = flow.is_finished() || matches!(self.role, Role::Retired(_));
        let found = flow.take(slot, !refuses, &mut cx.edges, cx.now_ns);
        if let Found::Input(taken) = found {
            self.is_blocked = false;
            // It may have arrived since the lane last read the clock.
            cx.now_ns = cx.now_ns.max(taken.queued_ns);
            if taken.is_last {
                cx.edges.forget_arrival(self.place, slot);
            }
            self.note_taken(&taken, cx);
            if refuses || taken.is_broken {
                self.refuse_taken(taken, cx);
            } else if self.batches.is_some() {
                self.weigh(taken, cx);
            } else {
                self.begin(from_ref(&taken.receipt), Work::Single(taken.input), cx);
            }
            return Look::Progressed;
        }
        if let Found::Unmatched(receipt) = &found {
            flow.settle(receipt.present, Fate::Unmatched);
            cx.observe_settled(&self.parts.watch.name, receipt, Fate::Unmatched);
        }
        flow.mark_outputs(&mut cx.edges);
        match found {
            Found::Input(_) | Found::Unmatched(_) | Found::Dropped => Look::Progressed,
            Found::NoRoom => {
                self.is_blocked = true;
                Look::NoRoom
            }
            Found::Nothing => Look::Nothing,
            Found::Ended => Look::Ended,
        }
    }

    /// Notifies the observer and records how long the packet has waited.
    #[inline]
    fn note_taken(&mut self, taken: &Taken, cx: &mut LaneContext) {
        debug_assert!(cx.now_ns >= taken.queued_ns, "`take` has moved the clock");
        cx.observe(&self.parts.watch.name, || Observed::Taken {
            packet: taken.receipt.packet,
            queued_ns: taken.queued_ns,
        });
        self.recorder.queue_waited(cx.now_ns - taken.queued_ns);
    }

    /// Determines the weight of a packet and holds it for a batch. Not inlined: otherwise every packet would be copied
    /// on its way to the call.
    #[inline(never)]
    fn weigh(&mut self, taken: Taken, cx: &mut LaneContext) {
        match guard(|| Ok(taken.input.weight())) {
            Ok(weight) => self.hold(taken, weight, cx),
            Err(error) => {
                let error = format!("a payload failed when asked for its weight: {error}").into();
                self.refuse(taken, Fate::Failed, Some(error), cx);
            }
        }
    }

    /// Settles a packet that does not reach the actor: the actor has ended the stream, the node is retired, or the
    /// payload is broken.
    #[cold]
    fn refuse_taken(&mut self, taken: Taken, cx: &mut LaneContext) {
        let flow = &self.flows[taken.receipt.slot];
        if flow.as_ref().is_some_and(|flow| flow.is_finished()) {
            return self.refuse(taken, Fate::Finished, None, cx);
        }
        if matches!(self.role, Role::Retired(_)) {
            return self.refuse(taken, Fate::Abandoned, None, cx);
        }
        let error = "a payload panicked when asked for its size".into();
        self.refuse(taken, Fate::Failed, Some(error), cx);
    }

    /// Settles a packet that was taken but is not handled. If earlier packets of its stream are held, its mark has to
    /// wait.
    #[cold]
    pub(crate) fn refuse(
        &mut self,
        taken: Taken,
        fate: Fate,
        error: Option<ActorError>,
        cx: &mut LaneContext,
    ) {
        let receipt = taken.receipt;
        discard_each(taken.input.into_payloads());
        if let Some(error) = error {
            self.log_failure(&[receipt], &error);
        }
        if let Some(flow) = &mut self.flows[receipt.slot] {
            flow.settle(receipt.present, fate);
            flow.mark_outputs(&mut cx.edges);
        }
        cx.observe_settled(&self.parts.watch.name, &receipt, fate);
    }

    fn hold(&mut self, taken: Taken, weight: usize, cx: &mut LaneContext) {
        let receipt = taken.receipt;
        let (Some(batches), Some(flow)) = (&mut self.batches, &mut self.flows[receipt.slot]) else {
            return;
        };
        let is_first = if self.parts.strict {
            batches.are_empty()
        } else {
            flow.held == 0
        };
        if weight == 0 && is_first {
            // There is no earlier packet that it could overtake.
            return self.begin(&[receipt], Work::Single(taken.input), cx);
        }
        flow.held += 1;
        if batches.must_flush_before(receipt.slot, weight) {
            self.flush(receipt.slot, FlushReason::Full, cx);
        }
        let flow = &self.flows[receipt.slot];
        if flow.as_ref().is_some_and(|flow| flow.is_finished()) {
            // The preceding call has ended the stream.
            self.release(&[receipt], cx);
            return self.refuse(taken, Fate::Finished, None, cx);
        }
        if let Some(batches) = &mut self.batches {
            batches.hold(taken, weight, cx.now_ns);
            // A node that has lost its actor, or has no room for another call, flushes when it can.
            if batches.is_full(receipt.slot) && self.can_take() {
                self.flush(receipt.slot, FlushReason::Full, cx);
            }
        }
    }

    /// Closes the batch that holds the packets of a slot and begins its call.
    pub(crate) fn flush(&mut self, slot: usize, reason: FlushReason, cx: &mut LaneContext) {
        let Some(batches) = &mut self.batches else {
            return;
        };
        let (held, weight, oldest_ns) = batches.flush(slot);
        self.recorder.record_batch(weight, reason);
        let receipts: Vec<Receipt> = held.iter().map(|taken| taken.receipt).collect();
        cx.observe_packets(&self.parts.watch.name, &receipts, |packets| {
            Observed::Batched {
                packets,
                weight,
                since_ns: oldest_ns,
            }
        });
        self.release(&receipts, cx);
        let work = Work::Batch(held.into_iter().map(|taken| taken.input).collect());
        self.begin(&receipts, work, cx);
        for receipt in &receipts {
            let flow = self.flows[receipt.slot].as_ref();
            if flow.is_some_and(|flow| flow.held > 0 && flow.position == END) {
                // The call is open, and its actor is yet to be told that no more packets will come.
                self.look_again(receipt.slot, cx);
            }
        }
    }

    /// Begins a call and settles it if it is finished when it returns.
    fn begin(&mut self, receipts: &[Receipt], work: Work, cx: &mut LaneContext) {
        let began_ns = cx.now_ns;
        match &mut self.role {
            Role::Pool(pool) => {
                if let Some(window) = &mut self.window {
                    pool.dispatch(window.open(receipts.to_vec(), began_ns), work);
                }
                self.note_open_calls();
                self.keep(receipts);
            }
            Role::Actor(actor) => {
                if let Some(window) = &self.window {
                    let desk: Arc<dyn Desk> = Arc::clone(window.desk()) as _;
                    self.out.desk = Some((desk, window.next_number()));
                }
                self.parts.watch.call_began(0, began_ns);
                let outcome = call(&mut **actor, work, &mut self.out);
                self.parts.watch.call_ended(0);
                let service_ns = cx.tick().saturating_sub(began_ns);
                self.recorder.served(service_ns);
                if let Some(window) = &mut self.window {
                    let is_done = !self.out.is_open || !matches!(outcome, Outcome::Done);
                    // After a panic, the open calls are given up.
                    let is_next = matches!(outcome, Outcome::Panicked(_)) || window.is_empty();
                    if !(is_done && is_next) {
                        // Its output must be published after that of the open calls.
                        let number = window.open(receipts.to_vec(), began_ns);
                        let mut out = std::mem::take(&mut self.out);
                        if is_done {
                            window.note(Answer {
                                number,
                                outcome,
                                out,
                                replica: 0,
                                service_ns: None,
                            });
                        } else {
                            discard_each(out.emitted.drain(..));
                            window.keep(out);
                        }
                        self.note_open_calls();
                        return self.keep(receipts);
                    }
                    window.skip();
                }
                cx.observe_packets(&self.parts.watch.name, receipts, |packets| {
                    Observed::Called {
                        packets,
                        began_ns,
                        replica: 0,
                    }
                });
                self.conclude(receipts, outcome, 0, cx);
            }
            _ => {
                work.discard();
                self.settle(receipts, Fate::Abandoned, cx);
            }
        }
    }

    /// Settles the answered calls of the window whose turn it is. Returns whether there were any.
    pub(crate) fn collect(&mut self, cx: &mut LaneContext) -> bool {
        let Some(window) = &mut self.window else {
            return false;
        };
        while let Some(answer) = window.receive() {
            if let Some(pool) = self.role.pool() {
                let has_panicked = matches!(answer.outcome, Outcome::Panicked(_));
                pool.is_free(answer.replica, has_panicked);
            }
            window.note(answer);
        }
        let mut progressed = false;
        while let Some(window) = &mut self.window
            && let Some(done) = window.next_in_order()
        {
            progressed = true;
            if let Some(service_ns) = done.answer.service_ns {
                self.recorder.served(service_ns);
            }
            self.release(&done.receipts, cx);
            self.out = done.answer.out;
            let replica = done.answer.replica;
            cx.observe_packets(&self.parts.watch.name, &done.receipts, |packets| {
                Observed::Called {
                    packets,
                    began_ns: done.began_ns,
                    replica,
                }
            });
            self.conclude(&done.receipts, done.answer.outcome, replica, cx);
        }
        if progressed {
            cx.tick();
            self.note_open_calls();
        }
        progressed
    }

    /// Settles the packets of a call by its outcome. The output of the call is in `out`, which is empty afterwards.
    #[inline(always)]
    fn conclude(
        &mut self,
        receipts: &[Receipt],
        outcome: Outcome,
        replica: usize,
        cx: &mut LaneContext,
    ) {
        match outcome {
            Outcome::Done => match arrange(receipts, &mut self.out, self.parts.outputs) {
                Ok(()) => self.publish(receipts, replica, cx),
                Err(message) => self.fail_call(receipts, &message.into(), replica, cx),
            },
            Outcome::Failed(error) => self.fail_call(receipts, &error, replica, cx),
            Outcome::Panicked(message) => {
                self.settle(receipts, Fate::Failed, cx);
                self.drop_actor(replica, cx);
                cx.tell(Event::Panicked {
                    node: self.parts.id,
                    replica,
                    message,
                });
            }
        }
        self.clear_out();
    }

    #[cold]
    fn fail_call(
        &mut self,
        receipts: &[Receipt],
        error: &ActorError,
        replica: usize,
        cx: &mut LaneContext,
    ) {
        self.log_failure(receipts, error);
        self.settle(receipts, Fate::Failed, cx);
        self.react(error, replica, cx);
    }

    /// Handles an error as the node's `on_error` says.
    fn react(&mut self, error: &ActorError, replica: usize, cx: &mut LaneContext) {
        let (node, message) = (self.parts.id, error.to_string());
        match self.parts.on_error {
            OnError::Skip => {}
            OnError::Restart => {
                self.drop_actor(replica, cx);
                cx.tell(Event::WantsRestart {
                    node,
                    replica,
                    message,
                });
            }
            OnError::Stop => cx.tell(Event::WantsStop { node, message }),
        }
    }

    /// Sends the output of a call, in the order of its packets.
    #[inline]
    fn publish(&mut self, receipts: &[Receipt], replica: usize, cx: &mut LaneContext) {
        // Reversed, so that each can be popped when its turn comes.
        if self.out.emitted.len() > 1 {
            self.out.emitted.reverse();
        }
        if !self.out.flushed.is_empty() {
            for (stream, below) in self.out.flushed.drain(..) {
                let of_stream = |flow: &&Flow| flow.stream.id == stream;
                if let Some(flow) = self.flows.iter().flatten().find(of_stream) {
                    flow.books.flush_below(below);
                }
            }
        }
        if self.out.failed.is_empty() {
            for receipt in receipts {
                self.publish_one(receipt, cx);
            }
        } else {
            self.publish_all_but_failed(receipts, replica, cx);
        }
        if !self.out.ended.is_empty() {
            // After the packets that it has handled, since the mark passes over all later ones.
            for stream in std::mem::take(&mut self.out.ended) {
                self.end_early(stream, cx);
            }
        }
    }

    /// Sends the output of a call for those of its packets that did not fail individually.
    #[cold]
    fn publish_all_but_failed(
        &mut self,
        receipts: &[Receipt],
        replica: usize,
        cx: &mut LaneContext,
    ) {
        let failed = self.out.failed.drain(..);
        let failed = failed.map(|(envelope, error)| (PacketId::of(&envelope), error));
        let mut failed: HashMap<PacketId, ActorError> = failed.collect();
        let mut first_error = None;
        for receipt in receipts {
            let Some(error) = failed.remove(&receipt.packet) else {
                self.publish_one(receipt, cx);
                continue;
            };
            while let Some(emitted) = self.next_emitted(receipt) {
                discard(emitted);
            }
            self.log_failure(&[*receipt], &error);
            self.settle(&[*receipt], Fate::Failed, cx);
            first_error.get_or_insert(error);
        }
        if let Some(error) = first_error {
            self.react(&error, replica, cx);
        }
    }

    /// Sends the output for one packet.
    #[inline]
    fn publish_one(&mut self, receipt: &Receipt, cx: &mut LaneContext) {
        let mut sent = 0u64;
        while let Some(emitted) = self.next_emitted(receipt) {
            let Some(flow) = &mut self.flows[receipt.slot] else {
                return;
            };
            sent |= 1 << emitted.output;
            let Emitted { output, packet } = emitted;
            cx.observe(&self.parts.watch.name, || Observed::Sent {
                output,
                packet: &packet,
            });
            let bytes = self.parts.size_of(&packet.payload);
            flow.publish(output, packet, bytes, &mut cx.edges, cx.now_ns);
        }
        let Some(flow) = &mut self.flows[receipt.slot] else {
            return;
        };
        flow.settle(receipt.present, Fate::Processed);
        flow.filter_others(sent, receipt.packet.sequence, &mut cx.edges);
        flow.published(receipt.packet.sequence);
        self.delivered(receipt, cx);
    }

    /// Takes the next emitted packet, if it belongs to this one.
    #[inline]
    fn next_emitted(&mut self, receipt: &Receipt) -> Option<Emitted> {
        let emitted = &mut self.out.emitted;
        emitted.pop_if(|next| is_of(next, receipt))
    }

    /// Reports that a packet has been handled; at a sink, also records its latency from capture.
    #[inline]
    fn delivered(&mut self, receipt: &Receipt, cx: &mut LaneContext) {
        cx.observe_settled(&self.parts.watch.name, receipt, Fate::Processed);
        if self.parts.sink
            && let Some(Some(latency)) = self.latencies.get_mut(receipt.slot)
        {
            latency.record(cx.now_ns.saturating_sub(receipt.captured_ns));
            let last = &self.parts.watch.last_delivery_ns;
            last.store(cx.now_ns, Ordering::Relaxed);
        }
    }

    /// Ends packets here: counts them and marks them on the outputs.
    pub(crate) fn settle(&mut self, receipts: &[Receipt], fate: Fate, cx: &mut LaneContext) {
        for receipt in receipts {
            if let Some(flow) = &mut self.flows[receipt.slot] {
                flow.settle(receipt.present, fate);
                for output in 0..self.parts.outputs {
                    flow.mark_output(output, receipt.packet.sequence + 1, &mut cx.edges);
                }
                flow.published(receipt.packet.sequence);
            }
            cx.observe_settled(&self.parts.watch.name, receipt, fate);
        }
    }
}
