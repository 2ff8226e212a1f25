//! How time passes in a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The `run.clock` of a graph.
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
    /// The processor's time stamp counter where it can be trusted, else the system's monotonic clock: the engine looks
    /// at the time after each call, and the counter costs a third of the system's clock.
    Real {
        clock: quanta::Clock,
        origin: u64,
    },
    Virtual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that starts now and follows the machine's monotonic clock.
    pub fn real() -> Self {
        let clock = quanta::Clock::new();
        let origin = clock.raw();
        Self(Kind::Real { clock, origin })
    }

    /// A clock that stands still until it is advanced.
    pub fn manual() -> Self {
        Self(Kind::Virtual(Arc::default()))
    }

    /// Nanoseconds since the run's start.
    pub fn now_ns(&self) -> u64 {
        match &self.0 {
            Kind::Real { clock, origin } => clock.delta_as_nanos(*origin, clock.raw()),
            Kind::Virtual(now) => now.load(Ordering::Acquire),
        }
    }

    /// Advances a manual clock; a real one waits for nobody.
    pub fn advance(&self, by: Duration) {
        if let Kind::Virtual(now) = &self.0 {
            now.fetch_add(nanoseconds(by), Ordering::AcqRel);
        }
    }

    /// Lets a time pass: a manual clock is advanced, on a real one the thread waits.
    pub fn pass(&self, time: Duration) {
        match &self.0 {
            Kind::Real { .. } => std::thread::sleep(time),
            Kind::Virtual(_) => self.advance(time),
        }
    }

    /// Never returns, as a call that hangs would. Under a manual clock, where one thread runs everything, the
    /// simulation never runs the caller again.
    pub fn hang(&self) -> ! {
        match &self.0 {
            Kind::Real { .. } => loop {
                std::thread::park();
            },
            Kind::Virtual(_) => std::panic::resume_unwind(Box::new(Hang)),
        }
    }

    /// Keeps a core busy for a time, as a computation would; a manual clock just moves on.
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

/// What a call unwinds with that never returns: the simulation takes it off its thread and never steps it again.
pub(crate) struct Hang;

/// A duration as whole nanoseconds, saturating (584 years).
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
