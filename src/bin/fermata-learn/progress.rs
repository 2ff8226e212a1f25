//! The progress of a command on standard error: a line every few seconds with its rate and the remaining time.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use fermata::print::complain;

/// Time between two lines.
const EVERY: Duration = Duration::from_secs(5);

/// Reports progress and its rate; may be called from any thread and at any frequency.
pub(crate) struct Progress {
    what: &'static str,
    /// When progress was first shown and how far it was then, since earlier work is not part of the measured time.
    first: OnceLock<(Instant, u64)>,
    said: Mutex<Instant>,
}

impl Progress {
    /// Creates the progress of a count of `what`, such as `images read`.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            first: OnceLock::new(),
            said: Mutex::new(Instant::now()),
        }
    }

    /// Reports that `done` of `of` are done.
    pub(crate) fn show(&self, done: u64, of: u64) {
        let &(began, first) = self.first.get_or_init(|| (Instant::now(), done));
        let Ok(mut said) = self.said.try_lock() else {
            return;
        };
        if said.elapsed() < EVERY {
            return;
        }
        *said = Instant::now();
        let since = done.saturating_sub(first);
        complain(&self.line(done, of, since, began.elapsed()));
    }

    /// Formats a line; the last `since` of those done took the time `passed`.
    fn line(&self, done: u64, of: u64, since: u64, passed: Duration) -> String {
        let rate = since as f64 / passed.as_secs_f64().max(1e-9);
        let text = format!("{done} of {of} {}", self.what);
        if since == 0 {
            return text;
        }
        // Low rates are shown with a decimal.
        let digits = usize::from(rate < 10.0);
        let left = of.saturating_sub(done) as f64 / rate;
        format!("{text}, {rate:.digits$} per second, {left:.0} s left")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_and_time_left() {
        let progress = Progress::new("images read");
        let line = |done, since| progress.line(done, 1000, since, Duration::from_secs(4));
        assert_eq!(
            line(200, 200),
            "200 of 1000 images read, 50 per second, 16 s left"
        );
        assert_eq!(
            line(990, 10),
            "990 of 1000 images read, 2.5 per second, 4 s left"
        );
        assert_eq!(line(990, 0), "990 of 1000 images read");
    }
}
