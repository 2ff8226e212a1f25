//! The life (incarnation) of a machine's part of a site: what a part that was killed and started again knows of its
//! earlier lives.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A life (incarnation) of a part. A program that resumes a part that was killed lends it to its actors as a service;
/// without one, a run is the first life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Number of times the part has been started, from 1.
    pub number: u64,
    /// For each stream that comes from another machine, the sequence below which all sinks had settled and flushed
    /// everything before this life began (0 in the first). What is above is sent again. The sequences of these streams
    /// continue over lives; those of others begin anew.
    pub settled: BTreeMap<String, u64>,
    /// When the first life in the run's folder began, by this machine's clock. Unknown if earlier lives had another
    /// folder.
    pub since: Option<SystemTime>,
}

/// Lag of the clock by which file systems stamp files.
const STAMP_LAG: Duration = Duration::from_secs(1);

/// Size of the range of numbers that each life may give out.
const RANGE: u64 = 1_000_000_000;

impl Life {
    /// Returns the first number above those that earlier lives may have given out: each life has a range of a billion.
    /// Life numbers are assigned by the site under the condition that nobody else takes the same one, so no two lives
    /// share a range.
    pub fn numbers_from(&self) -> u64 {
        self.number.saturating_sub(1).saturating_mul(RANGE)
    }

    /// Returns whether an earlier life of this part wrote a file that exists; none if that is unknown.
    pub fn wrote(&self, file: &Path) -> Option<bool> {
        let changed = file.metadata().and_then(|found| found.modified()).ok();
        match (self.number, changed) {
            (0 | 1, _) | (_, None) => Some(false),
            (_, Some(changed)) => self.since.map(|since| changed + STAMP_LAG >= since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_older_than_the_first_life_is_another_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("faces.csv");
        let now = SystemTime::now();
        let of = |number, since| Life {
            number,
            since,
            ..Life::default()
        };
        assert_eq!(of(2, None).wrote(&path), Some(false), "it is not there");
        std::fs::write(&path, "rows").expect("a file");
        assert_eq!(of(1, Some(now)).wrote(&path), Some(false));
        assert_eq!(of(2, Some(now)).wrote(&path), Some(true));
        let later = now + Duration::from_secs(60);
        assert_eq!(of(2, Some(later)).wrote(&path), Some(false));
        assert_eq!(of(2, None).wrote(&path), None);
    }

    #[test]
    fn lives_share_no_numbers() {
        let of = |number| Life {
            number,
            ..Life::default()
        };
        assert_eq!(of(0).numbers_from(), 0);
        assert_eq!(of(1).numbers_from(), 0);
        assert_eq!(of(2).numbers_from(), RANGE);
        assert_eq!(of(3).numbers_from(), 2 * RANGE);
    }
}
