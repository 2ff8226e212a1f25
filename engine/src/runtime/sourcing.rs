//! The part of a node that is a source: reads, publishes and ends its stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clock::nanoseconds;
use crate::end::{End, How};
use crate::error::ActorError;
use crate::graph::OnError;
use crate::observer::{Event as Observed, PacketId};
use crate::packet::{AnyPayload, Capture, Envelope, Packet};
use crate::runtime::books::count;
use crate::runtime::call::{Failure, attempt, discard, discard_each};
use crate::runtime::context::LaneContext;
use crate::runtime::node::{Node, Role};
use crate::runtime::protocol::Event;
use crate::runtime::queued::END;
use crate::runtime::source_runner::{Ending, SourceRunner};
use crate::source::{Captured, Next};

impl Node {
    /// Advances the source by one step. Returns false if it has to wait for its time or for room, or if its stream has
    /// ended.
    pub(crate) fn step_source(&mut self, cx: &mut LaneContext) -> bool {
        let Some(slot) = self.source_slot() else {
            return false;
        };
        let flow = &self.flows[slot];
        let has_room = flow.as_ref().is_some_and(|flow| flow.has_room(&cx.edges));
        self.is_blocked = !has_room;
        let Role::Source(runner) = &mut self.role else {
            return false;
        };
        let is_live = match runner
            .known_pacing()
            .map_or_else(|| attempt(|| Ok(runner.is_live())), Ok)
        {
            Ok(is_live) => is_live,
            Err(Failure::Panic(message)) => {
                self.panicked(message, cx);
                return true;
            }
            Err(Failure::Error(_)) => false,
        };
        if self.parts.setup.cancelled() && runner.ending.is_none() {
            runner.ending = Some(Ending::as_told(End::of(How::Drained)));
            if !is_live && let Some((captured, _)) = runner.in_hand.take() {
                // It was read before it was due, so it was never captured.
                discard_each(captured.into_payloads());
            }
        }
        let mut stepped = false;
        // A live source continues to read while it is held up, so that the packets it could not hand over are counted.
        // With room, what it has in hand goes first: a read may take until the next picture.
        let may_read = if has_room {
            runner.in_hand.is_none()
        } else {
            runner.may_overwrite()
        };
        if runner.ending.is_none() && runner.ask_again_ns <= cx.now_ns && may_read {
            self.read(slot, cx);
            stepped = true;
        }
        // A stream ends once the packet in hand has been sent; the end itself needs no room.
        stepped | (has_room && self.publish_due(slot, cx)) | self.end_if_empty(cx)
    }

    /// Returns when the source needs its next step. The flag says that it can only read packets that it cannot hand
    /// over.
    pub(crate) fn source_deadline(&self, cx: &LaneContext) -> Option<(u64, bool)> {
        let slot = self.source_slot()?;
        let Role::Source(runner) = &self.role else {
            return None;
        };
        let flow = self.flows[slot].as_ref()?;
        if !flow.has_room(&cx.edges) {
            // The lane is woken when there is room; until then only a live source continues to read.
            let reads_on = runner.reads_on();
            return reads_on.then_some((runner.ask_again_ns, true));
        }
        let due_ns = match &runner.in_hand {
            Some((_, due_ns)) => *due_ns,
            None => runner.ask_again_ns,
        };
        Some((due_ns, false))
    }

    fn read(&mut self, slot: usize, cx: &mut LaneContext) {
        let mode = self.parts.setup.clock_mode;
        let Role::Source(runner) = &mut self.role else {
            return;
        };
        let began_ns = cx.now_ns;
        // The lane is not idle while the read takes.
        self.parts.watch.note_blocked(self.is_blocked);
        self.parts.watch.call_began(0, began_ns);
        let next = attempt(|| runner.next());
        self.parts.watch.call_ended(0);
        let took_ns = cx.tick().saturating_sub(began_ns);
        let service_ns = took_ns.saturating_sub(self.parts.setup.take_waited_ns());
        if self.is_blocked {
            self.recorder.blocked_ns += took_ns - service_ns;
        }
        match next {
            Ok(Next::Packet(captured)) => {
                self.recorder.served(service_ns);
                let due_ns = runner.due_ns(&captured, mode, cx.now_ns);
                self.make_way(slot, cx);
                if let Role::Source(runner) = &mut self.role {
                    runner.in_hand = Some((captured, due_ns));
                }
                return;
            }
            Ok(Next::Wait(time)) => {
                runner.ask_again_ns = cx.now_ns.saturating_add(nanoseconds(time));
            }
            Ok(Next::Mark(next)) => match marks_past_the_end(next) {
                Some(message) => self.break_off(message),
                None => {
                    runner.mark = runner.mark.max(next);
                    self.mark(slot, cx);
                }
            },
            Ok(Next::End) => runner.ending = Some(Ending::as_told(End::of(How::Complete))),
            Ok(Next::EndedAs(end)) => runner.ending = Some(Ending::as_told(end)),
            Err(Failure::Error(error)) => self.fail(&error, cx),
            Err(Failure::Panic(message)) => self.panicked(message, cx),
        }
        self.recorder.busy_ns += service_ns;
    }

