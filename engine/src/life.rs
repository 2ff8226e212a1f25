//! Which life of its machine's part a run is: what a part of a site that was killed and started again is told of those
//! before.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Which life of a part a run is. A program that takes up a part that was killed lends it to its actors as a service;
/// without one a run is the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// How often the part has been started: 1 and above.
    pub number: u64,
    /// By stream that comes from another machine: below which sequence all sinks had settled and flushed everything
    /// before this life began (0 in the first). What is above comes again. Sequences of these streams go on over lives;
    /// those of others begin anew.
    pub settled: BTreeMap<String, u64>,
    /// When the first life in the run's folder began, by this machine's clock. Not known where earlier lives had
    /// another folder.
    pub since: Option<SystemTime>,
}

/// File systems stamp files by a clock that lags behind.
const STAMP_LAG: Duration = Duration::from_secs(1);

/// Numbers that each life may give out.
const RANGE: u64 = 1_000_000_000;

impl Life {
    /// Behind the numbers that earlier lives may have given out: each life has a range of a billion of its own. Lives
    /// are numbered by the site, under the condition that nobody else takes the number, so that no two share a range.
    pub fn numbers_from(&self) -> u64 {
        self.number.saturating_sub(1).saturating_mul(RANGE)
    }

    /// Whether an earlier life of this part wrote a file that is there; none if nobody knows.
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
