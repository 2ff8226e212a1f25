//! How far a command has come, on the standard error stream: a line every few seconds with its rate and the time that
//! is left.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use fermata::print::complain;

/// How often it is said.
const EVERY: Duration = Duration::from_secs(5);

/// Says how far something has come, and how fast it is. From any thread and as often as one likes.
pub(crate) struct Progress {
    what: &'static str,
    /// When it was shown first, and how far it was then: what comes before is not its time.
    first: OnceLock<(Instant, u64)>,
    said: Mutex<Instant>,
}

impl Progress {
    /// Of something that is counted, such as `images read`.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            first: OnceLock::new(),
            said: Mutex::new(Instant::now()),
        }
    }

    /// So many of all.
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

    /// `since` of what is done took this time.
    fn line(&self, done: u64, of: u64, since: u64, passed: Duration) -> String {
        let rate = since as f64 / passed.as_secs_f64().max(1e-9);
        let text = format!("{done} of {of} {}", self.what);
        if since == 0 {
            return text;
        }
        // A few per minute are told too.
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
