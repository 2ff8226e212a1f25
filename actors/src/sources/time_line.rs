//! The times of a stream's frames: what its time stamps say, checked against each other and, of a live stream, against
//! arrival. Pure arithmetic; warnings and segments are the source's.

/// A step back of up to this may be a stumble of one frame, which stays as it is.
const STUMBLE_NS: i64 = 1_000_000_000;

/// A step back of up to this is disorder of a few frames, and stays as it is however many there are.
const DISORDER_NS: i64 = 160_000_000;

/// A live stream's time stamps may run this much ahead of arrival, or behind it for a while.
const JUMP_NS: i64 = 3_000_000_000;

/// Time stamps that stay behind arrival for longer than this will not catch up.
const LAG_NS: i64 = 5_000_000_000;

/// Clocks that drift apart are followed within this time.
const FOLLOW_NS: f64 = 60e9;

/// Distance of frames where none is known yet: 25 frames per second.
const FIRST_DISTANCE_NS: i64 = 40_000_000;

/// Frames that follow each other at once are this far apart at least.
const LEAST_NS: i64 = 1_000;

/// How far the time stamps of a connection are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// A recording: they are all there is. A gap longer than `max_gap_ns` is not waited for.
    Recording { max_gap_ns: Option<i64> },
    /// A live stream: as long as they go with arrival.
    Checked,
    /// A live stream without any, or with made-up ones: arrival alone counts.
    Arrival,
}

/// Something about the time stamps that whoever runs the graph should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// They jumped by this much and went on from there: a new segment.
    Jump { by_ns: i64 },
    /// A recording shows nothing for this long, which is not waited for: a new segment.
    Gap { ns: i64 },
    /// One frame was stamped this far off; arrival stands in for it.
    Stray { by_ns: i64 },
    /// They do not go with arrival, by this much so far; arrival counts from now on: a new segment.
    Apart { by_ns: i64 },
}

/// Where a frame stands in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) pts_ns: i64,
    pub(crate) finding: Option<Finding>,
}

impl Placed {
    /// Whether a new segment begins here.
    pub(crate) fn begins_segment(&self) -> bool {
        !matches!(self.finding, None | Some(Finding::Stray { .. }))
    }
}

/// A frame as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    /// What it is stamped with, if it is.
    pub(crate) stamp_ns: Option<i64>,
    /// When it came, on a clock that only goes on.
    pub(crate) at_ns: i64,
    /// It had been waiting at the other side: arrival says nothing of its time.
    pub(crate) had_waited: bool,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    pts_ns: i64,
    at_ns: i64,
}

/// A stamp to which others are compared, and when it came.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    ns: i64,
    at_ns: i64,
}

/// A frame that steps back; the next one tells whether time has.
#[derive(Clone, Copy, Debug)]
struct Stumble {
    /// Where the frame before it stands.
    before_ns: i64,
    by_ns: i64,
}

/// See the file's head. It outlives connections: time goes on from arrival when a stream was opened again.
#[derive(Debug)]
pub(crate) struct TimeLine {
    trust: Trust,
    /// Stamps are known up to a multiple of this: MPEG-TS and RTP count in so many bits.
    period_ns: Option<i64>,
    last: Option<Last>,
    /// The last stamp that was believed.
    stamp: Option<Stamp>,
    /// The last stamp if it was not.
    suspect: Option<Stamp>,
    stumble: Option<Stumble>,
    /// From a stamp to the time of the frame.
    offset_ns: i64,
    distance_ns: i64,
    /// How far arrival is behind the stamps in general, and since when it is much farther.
    usual_lag_ns: f64,
    late_since_ns: Option<i64>,
}

impl TimeLine {
    /// A line on which nothing is yet.
    pub(crate) fn new() -> Self {
        Self {
            trust: Trust::Checked,
            period_ns: None,
            last: None,
            stamp: None,
            suspect: None,
            stumble: None,
            offset_ns: 0,
            distance_ns: FIRST_DISTANCE_NS,
            usual_lag_ns: 0.0,
            late_since_ns: None,
        }
    }

    /// A new connection, whose stamps have nothing to do with the last one's.
    pub(crate) fn connected(&mut self, trust: Trust, period_ns: Option<i64>) {
        self.trust = trust;
        self.period_ns = period_ns.filter(|&period| period > 0);
        (self.stamp, self.suspect, self.late_since_ns) = (None, None, None);
        self.stumble = None;
    }