    /// Hands over the packet in hand of a live source that was read while there was no room for it, or counts it as
    /// missed if there still is none.
    fn make_way(&mut self, slot: usize, cx: &mut LaneContext) {
        let flow = &self.flows[slot];
        if flow.as_ref().is_some_and(|flow| flow.has_room(&cx.edges)) && self.publish_due(slot, cx)
        {
            return;
        }
        if let Role::Source(runner) = &mut self.role
            && let Some((overwritten, _)) = runner.in_hand.take()
        {
            self.parts.setup.count_missed(1);
            discard_each(overwritten.into_payloads());
            self.mark(slot, cx);
        }
    }

    /// Applies the source's mark to the outputs, once no packet is in hand that precedes it.
    fn mark(&mut self, slot: usize, cx: &mut LaneContext) {
        let memory = &mut self.source_memory;
        if let Role::Source(runner) = &mut self.role
            && runner.in_hand.is_none()
            && runner.mark > memory.next_sequence
            && let Some(flow) = &mut self.flows[slot]
        {
            memory.next_sequence = runner.mark;
            flow.position = runner.mark;
            flow.mark_outputs(&mut cx.edges);
        }
    }

    /// Ends the stream because the source broke the contract.
    fn break_off(&mut self, message: String) {
        if let Role::Source(runner) = &mut self.role {
            runner.ending = Some(Ending {
                end: End::of(How::Failed),
                failure: Some(message),
            });
        }
    }

    /// Drops a source that panicked and requests a new one.
    fn panicked(&mut self, message: String, cx: &mut LaneContext) {
        self.drop_source();
        cx.tell(Event::Panicked {
            node: self.parts.id,
            replica: 0,
            message,
        });
    }

    /// Handles an error of the source: ends its stream, or requests a new source if the graph says so.
    fn fail(&mut self, error: &ActorError, cx: &mut LaneContext) {
        let message = error.to_string();
        if self.parts.on_error == OnError::Restart {
            self.drop_source();
            cx.tell(Event::WantsRestart {
                node: self.parts.id,
                replica: 0,
                message,
            });
        } else if let Role::Source(runner) = &mut self.role {
            runner.ending = Some(Ending {
                end: End::of(How::Failed),
                failure: Some(message),
            });
        }
    }

    /// Drops a source that will be rebuilt. Its packet in hand counts as missed.
    fn drop_source(&mut self) {
        let absent = Role::Absent { create_at_ns: None };
        if let Role::Source(runner) = std::mem::replace(&mut self.role, absent) {
            self.discard_source(runner, true);
        }
        self.source_memory.was_restarted = true;
    }

    /// Drops a source and its packet in hand, which counts as missed if `counts`.
    pub(crate) fn discard_source(&self, mut runner: SourceRunner, counts: bool) {
        if let Some((captured, _)) = runner.in_hand.take() {
            self.parts.setup.count_missed(u64::from(counts));
            discard_each(captured.into_payloads());
        }
        discard(runner);
    }

    /// Publishes the packet in hand if it is due.
    fn publish_due(&mut self, slot: usize, cx: &mut LaneContext) -> bool {
        if let Role::Source(runner) = &mut self.role
            && let Some((captured, due_ns)) =
                runner.in_hand.take_if(|(_, due_ns)| *due_ns <= cx.now_ns)
        {
            match self.publish_captured(slot, captured, due_ns, cx) {
                Ok(()) => self.mark(slot, cx),
                Err(message) => self.break_off(message),
            }
            return true;
        }
        false
    }

