//! Time stamps of a recording's frames, some of which may have none: in raw streams of a codec, and before a
//! container's beginning, where it cannot state them. The frame rate substitutes for them.

use ffmpeg_next::Rational;

use crate::sources::ticks::nanoseconds;

/// Completes time stamps; see the module docs.
#[derive(Debug)]
pub(crate) struct Stamps {
    /// Distance between frames according to their rate, if known.
    distance_ns: Option<i64>,
    last_ns: Option<i64>,
    has_come: bool,
    /// Offset from the container's time stamps to those that are returned.
    shift_ns: i64,
}

impl Stamps {
    /// Creates the time stamps of a stream with this frame rate.
    pub(crate) fn new(rate: Rational) -> Self {
        let is_rate = rate.numerator() > 0 && rate.denominator() > 0;
        Self {
            distance_ns: is_rate.then(|| nanoseconds(1, rate.invert())),
            last_ns: None,
            has_come: false,
            shift_ns: 0,
        }
    }

    /// Returns the time of a frame with this time stamp. The first one after frames without time stamps continues from
    /// these, and all later ones are shifted with it.
    pub(crate) fn stamped(&mut self, stamp_ns: i64) -> i64 {
        if !std::mem::replace(&mut self.has_come, true) {
            let due_ns = self.last_ns.map(|last_ns| self.next(last_ns));
            self.shift_ns = due_ns.map_or(0, |due_ns| due_ns.saturating_sub(stamp_ns));
        }
        let ns = stamp_ns.saturating_add(self.shift_ns);
        self.last_ns = Some(ns);
        ns
    }

    /// Returns the time of a frame without a time stamp, or `None` if the frame rate is unknown.
    pub(crate) fn unstamped(&mut self) -> Option<i64> {
        self.distance_ns?;
        let ns = self.last_ns.map_or(0, |last_ns| self.next(last_ns));
        self.last_ns = Some(ns);
        Some(ns)
    }

    /// Leaves a gap for this many missing frames before the next one.
    pub(crate) fn leave_out(&mut self, frames: u64) {
        let frames = i64::try_from(frames).unwrap_or(i64::MAX);
        let gap_ns = self.distance_ns.unwrap_or(0).saturating_mul(frames);
        self.last_ns = self.last_ns.map(|last_ns| last_ns.saturating_add(gap_ns));
    }

    fn next(&self, last_ns: i64) -> i64 {
        last_ns.saturating_add(self.distance_ns.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn stamps_stay_as_they_are_and_the_rate_fills_the_gaps() {
        let mut stamps = Stamps::new(Rational(25, 1));
        assert_eq!(stamps.stamped(-500 * MS), -500 * MS);
        assert_eq!(stamps.unstamped(), Some(-460 * MS));
        assert_eq!(stamps.stamped(-400 * MS), -400 * MS);
        assert_eq!(Stamps::new(Rational(0, 1)).unstamped(), None);
        stamps.leave_out(2);
        assert_eq!(stamps.unstamped(), Some(-280 * MS));
    }

    #[test]
    fn stamps_that_come_late_follow_on_what_stood_in_for_them() {
        let mut stamps = Stamps::new(Rational(25, 1));
        let first = [(); 3].map(|()| stamps.unstamped());
        assert_eq!(first, [Some(0), Some(40 * MS), Some(80 * MS)]);
        let then = [20, 60, 140].map(|ms| stamps.stamped(ms * MS) / MS);
        assert_eq!(then, [120, 160, 240]);
    }
}