    /// The time of the next frame.
    pub(crate) fn place(&mut self, arrived: Arrived) -> Placed {
        let placed = match (self.trust, arrived.stamp_ns) {
            (Trust::Arrival, _) | (Trust::Checked, None) => self.by_arrival(arrived.at_ns),
            (Trust::Checked, Some(stamp_ns)) => self.checked(stamp_ns, &arrived),
            (Trust::Recording { max_gap_ns }, Some(stamp_ns)) => {
                self.recorded(stamp_ns, arrived.at_ns, max_gap_ns)
            }
            // The reader gives every frame of a recording a stamp.
            (Trust::Recording { .. }, None) => self.by_arrival(arrived.at_ns),
        };
        self.last = Some(Last {
            pts_ns: placed.pts_ns,
            at_ns: arrived.at_ns,
        });
        placed
    }

    fn by_arrival(&self, at_ns: i64) -> Placed {
        let pts_ns = self.last.map_or(0, |last| {
            let passed_ns = at_ns.saturating_sub(last.at_ns).max(LEAST_NS);
            last.pts_ns.saturating_add(passed_ns)
        });
        let finding = None;
        Placed { pts_ns, finding }
    }

    fn recorded(&mut self, stamp_ns: i64, at_ns: i64, max_gap_ns: Option<i64>) -> Placed {
        let (Some(last), Some(before)) = (self.last, self.stamp) else {
            return self.first(stamp_ns, at_ns);
        };
        let stamp_ns = self.unwrapped(stamp_ns, before.ns);
        let step_ns = stamp_ns.saturating_sub(before.ns);
        let mut finding = None;
        if step_ns < -STUMBLE_NS {
            finding = Some(Finding::Jump { by_ns: step_ns });
            let resumed_ns = last.pts_ns.saturating_add(self.distance_ns);
            self.offset_ns = resumed_ns.saturating_sub(stamp_ns);
        } else if let Some(stumble) = self.stays_back(stamp_ns, last.pts_ns) {
            let by_ns = stumble.by_ns;
            finding = Some(Finding::Jump { by_ns });
            // Between them is the place of the frame that stepped back.
            let resumed_ns = stumble.before_ns.saturating_add(2 * self.distance_ns);
            self.offset_ns = resumed_ns.saturating_sub(stamp_ns);
        } else if max_gap_ns.is_some_and(|most| step_ns > most) {
            finding = Some(Finding::Gap { ns: step_ns });
        } else if step_ns > 0 {
            self.distance_ns = step_ns;
        }
        let ns = stamp_ns;
        self.stamp = Some(Stamp { ns, at_ns });
        let pts_ns = stamp_ns.saturating_add(self.offset_ns);
        Placed { pts_ns, finding }
    }

    /// How time stepped back with the frame before this one, if it did: a frame that steps back is a stumble unless the next one goes on from it.
    fn stays_back(&mut self, stamp_ns: i64, last_ns: i64) -> Option<Stumble> {
        let ns = stamp_ns.saturating_add(self.offset_ns);
        let known = self.stumble.take();
        if known.is_some_and(|stumble| ns <= stumble.before_ns) {
            return known;
        }
        let by_ns = ns.saturating_sub(last_ns);
        self.stumble = (by_ns < -DISORDER_NS).then_some(Stumble {
            before_ns: last_ns,
            by_ns,
        });
        None
    }

    /// The first frame of a connection. The very first one of the stream keeps its stamp for a time; to others time goes on.
    fn first(&mut self, stamp_ns: i64, at_ns: i64) -> Placed {
        let mut placed = self.by_arrival(at_ns);
        if self.last.is_none() {
            placed.pts_ns = stamp_ns;
        }
        self.anchor(stamp_ns, at_ns, placed.pts_ns);
        placed
    }

