//! Times in a written video: the source's own, made strictly increasing. Pure arithmetic.

use std::time::Duration;

/// Longest step back within a segment that counts as a glitch of one frame; a longer one means that the clock was set
/// back.
const STUMBLE_US: i64 = 1_000_000;

/// Interval between frames while none is known: 25 frames per second.
const FIRST_DISTANCE_US: i64 = 40_000;

/// Assigns times to frames, in microseconds.
///
/// Times are kept unchanged as long as they increase. A segment that begins at or before the last frame (a camera that
/// counts from zero again after a reconnect) is shifted as a whole, so that it continues one interval after the last
/// frame; so is the rest of a segment that jumps back by more than a second. Any other frame that does not come after
/// the last one is placed one microsecond after it. A stream that begins before zero, which MP4 cannot represent,
/// begins at zero instead.
#[derive(Debug)]
pub(crate) struct Timeline {
    last_us: Option<i64>,
    distance_us: i64,
    offset_us: i64,
    segment: u32,
    moved: u64,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self {
            last_us: None,
            distance_us: FIRST_DISTANCE_US,
            offset_us: 0,
            segment: 0,
            moved: 0,
        }
    }

    /// Returns the time of the next frame.
    pub(crate) fn place(&mut self, segment: u32, pts_ns: i64) -> i64 {
        let pts_us = microseconds(pts_ns);
        let begins = self.segment != segment;
        self.segment = segment;
        if begins {
            self.offset_us = 0;
        }
        let wanted_us = pts_us.saturating_add(self.offset_us);
        let Some(last_us) = self.last_us else {
            let placed_us = wanted_us.max(0);
            self.offset_us = placed_us.saturating_sub(pts_us);
            self.moved += u64::from(placed_us != wanted_us);
            self.last_us = Some(placed_us);
            return placed_us;
        };
        let step_us = wanted_us.saturating_sub(last_us);
        let placed_us = if step_us > 0 {
            if !begins {
                self.distance_us = step_us;
            }
            wanted_us
        } else {
            self.moved += 1;
            if begins || step_us < -STUMBLE_US {
                let resumed_us = last_us.saturating_add(self.distance_us);
                self.offset_us = resumed_us.saturating_sub(pts_us);
                resumed_us
            } else {
                last_us.saturating_add(1)
            }
        };
        self.last_us = Some(placed_us);
        placed_us
    }

    /// Returns the assumed duration of the last frame.
    pub(crate) fn distance(&self) -> Duration {
        Duration::from_micros(self.distance_us.unsigned_abs())
    }

    /// Returns how often the source's time could not be kept.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }
}

/// The time of each frame in a video of its stream, which begins at zero regardless of the source's time stamps.
#[derive(Debug)]
pub struct VideoTime {
    timeline: Timeline,
    first_us: Option<i64>,
}

impl Default for VideoTime {
    fn default() -> Self {
        Self {
            timeline: Timeline::new(),
            first_us: None,
        }
    }
}

impl VideoTime {
    /// Returns the time of the stream's next frame, in seconds.
    pub fn pass(&mut self, segment: u32, pts_ns: i64) -> f64 {
        let placed_us = self.timeline.place(segment, pts_ns);
        let first_us = *self.first_us.get_or_insert(placed_us);
        placed_us.saturating_sub(first_us) as f64 / 1e6
    }
}

fn microseconds(pts_ns: i64) -> i64 {
    pts_ns.saturating_add(500).div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: i64 = 1_000_000;

    fn placed(frames: impl IntoIterator<Item = (u32, i64)>) -> Vec<i64> {
        let mut timeline = Timeline::new();
        let placed = frames
            .into_iter()
            .map(|(segment, pts_ns)| timeline.place(segment, pts_ns));
        placed.collect()
    }

    #[test]
    fn a_segment_that_starts_over_goes_on_after_the_last_frame() {
        let times = placed([
            (0, 100 * MS),
            (0, 140 * MS),
            (1, 0),
            (1, 50 * MS),
            (2, 400 * MS),
            (3, 10 * MS),
        ]);
        assert_eq!(
            times,
            [100_000, 140_000, 180_000, 230_000, 400_000, 450_000]
        );
    }

    #[test]
    fn one_frame_that_stumbles_does_not_move_the_others() {
        let times = placed([
            (0, 0),
            (0, 40 * MS),
            (0, 40 * MS),
            (0, 30 * MS),
            (0, 80 * MS),
        ]);
        assert_eq!(times, [0, 40_000, 40_001, 40_002, 80_000]);
    }

    #[test]
    fn a_clock_that_was_set_back_moves_what_follows() {
        let times = placed([(0, 9_000 * MS), (0, 9_040 * MS), (0, 0), (0, 40 * MS)]);
        assert_eq!(times, [9_000_000, 9_040_000, 9_080_000, 9_120_000]);
    }

    #[test]
    fn a_video_begins_at_zero_whatever_its_source_counts_from() {
        for first_ms in [-80_i64, 0, 26_000_000] {
            let mut time = VideoTime::default();
            let at = |segment, ms| (segment, (first_ms + ms) * MS);
            let frames = [
                at(0, 0),
                at(0, 40),
                at(0, 2_040),
                at(1, -9_000),
                at(1, -8_500),
            ];
            let times = frames.map(|(segment, pts_ns)| time.pass(segment, pts_ns));
            assert_eq!(times, [0.0, 0.04, 2.04, 4.04, 4.54], "{first_ms}");
        }
    }

    #[test]
    fn a_stream_that_begins_before_zero_begins_at_zero() {
        assert_eq!(
            placed([(0, -80 * MS), (0, -40 * MS), (0, 10 * MS)]),
            [0, 40_000, 90_000]
        );
    }

    proptest! {
        #[test]
        fn times_always_increase(frames in proptest::collection::vec((0_u32..3, -i64::MAX / 4..i64::MAX / 4), 1..50)) {
            let times = placed(frames);
            prop_assert!(times[0] >= 0);
            prop_assert!(times.windows(2).all(|two| two[0] < two[1]), "{:?}", times);
        }

        #[test]
        fn increasing_times_are_kept(start in 0_i64..5_000, steps in proptest::collection::vec(1_i64..100_000, 1..50)) {
            let times: Vec<i64> = steps.iter().scan(start, |at, step| { *at += step; Some(*at) }).collect();
            prop_assert_eq!(placed(times.iter().map(|us| (0, us * 1000))), times);
        }
    }
}
