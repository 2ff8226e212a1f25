//! How often a label is the true one.

use std::collections::BTreeMap;

use super::faces::{FaceRow, Label};
use super::truth::TrueFace;

/// The number of correct ones among those judged. (Additive.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) right: u64,
    pub(super) all: u64,
}

impl Judged {
    /// Adds one judgement.
    pub(super) fn add(&mut self, is_right: bool) {
        self.right += u64::from(is_right);
        self.all += 1;
    }

    /// Adds the judgements of another.
    pub(super) fn join(&mut self, other: Self) {
        self.right += other.right;
        self.all += other.all;
    }

    /// Returns the share of correct ones; none if nothing was judged.
    pub(super) fn share(self) -> Option<f64> {
        (self.all > 0).then(|| self.right as f64 / self.all as f64)
    }
}

/// Returns whether a row's label is correct; none if either label is unknown.
pub(super) fn is_right(label: Option<&Label>, truth: Option<&Label>) -> Option<bool> {
    Some(label? == truth?)
}

/// Half the width of the window in which a label must always be correct, microseconds.
const AROUND_US: i64 = 500_000;

/// Counts the labelled rows that are correct together with every labelled row of the same face within half a second
/// before and after (both ends included): a label that flickers around the truth is often correct, but never for long.
pub(super) fn right_around(rows: &[FaceRow], matched: &[Option<&TrueFace>]) -> Judged {
    let mut faces = BTreeMap::<u64, Vec<(i64, bool)>>::new();
    for (row, face) in rows.iter().zip(matched) {
        if let Some(face) = face
            && let Some(is_right) = is_right(row.label.as_ref(), Some(&face.label))
        {
            let judged = faces.entry(face.face).or_default();
            judged.push((row.pts_us, is_right));
        }
    }
    let mut around = Judged::default();
    for judged in faces.values_mut() {
        judged.sort_unstable();
        let wrong = judged.iter().filter(|(_, is_right)| !is_right);
        let wrong: Vec<i64> = wrong.map(|(pts_us, _)| *pts_us).collect();
        for (pts_us, _) in judged {
            let next = wrong.partition_point(|wrong_us| *wrong_us < *pts_us - AROUND_US);
            let is_right = wrong
                .get(next)
                .is_none_or(|wrong_us| *wrong_us > *pts_us + AROUND_US);
            around.add(is_right);
        }
    }
    around
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_row_spoils_half_a_second_on_both_sides() {
        let face = TrueFace {
            face: 0,
            rect: [0.0; 4],
            label: "a".into(),
        };
        let row = |ms: i64, label: &str| FaceRow {
            pts_us: ms * 1000,
            label: Some(label.into()),
            ..FaceRow::default()
        };
        let rows: Vec<FaceRow> = (0..21)
            .map(|index| row(index * 100, if index == 10 { "b" } else { "a" }))
            .collect();
        let matched = vec![Some(&face); rows.len()];
        let around = right_around(&rows, &matched);
        // 500 to 1500 ms are spoilt.
        assert_eq!((around.right, around.all), (10, 21));
        assert_eq!(right_around(&rows, &vec![None; rows.len()]).share(), None);
    }
}
