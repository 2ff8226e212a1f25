//! Running a source: sequence numbers, segments, pacing by pts, and the one slot of a live source that is held up.

use crate::actor::{ActorError, Captured, Next, Pacing};
use crate::clock::{ClockMode, nanoseconds};
use crate::packet::{Envelope, Packet};
use crate::registry::AnySource;
use crate::runtime::books::count;
use crate::runtime::call::guard;
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
}

impl SourceRunner {
    pub(crate) fn new(source: Box<dyn AnySource>) -> Self {
        Self {
            source,
            origin: None,
            in_hand: None,
            ask_again_ns: 0,
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
    /// Lets the source go one step. False if it has to wait: for its time, or for room.
    pub(crate) fn step_source(&mut self, cx: &mut LaneContext) -> bool {
        let held_up = self
            .flows
            .first()
            .is_some_and(|flow| flow.as_ref().is_none_or(|flow| flow.is_suspended()));
        let Role::Source(runner) = &mut self.role else {
            return false;
        };
        let live = runner.source.pacing() == Pacing::Live;
        if self.parts.setup.cancelled() && !held_up {
            self.end_source(None, cx);
            return true;
        }
        if let Some((_, due_ns)) = runner.in_hand {
            if held_up && !live {
                return false;
            }
            if due_ns > cx.now_ns {
                return false;
            }
            if !held_up && let Some((captured, _)) = runner.in_hand.take() {
                self.publish_captured(captured, cx);
                return true;
            }
        }
        if held_up && (!live || self.parts.setup.cancelled()) {
            return false;
        }
        if runner.ask_again_ns > cx.now_ns {
            return false;
        }
        self.read_source(cx);
        if !held_up
            && let Role::Source(runner) = &mut self.role
            && runner
                .in_hand
                .as_ref()
                .is_some_and(|(_, due)| *due <= cx.now_ns)
            && let Some((captured, _)) = runner.in_hand.take()
        {
            self.publish_captured(captured, cx);
        }
        true
    }

    /// When the source wants to be looked at again.
    pub(crate) fn source_deadline(&self) -> Option<u64> {
        let held_up = self
            .flows
            .first()
            .is_some_and(|flow| flow.as_ref().is_some_and(|flow| flow.is_suspended()));
        match &self.role {
            // Room in the queue wakes the lane.
            Role::Source(_) if held_up => None,
            Role::Source(runner) => match &runner.in_hand {
                Some((_, due_ns)) => Some(*due_ns),
                None => Some(runner.ask_again_ns),
            },
            _ => None,
        }
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
                self.recorder.service_ns.saturating_record(service);
                let due_ns = runner.due_ns(&captured, mode, cx.now_ns);
                if runner.in_hand.replace((captured, due_ns)).is_some() {
                    // Only a live source reads on while its packet has no room.
                    self.parts.setup.count_missed(1);
                }
            }
            Ok(Next::Wait(time)) => {
                runner.ask_again_ns = cx.now_ns.saturating_add(nanoseconds(time));
            }
            Ok(Next::End) => self.end_source(None, cx),
            Err(error) => self.fail_source(error, cx),
        }
    }

    fn fail_source(&mut self, error: ActorError, cx: &mut LaneContext) {
        let message = error.to_string();
        if self.parts.on_error == crate::graph::OnError::Restart {
            self.role = Role::Absent { create_at_ns: None };
            self.source_memory.restarted = true;
            cx.tell(Event::WantsRestart {
                node: self.parts.id,
                replica: 0,
                message,
            });
        } else {
            self.end_source(Some(message), cx);
        }
    }

    fn publish_captured(&mut self, captured: Captured, cx: &mut LaneContext) {
        let Some(Some(flow)) = self.flows.first_mut() else {
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
            envelope: Envelope {
                stream: std::sync::Arc::clone(&flow.stream),
                segment: memory.segment,
                sequence,
                pts_ns: captured.pts_ns,
                captured_ns: cx.now_ns,
            },
            payload: captured.payload,
        };
        if !flow.outlets.is_empty() {
            flow.publish(0, 0, packet, cx.now_ns, &mut cx.work);
        }
        flow.published(sequence);
        cx.suspended |= flow.is_suspended();
    }

    /// Ends the stream. A packet that was read but is not published yet was never captured.
    fn end_source(&mut self, failure: Option<String>, cx: &mut LaneContext) {
        self.close_flow(0, cx);
        cx.tell(Event::SourceEnded {
            node: self.parts.id,
            failure,
        });
    }
}
