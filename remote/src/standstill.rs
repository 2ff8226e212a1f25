//! Tracks how long something has made no progress, and whether that has been logged.

use std::time::{Duration, Instant};

/// Time without progress after which it is logged.
pub(crate) const STANDSTILL: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Standstill {
    since: Option<Instant>,
    is_told: bool,
}

impl Standstill {
    /// Records that there is no progress. Returns true once, when that has lasted so long that it should be logged.
    pub(crate) fn is_to_be_told(&mut self) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        let is_due = !self.is_told && since.elapsed() >= STANDSTILL;
        self.is_told |= is_due;
        is_due
    }

    /// Records progress. Returns whether the standstill had been logged.
    pub(crate) fn is_over(&mut self) -> bool {
        std::mem::take(self).is_told
    }
}
