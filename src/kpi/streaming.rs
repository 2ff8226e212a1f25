//! Streaming accuracy: how often the labels are correct for a viewer who sees them as they are emitted (Li et al. 2020,
//! arXiv 2005.10420).

use std::collections::BTreeMap;

use super::faces::{FaceRow, Label};
use super::truth::{StreamTruth, TrueFace};

/// A true face in a frame, and whether the newest label emitted by then is correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) pts_us: i64,
    pub(super) is_right: bool,
}

/// Returns a moment for every true face of every frame, including frames that were dropped or in which nothing was
/// found.
///
/// A label is emitted at the time of its frame plus its latency, multiplied by `speed` if the recording runs faster
/// than the clock. The newest label is that of the latest frame, not the one emitted last. A face without a label yet
/// counts as wrong. Labels belong to the true face with which their row was matched. None if a label's latency is
/// unknown.
pub(super) fn moments(
    rows: &[FaceRow],
    matched: &[Option<&TrueFace>],
    truth: &StreamTruth,
    speed: f64,
) -> Option<Vec<Moment>> {
    let mut emitted = Vec::new();
    for (row, face) in rows.iter().zip(matched) {
        if let (Some(label), Some(face)) = (&row.label, face) {
            let latency_us = (row.latency_us? as f64 * speed).round() as i64;
            emitted.push((row.pts_us + latency_us, row.pts_us, face.face, label));
        }
    }
    emitted.sort_by_key(|(emitted_us, pts_us, ..)| (*emitted_us, *pts_us));
    let mut frames: Vec<_> = truth.values().collect();
    frames.sort_by_key(|frame| frame.pts_us);
    let mut emitted = emitted.into_iter().peekable();
    // By face.
    let mut newest = BTreeMap::<u64, (i64, &Label)>::new();
    let mut moments = Vec::new();
    for frame in frames {
        while let Some((_, pts_us, face, label)) =
            emitted.next_if(|(emitted_us, ..)| *emitted_us <= frame.pts_us)
        {
            if newest.get(&face).is_none_or(|known| known.0 <= pts_us) {
                newest.insert(face, (pts_us, label));
            }
        }
        moments.extend(frame.faces.iter().map(|face| Moment {
            pts_us: frame.pts_us,
            is_right: newest.get(&face.face).is_some_and(|n| *n.1 == face.label),
        }));
    }
    Some(moments)
}

#[cfg(test)]
mod tests {
    use super::super::truth::TrueFrame;
    use super::*;
    use proptest::prelude::*;

    /// Makes a frame every 100 ms.
    fn truth(labels: &str) -> StreamTruth {
        let frames = labels.chars().enumerate().map(|(index, label)| {
            let face = TrueFace {
                face: 3,
                rect: [0.0; 4],
                label: label.to_string().into(),
            };
            let frame = TrueFrame {
                pts_us: index as i64 * 100_000,
                faces: vec![face],
            };
            (index as u64, frame)
        });
        frames.collect()
    }

    /// Makes a row for each frame whose character is a letter, with its latency.
    fn of(labels: &str, latencies_ms: &[i64], truth: &StreamTruth, speed: f64) -> String {
        let labelled = labels.chars().enumerate().filter(|(_, c)| *c != '.');
        let rows: Vec<FaceRow> = labelled
            .map(|(index, label)| FaceRow {
                sequence: index as u64,
                pts_us: index as i64 * 100_000,
                label: Some(label.to_string().into()),
                latency_us: Some(latencies_ms[index % latencies_ms.len()] * 1000),
                ..FaceRow::default()
            })
            .collect();
        let matched: Vec<_> = rows
            .iter()
            .map(|row| truth[&row.sequence].faces.first())
            .collect();
        let moments = moments(&rows, &matched, truth, speed).unwrap();
        let marks = moments.iter().map(|m| if m.is_right { 'r' } else { 'w' });
        marks.collect()
    }

    #[test]
    fn latency_makes_the_label_of_now_late() {
        let truth = truth("aaabbb");
        assert_eq!(of("aaabbb", &[0], &truth, 1.0), "rrrrrr");
        assert_eq!(of("aaabbb", &[1], &truth, 1.0), "wrrwrr");
        assert_eq!(of("aaabbb", &[100], &truth, 1.0), "wrrwrr");
        assert_eq!(of("aaabbb", &[101], &truth, 1.0), "wwrwwr");
        assert_eq!(of("aaabbb", &[50], &truth, 3.0), "wwrwwr");
    }

    #[test]
    fn frames_that_were_dropped_are_judged_by_what_was_there() {
        let truth = truth("aaabbb");
        assert_eq!(of("a....b", &[0], &truth, 1.0), "rrrwwr");
        assert_eq!(of("......", &[0], &truth, 1.0), "wwwwww");
    }

    #[test]
    fn a_label_that_comes_late_does_not_replace_a_newer_one() {
        // The a of 200 ms comes at 450 ms, after the b of 300 ms.
        let truth = truth("aaabbb");
        assert_eq!(of("..abbb", &[0, 0, 250, 0, 0, 0], &truth, 1.0), "wwwrrr");
    }

    #[test]
    fn without_latencies_nothing_is_said() {
        let truth = truth("a");
        let row = FaceRow {
            label: Some("a".into()),
            ..FaceRow::default()
        };
        assert_eq!(
            moments(&[row], &[truth[&0].faces.first()], &truth, 1.0),
            None
        );
    }

    proptest! {
        #[test]
        fn with_no_latency_and_every_frame_it_is_the_plain_agreement(truth_of in "[ab]{1,30}", seen in "[ab]{30}") {
            let truth = truth(&truth_of);
            let seen: String = seen.chars().take(truth_of.len()).collect();
            let expected: String = truth_of.chars().zip(seen.chars()).map(|(t, s)| if t == s { 'r' } else { 'w' }).collect();
            prop_assert_eq!(of(&seen, &[0], &truth, 1.0), expected);
        }
    }
}
