//! State machine that decides when a live source connects, reads, waits and begins a new segment. Pure: it takes events
//! with their times and returns commands; the source does the opening and reading.

use std::time::Duration;

/// An event of a live source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The engine asks for the next packet.
    Asked,
    /// The connection was established.
    Connected,
    /// The connection delivered a frame.
    Delivered,
    /// The connection could not be opened, or broke.
    Lost,
}

/// A command to a live source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Open a connection, then report `Connected` or `Lost`.
    Connect,
    /// Read a frame, then report `Delivered` or `Lost`.
    Read,
    /// Publish the frame; `new_segment` marks the first one after a reconnect.
    Publish {
        /// See [`fermata_engine::Captured`].
        new_segment: bool,
    },
    /// Do nothing for this long, then ask.
    Wait(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Connected,
    Waiting { until_ns: u64 },
}

/// The state machine. The delay doubles with every loss up to `most`, and starts over once a frame was delivered: a
/// camera that accepts connections but sends nothing is not retried at the first delay each time.
#[derive(Clone, Debug)]
pub(crate) struct Reconnect {
    first: Duration,
    most: Duration,
    state: State,
    next_delay: Duration,
    delivered_before: bool,
    delivered_now: bool,
}

impl Reconnect {
    /// Creates a machine that is not connected yet and may connect at once.
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            state: State::Idle,
            next_delay: first.min(most),
            delivered_before: false,
            delivered_now: false,
        }
    }

    /// Processes an event and returns the next command.
    pub(crate) fn on(&mut self, event: Event, now_ns: u64) -> Command {
        match event {
            Event::Asked => self.asked(now_ns),
            Event::Connected => {
                self.state = State::Connected;
                self.delivered_now = false;
                Command::Read
            }
            Event::Delivered => {
                let new_segment = self.delivered_before && !self.delivered_now;
                self.delivered_before = true;
                self.delivered_now = true;
                self.next_delay = self.first.min(self.most);
                Command::Publish { new_segment }
            }
            Event::Lost => {
                let delay = self.next_delay;
                self.next_delay = delay.saturating_mul(2).min(self.most);
                let delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
                self.state = State::Waiting {
                    until_ns: now_ns.saturating_add(delay_ns),
                };
                Command::Wait(delay)
            }
        }
    }

    fn asked(&self, now_ns: u64) -> Command {
        match self.state {
            State::Connected => Command::Read,
            State::Waiting { until_ns } if now_ns < until_ns => {
                Command::Wait(Duration::from_nanos(until_ns - now_ns))
            }
            State::Idle | State::Waiting { .. } => Command::Connect,
        }
    }

    /// Returns whether any frame was ever delivered.
    pub(crate) fn has_delivered(&self) -> bool {
        self.delivered_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const SECOND_NS: u64 = 1_000_000_000;

    fn machine() -> Reconnect {
        Reconnect::new(SECOND, 5 * SECOND)
    }

    #[test]
    fn the_first_frame_after_a_reconnect_begins_a_segment_and_no_other() {
        let mut machine = machine();
        let mut segments = Vec::new();
        for _ in 0..3 {
            assert_eq!(machine.on(Event::Connected, 0), Command::Read);
            for _ in 0..2 {
                segments.push(machine.on(Event::Delivered, 0));
            }
            machine.on(Event::Lost, 0);
        }
        let began = |new_segment| Command::Publish { new_segment };
        let expected = [false, false, true, false, true, false].map(began);
        assert_eq!(segments, expected);
    }

    #[test]
    fn a_camera_that_was_absent_at_start_begins_no_new_segment() {
        let mut machine = machine();
        machine.on(Event::Lost, 0);
        machine.on(Event::Connected, SECOND_NS);
        let first = machine.on(Event::Delivered, SECOND_NS);
        assert_eq!(first, Command::Publish { new_segment: false });
    }

    #[test]
    fn the_delay_doubles_up_to_the_most_and_starts_over_after_a_frame() {
        let mut machine = machine();
        let lose = |machine: &mut Reconnect| machine.on(Event::Lost, 0);
        let delays = [1, 2, 4, 5, 5].map(|seconds| Command::Wait(seconds * SECOND));
        assert_eq!([(); 5].map(|()| lose(&mut machine)), delays);
        machine.on(Event::Connected, 0);
        assert_eq!(
            lose(&mut machine),
            Command::Wait(5 * SECOND),
            "no frame came"
        );
        machine.on(Event::Connected, 0);
        machine.on(Event::Delivered, 0);
        assert_eq!(lose(&mut machine), Command::Wait(SECOND));
    }

    #[test]
    fn waiting_ends_when_the_delay_is_over() {
        let mut machine = machine();
        assert_eq!(machine.on(Event::Asked, 0), Command::Connect);
        machine.on(Event::Lost, 10);
        assert_eq!(
            machine.on(Event::Asked, SECOND_NS),
            Command::Wait(Duration::from_nanos(10))
        );
        assert_eq!(machine.on(Event::Asked, SECOND_NS + 10), Command::Connect);
    }

    /// Whether each attempt to connect or read succeeds, and how much time passes afterwards.
    fn world() -> impl Strategy<Value = Vec<(bool, u64)>> {
        proptest::collection::vec((any::<bool>(), 0..3 * SECOND_NS), 1..200)
    }

    proptest! {
        /// Whatever fails, attempts are never closer together than the first delay, waits never exceed the maximum, and
        /// each delivering connection after the first begins exactly one new segment.
        #[test]
        fn attempts_keep_their_distance_and_segments_count_reconnects(world in world()) {
            let mut machine = machine();
            let mut now_ns = 0;
            let mut lost_at = None;
            let (mut delivering, mut segments, mut delivered_here) = (0_u32, 0_u32, false);
            for (goes_well, passes_ns) in world {
                match machine.on(Event::Asked, now_ns) {
                    Command::Connect => {
                        if let Some(lost_ns) = lost_at {
                            prop_assert!(now_ns - lost_ns >= SECOND_NS);
                        }
                        delivered_here = false;
                        let event = if goes_well { Event::Connected } else { Event::Lost };
                        machine.on(event, now_ns);
                        lost_at = (!goes_well).then_some(now_ns).or(lost_at);
                    }
                    Command::Read if goes_well => {
                        delivering += u32::from(!delivered_here);
                        delivered_here = true;
                        let Command::Publish { new_segment } = machine.on(Event::Delivered, now_ns) else {
                            return Err(TestCaseError::fail("a frame was not published"));
                        };
                        segments += u32::from(new_segment);
                    }
                    Command::Read => {
                        machine.on(Event::Lost, now_ns);
                        lost_at = Some(now_ns);
                    }
                    Command::Wait(delay) => prop_assert!(delay <= 5 * SECOND && !delay.is_zero()),
                    Command::Publish { .. } => return Err(TestCaseError::fail("nothing to publish")),
                }
                now_ns += passes_ns;
            }
            prop_assert_eq!(segments, delivering.saturating_sub(1));
        }
    }
}