    /// Numbers a captured packet and sends it. The capture time is the time at which it was due (the time stamp of a
    /// recording, the time of reading for a live source), so that latencies include waiting for room.
    ///
    /// # Errors
    /// The source broke the contract; nothing was sent.
    fn publish_captured(
        &mut self,
        slot: usize,
        captured: Captured,
        captured_ns: u64,
        cx: &mut LaneContext,
    ) -> Result<(), String> {
        let Some(flow) = &mut self.flows[slot] else {
            return Ok(());
        };
        let outputs = self.parts.outputs;
        let memory = &mut self.source_memory;
        let refused = wrong_outputs(&captured.others, outputs)
            .or_else(|| wrong_number(&captured, memory.next_sequence));
        if let Some(message) = refused {
            discard_each(captured.into_payloads());
            return Err(message);
        }
        if captured.new_segment || std::mem::take(&mut memory.was_restarted) {
            memory.segment += 1;
        }
        let captured_ns = captured_ns.saturating_sub(captured.ago_ns);
        let mut sequence = memory.next_sequence;
        if let Some(number) = captured.number {
            (sequence, memory.segment) = number;
        }
        memory.next_sequence = sequence + 1;
        count(&flow.books.captured, 1);
        if flow.books.captured.load(Ordering::Relaxed) == 1 {
            let first = &self.parts.watch.first_capture_ns;
            first.fetch_min(cx.now_ns, Ordering::Relaxed);
        }
        let envelope = Envelope::from(Capture {
            stream: Arc::clone(&flow.stream),
            segment: memory.segment,
            sequence,
            pts_ns: captured.pts_ns,
            captured_ns,
        });
        let name = &self.parts.watch.name;
        cx.observe(name, || Observed::Captured(PacketId::of(&envelope)));
        let mut sent = 0u64;
        let first = captured.first.map(|payload| (0, payload));
        let payloads = first.into_iter().chain(captured.others);
        for (output, payload) in payloads.filter(|(output, _)| *output < outputs) {
            sent |= 1 << output;
            let bytes = self.parts.size_of(&payload);
            let packet = Packet {
                envelope: envelope.clone(),
                payload,
            };
            cx.observe(name, || Observed::Sent {
                output,
                packet: &packet,
            });
            flow.publish(output, packet, bytes, &mut cx.edges, cx.now_ns);
        }
        flow.filter_others(sent, sequence, &mut cx.edges);
        flow.published(sequence);
        Ok(())
    }

    /// Ends the stream if the source has ended and no packet is in hand.
    fn end_if_empty(&mut self, cx: &mut LaneContext) -> bool {
        if let Role::Source(runner) = &mut self.role
            && runner.in_hand.is_none()
            && let Some(ending) = runner.ending.take()
        {
            self.end_source(ending.end, ending.failure, cx);
            return true;
        }
        false
    }

    /// Ends the stream of the source and reports it.
    pub(crate) fn end_source(&mut self, end: End, failure: Option<String>, cx: &mut LaneContext) {
        if let Some(slot) = self.source_slot() {
            self.close_flow(slot, end, cx);
        }
        cx.tell(Event::SourceEnded {
            node: self.parts.id,
            failure,
        });
    }
}

/// Returns what is wrong with the number that a source gave a packet.
fn wrong_number(captured: &Captured, least: u64) -> Option<String> {
    let (given, _) = captured.number?;
    if given < least {
        return Some(format!(
            "the source numbered a packet {given}, but its number must be at least {least}"
        ));
    }
    marks_past_the_end(given.saturating_add(1))
}

/// Returns what is wrong with a mark that leaves no number for the end of the stream.
fn marks_past_the_end(next: u64) -> Option<String> {
    (next == END).then(|| format!("the source numbers beyond {}, the largest number", END - 2))
}

/// Returns what is wrong with the outputs, besides the first, that a source gave payloads for.
fn wrong_outputs(others: &[(usize, AnyPayload)], outputs: usize) -> Option<String> {
    let mut seen = 0u64;
    for (output, _) in others {
        if *output >= outputs || seen & (1 << output) != 0 {
            return Some(format!(
                "the source gave a payload for output {output}, which does not exist or has one already; it declares {outputs} output(s)"
            ));
        }
        seen |= 1 << output;
    }
    None
}
