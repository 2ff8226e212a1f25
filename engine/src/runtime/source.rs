//! Running a source: sequence numbers, segments, pacing by pts, and the one slot of a live source that is held up.

use crate::actor::{ActorError, Captured, Next, Pacing};
use crate::clock::{ClockMode, nanoseconds};
use crate::packet::{Capture, Envelope, Packet};
use crate::registry::AnySource;
use crate::runtime::books::count;
use crate::runtime::call::guard;
use crate::runtime::flow::Flow;
use crate::runtime::held_up::HeldUp;
use crate::runtime::node::{LaneContext, Node, Role};
use crate::runtime::protocol::Event;

/// What must survive a restart of the source: the stream's numbering never starts again.
#[derive(Default)]
pub(crate) struct SourceMemory {
    next_sequence: u64,
    segment: u32,
    restarted: bool,
}

/// A source and what it has in hand.
pub(crate) struct SourceRunner {
    source: Box<dyn AnySource>,
    /// Clock time and pts of the segment's first packet.
    origin: Option<(u64, i64)>,
    /// Read, but not due yet; or, of a live source, read while the graph has no room.
    in_hand: Option<(Captured, u64)>,
    ask_again_ns: u64,
    /// Nothing more will be read, and why if it broke; the stream ends once what is in hand has gone.
    ending: Option<Option<String>>,
}

impl SourceRunner {
    pub(crate) fn new(source: Box<dyn AnySource>) -> Self {
        Self {
            source,
            origin: None,
            in_hand: None,
            ask_again_ns: 0,
            ending: None,
        }
    }

    /// Clock time at which a packet is due: its distance from the segment's first packet, at the clock's speed.
    fn due_ns(&mut self, captured: &Captured, mode: ClockMode, now_ns: u64) -> u64 {
        let speed = match mode {
            ClockMode::Asap => return now_ns,
            ClockMode::Live => 1.0,
            ClockMode::Replay(speed) => speed,
        };
        if self.source.pacing() == Pacing::Live {
            return now_ns;
        }
        if captured.new_segment {
            self.origin = None;
        }
        let (start_ns, first_pts) = *self.origin.get_or_insert((now_ns, captured.pts_ns));
        let distance = captured.pts_ns.saturating_sub(first_pts).max(0);
        start_ns.saturating_add((distance as f64 / speed) as u64)
    }
}

impl Node {
    /// Lets the source go one step. False if it has to wait: for its time, or for room; or if its stream has ended.
    pub(crate) fn step_source(&mut self, cx: &mut LaneContext) -> bool {
        let Some(slot) = self.source_slot() else {
            return false;
        };
        let held_up = self.is_held_up(slot, &cx.held_up);
        let Role::Source(runner) = &mut self.role else {
            return false;
        };
        let live = runner.source.pacing() == Pacing::Live;
        if self.parts.setup.cancelled() && runner.ending.is_none() {
            runner.ending = Some(None);
            if !live {
                // Read ahead of its time: it was never captured.
                runner.in_hand = None;
            }
        }
        let mut stepped = false;
        // A live source reads on while it is held up, so that what it could not hand over is counted.
        let has_time = runner.ask_again_ns <= cx.now_ns;
        if runner.ending.is_none() && has_time && (live || (!held_up && runner.in_hand.is_none())) {
            self.read_source(cx);
            stepped = true;
        }
        // What is published may have to wait for room, so the end is a step of its own.
        if !held_up {
            stepped |= self.publish_due(cx) || self.end_if_empty(cx);
        }
        stepped
    }

    /// Publishes the packet in hand if its time has come.
    fn publish_due(&mut self, cx: &mut LaneContext) -> bool {
        if let Role::Source(runner) = &mut self.role
            && runner
                .in_hand
                .as_ref()
                .is_some_and(|(_, due_ns)| *due_ns <= cx.now_ns)
            && let Some((captured, _)) = runner.in_hand.take()
        {
            self.publish_captured(captured, cx);
            return true;
        }
        false
    }

    /// Ends the stream if the source has come to its end and nothing is in hand any more.
    fn end_if_empty(&mut self, cx: &mut LaneContext) -> bool {
        if let Role::Source(runner) = &mut self.role
            && runner.in_hand.is_none()
            && let Some(failure) = runner.ending.take()
        {
            self.end_source(failure, cx);
            return true;
        }
        false
    }