    fn checked(&mut self, stamp_ns: i64, arrived: &Arrived) -> Placed {
        let at_ns = arrived.at_ns;
        let (Some(last), Some(good)) = (self.last, self.stamp) else {
            return self.first(stamp_ns, at_ns);
        };
        let mut placed = self.by_arrival(at_ns);
        let stamp_ns = self.unwrapped(stamp_ns, good.ns);
        let here = Stamp {
            ns: stamp_ns,
            at_ns,
        };
        let by_ns = stamp_ns.saturating_sub(good.ns);
        if follows(good, here) {
            (self.stamp, self.suspect) = (Some(here), None);
            if let Some(Stumble { by_ns, .. }) = self.stays_back(stamp_ns, last.pts_ns) {
                self.anchor(stamp_ns, at_ns, placed.pts_ns);
                placed.finding = Some(Finding::Jump { by_ns });
                return placed;
            }
            let stamped_ns = stamp_ns.saturating_add(self.offset_ns);
            if let Some(by_ns) = self.lag(stamped_ns, arrived) {
                self.trust = Trust::Arrival;
                placed.finding = Some(Finding::Apart { by_ns });
                return placed;
            }
            placed.pts_ns = stamped_ns.max(last.pts_ns.saturating_add(LEAST_NS));
        } else if self.suspect.is_some_and(|suspect| follows(suspect, here)) {
            self.anchor(stamp_ns, at_ns, placed.pts_ns);
            placed.finding = Some(Finding::Jump { by_ns });
        } else {
            // Whether the clock was set or one frame is off, the next one tells.
            self.suspect = Some(here);
            placed.finding = Some(Finding::Stray { by_ns });
        }
        placed
    }

    /// Stamps count from here: this one stands for this time.
    fn anchor(&mut self, stamp_ns: i64, at_ns: i64, pts_ns: i64) {
        let ns = stamp_ns;
        (self.stamp, self.suspect) = (Some(Stamp { ns, at_ns }), None);
        self.offset_ns = pts_ns.saturating_sub(stamp_ns);
        self.usual_lag_ns = at_ns.saturating_sub(pts_ns) as f64;
        self.late_since_ns = None;
    }

    /// How far arrival and stamps have come apart, if it is too far.
    fn lag(&mut self, stamped_ns: i64, arrived: &Arrived) -> Option<i64> {
        let at_ns = arrived.at_ns;
        let lag_ns = at_ns.saturating_sub(stamped_ns) as f64;
        if arrived.had_waited {
            self.usual_lag_ns = lag_ns;
            return None;
        }
        let apart_ns = lag_ns - self.usual_lag_ns;
        if apart_ns.abs() <= JUMP_NS as f64 {
            let passed_ns = self.last.map_or(0, |last| at_ns.saturating_sub(last.at_ns));
            self.usual_lag_ns += apart_ns * (passed_ns as f64 / FOLLOW_NS).min(1.0);
            self.late_since_ns = None;
            return None;
        }
        let late_since_ns = *self.late_since_ns.get_or_insert(at_ns);
        let is_lasting = at_ns.saturating_sub(late_since_ns) > LAG_NS;
        (apart_ns < 0.0 || is_lasting).then_some(apart_ns as i64)
    }

    /// The stamp that is nearest to the last one, of all that it may stand for.
    fn unwrapped(&self, stamp_ns: i64, last_ns: i64) -> i64 {
        let Some(period_ns) = self.period_ns else {
            return stamp_ns;
        };
        let step_ns = i128::from(stamp_ns) - i128::from(last_ns);
        let period_ns = i128::from(period_ns);
        let periods = (step_ns + period_ns / 2).div_euclid(period_ns);
        i64::try_from(i128::from(stamp_ns) - periods * period_ns).unwrap_or(stamp_ns)
    }
}

