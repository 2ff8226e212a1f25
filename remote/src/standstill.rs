//! Since when something has not gone on, and whether the log has said so.

use std::time::{Duration, Instant};

/// How long nothing may go on before the log says so.
pub(crate) const STANDSTILL: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Standstill {
    since: Option<Instant>,
    is_told: bool,
}

impl Standstill {
    /// Nothing has gone on. Whether that has taken so long that the log is to say so: once.
    pub(crate) fn is_to_be_told(&mut self) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        let is_due = !self.is_told && since.elapsed() >= STANDSTILL;
        self.is_told |= is_due;
        is_due
    }

    /// It goes on. Whether the log has said that it did not.
    pub(crate) fn is_over(&mut self) -> bool {
        std::mem::take(self).is_told
    }
}
