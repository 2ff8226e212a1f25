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

/// Returns the times and findings of frames at (time stamp, arrival) in milliseconds.
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

/// Steps smaller than those that show at once that a clock was set.
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
    let times = [0, 200, 200, 400].map(|at| line.place(arrived(Some(7), (at + 50) * MS)).pts_ns);
    let at_once = 200 * MS + LEAST_NS;
    assert_eq!(times, [0, 200 * MS, at_once, 400 * MS + LEAST_NS]);
}

#[test]
fn stamps_at_a_rate_of_their_own_are_given_up_for_arrival() {
    // 5 frames per second, stamped as if there were 25, and the reverse.
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
        // Ten seconds at once, then in real time.
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
    // libav took the step back for a wrap and added one period.
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
    /// Whatever time stamps a live stream has, its times only increase, and by at most a few seconds more than arrival.
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
