//! How time passes in a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The clock mode, `run.clock` in a graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClockMode {
    /// Wall time; recordings are paced by their pts.
    Live,
    /// Like live, at this multiple of the recording's own speed.
    Replay(f64),
    /// As fast as possible: every edge blocks, nothing ages, results do not depend on timing.
    Asap,
}

/// Monotonic time since the run's start. Clones share one origin.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// The processor's time stamp counter where it can be trusted, otherwise the system's monotonic clock. The engine
    /// reads the time after each call, and the counter costs a third of the system's clock.
    Real {
        clock: quanta::Clock,
        origin: u64,
    },
    Virtual(Arc<AtomicU64>),
}

impl Clock {
    /// Creates a clock that starts now and follows the machine's monotonic clock.
    pub fn real() -> Self {
        let clock = quanta::Clock::new();
        let origin = clock.raw();
        Self(Kind::Real { clock, origin })
    }

    /// Creates a clock that stands still until it is advanced.
    pub fn manual() -> Self {
        Self(Kind::Virtual(Arc::default()))
    }

    /// Returns the nanoseconds since the run's start.
    pub fn now_ns(&self) -> u64 {
        match &self.0 {
            Kind::Real { clock, origin } => clock.delta_as_nanos(*origin, clock.raw()),
            Kind::Virtual(now) => now.load(Ordering::Acquire),
        }
    }

    /// Advances a manual clock; has no effect on a real one.
    pub fn advance(&self, by: Duration) {
        if let Kind::Virtual(now) = &self.0 {
            now.fetch_add(nanoseconds(by), Ordering::AcqRel);
        }
    }

    /// Lets time pass: advances a manual clock, or sleeps on a real one.
    pub fn pass(&self, time: Duration) {
        match &self.0 {
            Kind::Real { .. } => std::thread::sleep(time),
            Kind::Virtual(_) => self.advance(time),
        }
    }

    /// Never returns, like a call that hangs. Under a manual clock, where one thread runs everything, the simulation
    /// never runs the caller again.
    pub fn hang(&self) -> ! {
        match &self.0 {
            Kind::Real { .. } => loop {
                std::thread::park();
            },
            Kind::Virtual(_) => std::panic::resume_unwind(Box::new(Hang)),
        }
    }

    /// Keeps a core busy for a time, like a computation; a manual clock is advanced instead.
    pub fn work(&self, work_ns: u64) {
        match &self.0 {
            Kind::Real { .. } => {
                let end = self.now_ns().saturating_add(work_ns);
                while self.now_ns() < end {
                    std::hint::spin_loop();
                }
            }
            Kind::Virtual(now) => {
                now.fetch_add(work_ns, Ordering::AcqRel);
            }
        }
    }
}

/// The panic payload of a call that never returns: the simulation takes the call off its thread and never steps it
/// again.
pub(crate) struct Hang;

/// Converts a duration to whole nanoseconds, saturating (584 years).
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
