//! How often a label is the true one.

use std::collections::BTreeMap;

use super::faces::{FaceRow, Label};
use super::truth::TrueFace;

/// Right ones of those that were judged. (Additive.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) right: u64,
    pub(super) all: u64,
}

impl Judged {
    /// Judges one.
    pub(super) fn add(&mut self, is_right: bool) {
        self.right += u64::from(is_right);
        self.all += 1;
    }

    /// Takes over what another has judged.
    pub(super) fn join(&mut self, other: Self) {
        self.right += other.right;
        self.all += other.all;
    }

    /// The share of right ones; none of nothing.
    pub(super) fn share(self) -> Option<f64> {
        (self.all > 0).then(|| self.right as f64 / self.all as f64)
    }
}

/// Whether a row's label is true; none if one of the two is not known.
pub(super) fn is_right(label: Option<&Label>, truth: Option<&Label>) -> Option<bool> {
    Some(label? == truth?)
}

/// Half the width of the window in which a label must be right all the time, microseconds.
const AROUND_US: i64 = 500_000;

/// How many labelled rows are right together with every labelled row of the same face within half a second before and
/// behind (both ends included): what flickers around the truth is right often and never for long.
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