    /// Whether it is a source that could go on if there were room.
    pub(crate) fn is_source_held_up(&self, held_up: &HeldUp) -> Option<bool> {
        let slot = self.source_slot()?;
        matches!(self.role, Role::Source(_)).then(|| self.is_held_up(slot, held_up))
    }

    fn is_held_up(&self, slot: usize, held_up: &HeldUp) -> bool {
        let suspended = self.flows[slot].as_ref().is_some_and(Flow::is_suspended);
        suspended || self.is_blocked(slot, held_up)
    }

    /// When the source wants to be looked at again.
    pub(crate) fn source_deadline(&self, held_up: &HeldUp) -> Option<u64> {
        let slot = self.source_slot()?;
        let Role::Source(runner) = &self.role else {
            return None;
        };
        if self.is_held_up(slot, held_up) {
            // Room wakes the lane; only a live source goes on reading until then.
            let reads_on = runner.source.pacing() == Pacing::Live && runner.ending.is_none();
            return reads_on.then_some(runner.ask_again_ns);
        }
        Some(match &runner.in_hand {
            Some((_, due_ns)) => *due_ns,
            None => runner.ask_again_ns,
        })
    }

    fn read_source(&mut self, cx: &mut LaneContext) {
        let mode = self.parts.setup.clock_mode;
        let Role::Source(runner) = &mut self.role else {
            return;
        };
        let started = cx.now_ns;
        self.parts.watch.call_began(0, started);
        let next = guard(|| runner.source.next());
        self.parts.watch.call_ended(0);
        let service = cx.tick().saturating_sub(started);
        self.recorder.busy_ns += service;
        match next {
            Ok(Next::Packet(captured)) => {
                self.recorder.service_ns.record(service);
                let due_ns = runner.due_ns(&captured, mode, cx.now_ns);
                if runner.in_hand.replace((captured, due_ns)).is_some() {
                    // Only a live source reads on while its packet has no room.
                    self.parts.setup.count_missed(1);
                }
            }
            Ok(Next::Wait(time)) => {
                runner.ask_again_ns = cx.now_ns.saturating_add(nanoseconds(time));
            }
            Ok(Next::End) => runner.ending = Some(None),
            Err(error) => self.fail_source(error, cx),
        }
    }

    fn fail_source(&mut self, error: ActorError, cx: &mut LaneContext) {
        let message = error.to_string();
        let Role::Source(runner) = &mut self.role else {
            return;
        };
        if self.parts.on_error == crate::graph::OnError::Restart {
            if runner.in_hand.is_some() {
                self.parts.setup.count_missed(1);
            }
            self.role = Role::Absent { create_at_ns: None };
            self.source_memory.restarted = true;
            cx.tell(Event::WantsRestart {
                node: self.parts.id,
                replica: 0,
                message,
            });
        } else {
            runner.ending = Some(Some(message));
        }
    }

    fn publish_captured(&mut self, captured: Captured, cx: &mut LaneContext) {
        let Some(slot) = self.source_slot() else {
            return;
        };
        let Some(flow) = &mut self.flows[slot] else {
            return;
        };
        let memory = &mut self.source_memory;
        if captured.new_segment || memory.restarted {
            memory.segment += 1;
            memory.restarted = false;
        }
        let sequence = memory.next_sequence;
        memory.next_sequence += 1;
        count(&flow.books.captured, 1);
        if sequence == 0 {
            let first = &self.parts.watch.first_capture_ns;
            first.fetch_min(cx.now_ns, std::sync::atomic::Ordering::Relaxed);
        }
        let packet = Packet {
            envelope: Envelope::from(Capture {
                stream: std::sync::Arc::clone(&flow.stream),
                segment: memory.segment,
                sequence,
                pts_ns: captured.pts_ns,
                captured_ns: cx.now_ns,
            }),
            payload: captured.payload,
        };
        if !flow.outlets.is_empty() {
            flow.publish(slot, 0, packet, cx.now_ns, &mut cx.work);
        }
        flow.published(sequence);
        cx.suspended |= flow.is_suspended();
    }

    /// Ends the stream; nothing of it may wait for room.
    fn end_source(&mut self, failure: Option<String>, cx: &mut LaneContext) {
        if let Some(slot) = self.source_slot() {
            self.close_flow(slot, cx);
        }
        cx.tell(Event::SourceEnded {
            node: self.parts.id,
            failure,
        });
    }
}
