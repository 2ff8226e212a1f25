//! How often a label changes from one labelled row of a track to the next.

use super::faces::Label;

/// The flip counts of a track. (Additive over parts of a track.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flips {
    /// Neighbouring rows with different labels.
    pub(super) flips: u64,
    /// Neighbouring rows.
    pub(super) pairs: u64,
    /// Time between neighbouring rows, microseconds; steps back in time count as 0.
    pub(super) time_us: i64,
}

/// A pair of neighbouring labelled rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// Time of the second row, microseconds.
    pub(super) pts_us: i64,
    pub(super) is_flip: bool,
    pub(super) time_us: i64,
}

/// Returns the pairs of a track, from its rows' times and labels in order; rows without a label are skipped.
pub(super) fn pairs<'a>(
    rows: impl Iterator<Item = (i64, Option<&'a Label>)>,
) -> impl Iterator<Item = Pair> {
    let mut before: Option<(i64, &Label)> = None;
    let labelled = rows.filter_map(|(pts_us, label)| Some((pts_us, label?)));
    labelled.filter_map(move |(pts_us, label)| {
        let (from_us, old) = before.replace((pts_us, label))?;
        Some(Pair {
            pts_us,
            is_flip: old != label,
            time_us: (pts_us - from_us).max(0),
        })
    })
}

impl Flips {
    /// Adds a pair.
    pub(super) fn add(&mut self, pair: Pair) {
        self.pairs += 1;
        self.flips += u64::from(pair.is_flip);
        self.time_us += pair.time_us;
    }

    /// Counts these pairs.
    pub(super) fn of(pairs: impl Iterator<Item = Pair>) -> Self {
        let mut flips = Self::default();
        pairs.for_each(|pair| flips.add(pair));
        flips
    }
}

/// Returns the mean over tracks of the share of pairs that are flips, ignoring tracks without pairs. None if no track
/// has pairs.
pub(super) fn rate(tracks: &[Flips]) -> Option<f64> {
    let rates = tracks.iter().filter(|track| track.pairs > 0);
    let rates: Vec<f64> = rates
        .map(|track| track.flips as f64 / track.pairs as f64)
        .collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}

/// Returns the flips per minute of labelled track time. None if no time passes.
pub(super) fn per_minute(tracks: &[Flips]) -> Option<f64> {
    let flips: u64 = tracks.iter().map(|track| track.flips).sum();
    let time_us: i64 = tracks.iter().map(|track| track.time_us).sum();
    (time_us > 0).then(|| flips as f64 * 60e6 / time_us as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(rows: &[(i64, &str)]) -> Flips {
        let labels: Vec<(i64, Option<Label>)> = rows
            .iter()
            .map(|(ms, label)| (ms * 1000, (!label.is_empty()).then(|| Label::from(*label))))
            .collect();
        Flips::of(pairs(
            labels.iter().map(|(us, label)| (*us, label.as_ref())),
        ))
    }

    #[test]
    fn rows_without_a_label_are_passed_over() {
        let flips = of(&[(0, "a"), (40, ""), (100, "b"), (140, "b"), (200, "")]);
        assert_eq!((flips.flips, flips.pairs, flips.time_us), (1, 2, 140_000));
    }

    #[test]
    fn a_track_of_one_row_is_no_track_without_flips() {
        let one = of(&[(0, "a")]);
        let two = of(&[(0, "a"), (40, "b"), (80, "a")]);
        assert_eq!(rate(&[one, two]), Some(1.0));
        assert_eq!(rate(&[one]), None);
        assert_eq!(per_minute(&[one]), None);
    }

    #[test]
    fn tracks_weigh_the_same_in_the_rate_and_by_their_time_in_the_minute() {
        let restless = of(&[(0, "a"), (500, "b"), (1000, "a")]);
        let calm = of(&[(0, "a"), (1000, "a"), (2000, "a"), (3000, "a"), (4000, "b")]);
        assert_eq!(rate(&[restless, calm]), Some(0.625));
        assert_eq!(per_minute(&[restless, calm]), Some(36.0));
    }

    proptest! {
        #[test]
        fn a_rate_is_a_share_and_parts_add_up(labels in prop::collection::vec(0..3_u8, 2..50), cut in 0..48_usize) {
            let rows: Vec<(i64, Label)> = labels.iter().enumerate()
                .map(|(i, label)| (i as i64 * 40_000, Label::from(label.to_string())))
                .collect();
            let all: Vec<Pair> = pairs(rows.iter().map(|(us, label)| (*us, Some(label)))).collect();
            let whole = Flips::of(all.iter().copied());
            prop_assert!((0.0..=1.0).contains(&rate(&[whole]).unwrap()));
            let (one, other) = all.split_at(cut.min(all.len()));
            let (one, other) = (Flips::of(one.iter().copied()), Flips::of(other.iter().copied()));
            prop_assert_eq!(whole.flips, one.flips + other.flips);
            prop_assert_eq!(whole.time_us, one.time_us + other.time_us);
        }
    }
}