/// Whether a stamp may come after another: not far before it, and not much farther after it than arrival.
fn follows(before: Stamp, after: Stamp) -> bool {
    let step_ns = after.ns.saturating_sub(before.ns);
    let passed_ns = after.at_ns.saturating_sub(before.at_ns).max(0);
    step_ns >= -STUMBLE_NS && step_ns <= passed_ns.saturating_add(JUMP_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: i64 = 1_000_000;
    const SECOND: i64 = 1_000 * MS;
    /// MPEG-TS: 33 bits at 90 kHz.
    const TS_PERIOD: i64 = 95_443_717_688_889;

    fn line(trust: Trust, period_ns: Option<i64>) -> TimeLine {
        let mut line = TimeLine::new();
        line.connected(trust, period_ns);
        line
    }

    fn arrived(stamp_ns: Option<i64>, at_ns: i64) -> Arrived {
        Arrived {
            stamp_ns,
            at_ns,
            had_waited: false,
        }
    }

    /// Times and findings of frames at (stamp, arrival) in milliseconds.
    fn live(frames: &[(i64, i64)]) -> Vec<(i64, Option<Finding>)> {
        let mut line = line(Trust::Checked, None);
        let place = |&(stamp, at): &(i64, i64)| {
            let placed = line.place(arrived(Some(stamp * MS), at * MS));
            (placed.pts_ns / MS, placed.finding)
        };
        frames.iter().map(place).collect()
    }

    #[test]
    fn stamps_that_go_with_arrival_are_kept() {
        let frames = [(5_000, 100), (5_200, 310), (5_400, 490), (5_600, 900)];
        let times = live(&frames);
        assert_eq!(
            times,
            [(5_000, None), (5_200, None), (5_400, None), (5_600, None)]
        );
    }

    #[test]
    fn one_frame_that_is_far_off_gets_the_time_of_its_arrival_and_begins_nothing() {
        let times = live(&[(0, 0), (100, 100), (1_000_200, 200), (300, 300)]);
        let by_ns = 1_000_100 * MS;
        let stray = Some(Finding::Stray { by_ns });
        assert_eq!(times, [(0, None), (100, None), (200, stray), (300, None)]);
    }

    #[test]
    fn a_clock_that_was_set_either_way_begins_a_segment_and_time_goes_on() {
        for set in [7_200_000, -7_200_000] {
            let frames: Vec<(i64, i64)> = (0..6)
                .map(|n| (n * 100 + if n < 3 { 0 } else { set }, n * 100))
                .collect();
            let times = live(&frames);
            let expected: Vec<i64> = (0..6).map(|n| n * 100).collect();
            let pts: Vec<i64> = times.iter().map(|(pts, _)| *pts).collect();
            assert_eq!(pts, expected);
            assert!(matches!(times[3].1, Some(Finding::Stray { .. })));
            assert!(matches!(times[4].1, Some(Finding::Jump { .. })));
            assert_eq!(times[5].1, None);
        }
    }

    /// Less than what shows at once that a clock was set.
    #[test]
    fn a_small_step_back_is_a_stumble_of_one_frame_or_a_segment_from_the_next_one_on() {
        let recorded = |stamps: &[i64]| -> Vec<(i64, Option<Finding>)> {
            let mut line = line(Trust::Recording { max_gap_ns: None }, None);
            let place = |&stamp: &i64| {
                let placed = line.place(arrived(Some(stamp * MS), 0));
                (placed.pts_ns / MS, placed.finding)
            };
            stamps.iter().map(place).collect()
        };
        let back = |ms: i64| Some(Finding::Jump { by_ns: -ms * MS });
        let stumble = [0, 400, 800, 0, 1_200, 1_600];
        assert_eq!(recorded(&stumble), stumble.map(|at| (at, None)));
        let disorder = [0, 40, 160, 80, 120, 200];
        assert_eq!(recorded(&disorder), disorder.map(|at| (at, None)));
        assert_eq!(
            recorded(&[880, 920, 960, 0, 40, 80])[3..],
            [(0, None), (1_040, back(960)), (1_080, None)]
        );
        let times = live(&[
            (880, 0),
            (920, 40),
            (960, 80),
            (0, 120),
            (40, 160),
            (80, 200),
        ]);
        assert_eq!(times[3].1, None);
        assert_eq!(times[4..], [(1_000, back(960)), (1_040, None)]);
    }

    #[test]
    fn without_stamps_arrival_counts_also_where_frames_come_at_once() {
        let mut line = line(Trust::Arrival, None);
        let times =
            [0, 200, 200, 400].map(|at| line.place(arrived(Some(7), (at + 50) * MS)).pts_ns);
        let at_once = 200 * MS + LEAST_NS;
        assert_eq!(times, [0, 200 * MS, at_once, 400 * MS + LEAST_NS]);
    }

    #[test]
    fn stamps_at_a_rate_of_their_own_are_given_up_for_arrival() {
        // 5 frames a second, stamped as 25 of them; and the other way round.
        for (stamp_step, arrival_step) in [(40, 200), (200, 40)] {
            let frames: Vec<(i64, i64)> = (0..600)
                .map(|n| (n * stamp_step, n * arrival_step))
                .collect();
            let times = live(&frames);
            let apart: Vec<usize> = (0..600).filter(|&n| times[n].1.is_some()).collect();
            assert_eq!(apart.len(), 1, "{apart:?}");
            assert!(matches!(times[apart[0]].1, Some(Finding::Apart { .. })));
            let last = times.len() - 1;
            let steps = (times[last].0 - times[apart[0] + 1].0) / (last - apart[0] - 1) as i64;
            assert_eq!(steps, arrival_step);
        }
    }

    #[test]
    fn a_stall_that_is_made_up_for_changes_nothing() {
        let at = |n: i64| {
            if (50..250).contains(&n) {
                10_000
            } else {
                n * 40
            }
        };
        let frames: Vec<(i64, i64)> = (0..400).map(|n| (n * 40, at(n))).collect();
        let times = live(&frames);
        assert!(times.iter().all(|(_, finding)| finding.is_none()));
        assert!(
            times
                .iter()
                .zip(&frames)
                .all(|(time, frame)| time.0 == frame.0)
        );
    }

    #[test]
    fn what_had_waited_is_ahead_of_its_arrival_and_may_be() {
        let mut line = line(Trust::Checked, None);
        for n in 0..400 {
            // Ten seconds at once, then as they come.
            let had_waited = n < 100;
            let at_ms = if had_waited { n } else { (n - 99) * 100 };
            let at_ns = at_ms * MS;
            let placed = line.place(Arrived {
                stamp_ns: Some(n * 100 * MS),
                at_ns,
                had_waited,
            });
            assert_eq!(placed.pts_ns, n * 100 * MS);
            assert_eq!(placed.finding, None, "{n}");
        }
    }

    #[test]
    fn time_goes_on_when_a_stream_was_opened_again() {
        let mut line = line(Trust::Checked, None);
        line.place(arrived(Some(500 * MS), 0));
        line.connected(Trust::Checked, None);
        let placed = line.place(arrived(Some(0), 3_000 * MS));
        assert_eq!((placed.pts_ns, placed.finding), (3_500 * MS, None));
        assert_eq!(
            line.place(arrived(Some(40 * MS), 3_040 * MS)).pts_ns,
            3_540 * MS
        );
    }

    #[test]
    fn counters_that_wrap_go_on_and_a_step_back_is_no_wrap() {
        let mut wrapping = line(Trust::Recording { max_gap_ns: None }, Some(TS_PERIOD));
        let before = TS_PERIOD - 20 * MS;
        assert_eq!(wrapping.place(arrived(Some(before), 0)).pts_ns, before);
        let after = wrapping.place(arrived(Some(20 * MS), 0));
        assert_eq!((after.pts_ns, after.finding), (before + 40 * MS, None));
        // libav took the step back for a wrap and added one.
        let mut stepping = line(Trust::Recording { max_gap_ns: None }, Some(TS_PERIOD));
        stepping.place(arrived(Some(7_202 * SECOND), 0));
        stepping.place(arrived(Some(7_202 * SECOND + 40 * MS), 0));
        let back = stepping.place(arrived(Some(TS_PERIOD + SECOND), 0));
        assert!(matches!(back.finding, Some(Finding::Jump { by_ns }) if by_ns < -7_000 * SECOND));
        assert_eq!(back.pts_ns, 7_202 * SECOND + 80 * MS);
    }

    #[test]
    fn a_recordings_gap_is_kept_and_told_only_where_it_would_be_waited_for() {
        for (max_gap_ns, finding) in [
            (None, None),
            (Some(5 * SECOND), Some(Finding::Gap { ns: 2_200 * SECOND })),
        ] {
            let mut line = line(Trust::Recording { max_gap_ns }, None);
            line.place(arrived(Some(0), 0));
            let placed = line.place(arrived(Some(2_200 * SECOND), 0));
            assert_eq!((placed.pts_ns, placed.finding), (2_200 * SECOND, finding));
        }
    }

    proptest! {
        /// Whatever a live stream is stamped with, its times only go on, and by no more than a few seconds more than arrival.
        #[test]
        fn live_times_stay_with_arrival(frames in proptest::collection::vec((-20_000_i64..20_000, 1_i64..2_000), 2..200)) {
            let mut line = line(Trust::Checked, None);
            let (mut stamp, mut at, mut last) = (0, 0, None::<i64>);
            for (step, passes) in frames {
                (stamp, at) = (stamp + step, at + passes);
                let pts_ns = line.place(arrived(Some(stamp * MS), at * MS)).pts_ns;
                if let Some(last) = last {
                    prop_assert!(pts_ns > last, "{last} {pts_ns}");
                    prop_assert!(pts_ns - last <= passes * MS + 2 * JUMP_NS + LAG_NS, "{last} {pts_ns}");
                }
                last = Some(pts_ns);
            }
        }
    }
}
