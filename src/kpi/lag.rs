//! How much later the smoothed label changes than the raw one.

use super::faces::Label;

/// Minimum duration of a raw label that counts as a lasting change, microseconds.
const LASTING_US: i64 = 500_000;

/// A row of a track.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labelled<'a> {
    pub(super) pts_us: i64,
    pub(super) raw: Option<&'a Label>,
    pub(super) smoothed: Option<&'a Label>,
}

/// A lasting change that was followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Followed {
    /// Time of the raw label's change, microseconds.
    pub(super) at_us: i64,
    /// Time from there to the smoothed label's change, milliseconds.
    pub(super) lag_ms: f64,
}

/// How the smoothed label of a track follows the raw one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lags {
    pub(super) followed: Vec<Followed>,
    /// Lasting changes that the smoothed label did not follow before the next one or the end of the track.
    pub(super) not_followed: u64,
}

/// Returns the lags of a track, from its rows in order.
///
/// A run of equal raw labels lasts from its first row to the first row of the next run (the last run: to its last row).
/// A lasting change is the beginning of a run of half a second or more whose label differs from that of the previous
/// such run; flickering in between is ignored. The smoothed label follows at the first row from there on that has the
/// new label.
pub(super) fn lags(rows: &[Labelled<'_>]) -> Lags {
    let changes = lasting_changes(rows);
    let mut lags = Lags::default();
    for (index, &(start, label)) in changes.iter().enumerate() {
        let end = changes.get(index + 1).map_or(rows.len(), |next| next.0);
        let followed = rows[start..end]
            .iter()
            .find(|row| row.smoothed == Some(label));
        match followed {
            Some(row) => {
                let at_us = rows[start].pts_us;
                let lag_ms = (row.pts_us - at_us) as f64 / 1e3;
                lags.followed.push(Followed { at_us, lag_ms });
            }
            None => lags.not_followed += 1,
        }
    }
    lags
}

/// Returns the rows at which lasting changes of the raw label begin, with the new label.
fn lasting_changes<'a>(rows: &[Labelled<'a>]) -> Vec<(usize, &'a Label)> {
    let labelled = rows.iter().enumerate();
    let labelled: Vec<_> = labelled
        .filter_map(|(index, row)| Some((index, row.pts_us, row.raw?)))
        .collect();
    let mut changes = Vec::new();
    let mut standing: Option<&Label> = None;
    let mut start = 0;
    for run in labelled.chunk_by(|a, b| a.2 == b.2) {
        start += run.len();
        let end_us = labelled
            .get(start)
            .map_or(run[run.len() - 1].1, |next| next.1);
        let (index, from_us, label) = run[0];
        if end_us - from_us < LASTING_US {
            continue;
        }
        if standing.is_some_and(|standing| standing != label) {
            changes.push((index, label));
        }
        standing = Some(label);
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Makes a row every 100 ms; `.` is no label.
    fn lags_of(raw: &str, smoothed: &str) -> Lags {
        let label = |c: char| (c != '.').then(|| Label::from(c.to_string()));
        let rows: Vec<_> = raw
            .chars()
            .zip(smoothed.chars())
            .map(|(raw, smoothed)| (label(raw), label(smoothed)))
            .collect();
        let rows: Vec<_> = rows
            .iter()
            .enumerate()
            .map(|(index, (raw, smoothed))| Labelled {
                pts_us: index as i64 * 100_000,
                raw: raw.as_ref(),
                smoothed: smoothed.as_ref(),
            })
            .collect();
        lags(&rows)
    }

    /// Returns the lags, and how many changes were not followed.
    fn of(raw: &str, smoothed: &str) -> (Vec<f64>, u64) {
        let lags = lags_of(raw, smoothed);
        let followed = lags.followed.iter().map(|change| change.lag_ms);
        (followed.collect(), lags.not_followed)
    }

    fn followed(lags_ms: &[f64], not_followed: u64) -> (Vec<f64>, u64) {
        (lags_ms.to_vec(), not_followed)
    }

    #[test]
    fn the_lag_runs_from_the_raw_change_to_the_smoothed_one() {
        assert_eq!(of("aaaaaabbbbbbb", "aaaaaaaaabbbb"), followed(&[300.0], 0));
        assert_eq!(
            lags_of("aaaaaabbbbbbb", "aaaaaaaaabbbb").followed[0].at_us,
            600_000
        );
    }

    #[test]
    fn what_does_not_last_is_no_change() {
        assert_eq!(of("aaaaaabbbbaaaaaa", "aaaaaaaaaaaaaaaa"), followed(&[], 0));
        // A blip does not end a lasting label: b lasts from its first row that does.
        assert_eq!(
            of("aaaaaabbabbbbbb", "aaaaaaaaaabbbbb"),
            followed(&[100.0], 0)
        );
        assert_eq!(of("aaaaaacaaaaaa", "aaaaaacaaaaaa"), followed(&[], 0));
    }

    #[test]
    fn a_change_that_is_not_followed_is_counted() {
        assert_eq!(
            of("aaaaaabbbbbcccccc", "aaaaaaaaaaaaacccc"),
            followed(&[200.0], 1)
        );
        assert_eq!(of("aaaaaabbbbbb", "aaaaaaaaaaaa"), followed(&[], 1));
    }

    #[test]
    fn half_a_second_lasts_and_less_does_not() {
        // The last run ends at its last row.
        assert_eq!(of("aaaaaabbbbbb", "aaaaaabbbbbb"), followed(&[0.0], 0));
        assert_eq!(of("aaaaaabbbbb", "aaaaaabbbbb"), followed(&[], 0));
        // Any other run ends where the next one begins.
        assert_eq!(of("aaaaaabbbbbc", "aaaaaabbbbbc"), followed(&[0.0], 0));
    }

    #[test]
    fn rows_without_a_label_neither_end_a_run_nor_follow() {
        assert_eq!(of("aaaaaabb.bbbb", "aaaaaa...bbbb"), followed(&[300.0], 0));
        assert_eq!(of("", ""), followed(&[], 0));
    }

    proptest! {
        #[test]
        fn a_delayed_label_lags_by_its_delay(delay in 0..4_usize, runs in prop::collection::vec(7..15_usize, 2..6)) {
            let letters = |runs: &[usize]| -> String {
                runs.iter().enumerate().map(|(i, len)| ["a", "b", "c"][i % 3].repeat(*len)).collect()
            };
            let raw = letters(&runs);
            let late = format!("{}{raw}", "a".repeat(delay));
            let (lags, not_followed) = of(&raw, &late);
            prop_assert_eq!(not_followed, 0);
            prop_assert_eq!(lags, vec![delay as f64 * 100.0; runs.len() - 1]);
        }
    }
}
