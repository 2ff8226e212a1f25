//! Detects frames that had been waiting before a connection was made: what a server had buffered, and what arrived
//! while the stream was probed, is delivered in a burst. Pure: it is given how long each frame was waited for.

use std::time::Duration;

/// Data that is already there is read in less time than this.
const AT_ONCE: Duration = Duration::from_millis(10);

/// A thread that had to yield the core looks as if it had waited for data; that does not happen this many times in a
/// row.
const ENOUGH_WAITS: u32 = 3;

/// A source that is read too slowly always has frames waiting; after this long it is no longer a burst.
const LONGEST_NS: i64 = 10_000_000_000;

/// The beginning of a connection.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    began_ns: Option<i64>,
    /// Number of consecutive waits.
    waits: u32,
    is_over: bool,
}

impl Burst {
    /// Returns whether the frame that arrived at this time, after waiting this long for its data, had been waiting
    /// itself.
    pub(crate) fn had_waited(&mut self, at_ns: i64, waited: Duration) -> bool {
        let began_ns = *self.began_ns.get_or_insert(at_ns);
        self.waits = if waited >= AT_ONCE { self.waits + 1 } else { 0 };
        self.is_over |= self.waits >= ENOUGH_WAITS;
        self.is_over |= at_ns.saturating_sub(began_ns) >= LONGEST_NS;
        !self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn a_burst_is_over_once_frames_are_waited_for() {
        let mut burst = Burst::default();
        // Every third time, the thread had to wait for the core.
        let waited = |n| Duration::from_millis(if n % 3 == 0 { 30 } else { 0 });
        assert!((0..50).all(|n| burst.had_waited(n * MS, waited(n))));
        let waits = (0..4).map(|n| burst.had_waited((50 + n * 40) * MS, Duration::from_millis(38)));
        assert_eq!(waits.collect::<Vec<_>>(), [true, true, false, false]);
        assert!(!burst.had_waited(300 * MS, Duration::ZERO), "for good");
    }

    #[test]
    fn what_is_taken_too_slowly_is_no_burst_for_ever() {
        let mut burst = Burst::default();
        let kept = (0..100).filter(|n| burst.had_waited(n * 200 * MS, Duration::ZERO));
        assert_eq!(kept.count(), 50);
    }
}
