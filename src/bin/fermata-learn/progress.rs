//! How far a command has come, on the standard error stream: a line every few seconds with its rate and the time that is left.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often it is said.
const EVERY: Duration = Duration::from_secs(5);

/// Says how far something has come, and how fast it is. From any thread and as often as one likes.
pub(crate) struct Progress {
    what: &'static str,
    began: Instant,
    said: Mutex<Instant>,
}

impl Progress {
    /// Of something that is counted, such as `images read`.
    pub(crate) fn new(what: &'static str) -> Self {
        let now = Instant::now();
        Self {
            what,
            began: now,
            said: Mutex::new(now),
        }
    }

    /// So many of all.
    pub(crate) fn show(&self, done: u64, of: u64) {
        let Ok(mut said) = self.said.try_lock() else {
            return;
        };
        if said.elapsed() < EVERY {
            return;
        }
        *said = Instant::now();
        eprintln!("{}", self.line(done, of, self.began.elapsed()));
    }

    fn line(&self, done: u64, of: u64, passed: Duration) -> String {
        let rate = done as f64 / passed.as_secs_f64().max(1e-9);
        let left = of.saturating_sub(done) as f64 / rate.max(1e-9);
        format!(
            "{done} of {of} {}, {rate:.0} per second, {left:.0} s left",
            self.what
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_and_time_left() {
        let progress = Progress::new("images read");
        let line = progress.line(200, 1000, Duration::from_secs(4));
        assert_eq!(line, "200 of 1000 images read, 50 per second, 16 s left");
    }
}
