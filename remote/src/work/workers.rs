//! The workers of a job as its coordinator knows them from their reports: who they are, how fast, who lags. Independent
//! of network and clock.

use std::collections::BTreeMap;

use super::records::WorkerReport;

/// Most workers that are remembered.
const MOST: usize = 1000;
/// A worker lags when it is slower than this share of the median.
const LAGS_BELOW: f64 = 0.5;

/// A worker, as of its last report.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerNow {
    /// Its last report.
    pub report: WorkerReport,
    /// Rows per second, from its first report to its last.
    pub rows_per_s: f64,
    /// How long ago it was last heard of, in seconds.
    pub silent_s: f64,
    /// Whether it is much slower than the others.
    pub lags: bool,
}

/// How much of a worker's results was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Units.
    pub units: u64,
    /// Rows in these units.
    pub rows: u64,
}

/// State of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobNow {
    /// Its workers by name, including those that are gone or do not take part; at most a thousand.
    pub workers: Vec<WorkerNow>,
    /// Late results that were discarded, of workers that are no longer among these.
    pub late_of_forgotten: u64,
    /// Why the coordinator makes no progress, once that has lasted.
    pub obstacle: Option<String>,
    /// What was used of results, by worker: as counted here, not as workers report it.
    pub counted: BTreeMap<String, Counted>,
    /// Units that are handed out.
    pub handed_out: usize,
    /// Units that had to be published again, since nobody had them and there was no result.
    pub republished: u64,
    /// Results that were rejected or that the server has lost, and that are computed again.
    pub rejected: u64,
    /// Messages and records from the network that could not be used: they could not be read, or they were reports of
    /// workers for which there was no room.
    pub malformed: u64,
}

impl JobNow {
    /// Returns how many results came too late and were discarded.
    pub fn late(&self) -> u64 {
        let late = self.workers.iter().map(|worker| worker.report.late);
        // Workers may report any number.
        late.fold(self.late_of_forgotten, u64::saturating_add)
    }

    /// Returns the workers that take part and have been heard of within a lease.
    pub fn active(&self, lease_s: f64) -> impl Iterator<Item = &WorkerNow> {
        self.workers.iter().filter(move |worker| {
            let report = &worker.report;
            !report.ends && report.refuses.is_none() && worker.silent_s <= lease_s
        })
    }
}

struct Known {
    report: WorkerReport,
    first_ms: u64,
    last_ms: u64,
}

/// All workers that have been heard of.
#[derive(Default)]
pub(crate) struct Workers {
    known: BTreeMap<String, Known>,
    late_of_forgotten: u64,
}

/// What is new in a worker's report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    Joined,
    Refuses,
    Ended,
    /// It makes no progress, for this reason.
    StandsStill(String),
    /// It makes progress again.
    GoesOn,
    Nothing,
    /// Too many workers are known.
    TooMany,
}

impl Workers {
    /// Takes in a worker's report. If too many are known, forgets one that has been silent for longer than `silent_ms`.
    pub(crate) fn heard(&mut self, report: WorkerReport, now_ms: u64, silent_ms: u64) -> News {
        let is_new = !self.known.contains_key(&report.worker);
        if is_new && self.known.len() >= MOST && !self.makes_room(now_ms, silent_ms) {
            return News::TooMany;
        }
        let known = self
            .known
            .entry(report.worker.clone())
            .or_insert_with(|| Known {
                report: WorkerReport::default(),
                first_ms: now_ms,
                last_ms: now_ms,
            });
        let before = std::mem::replace(&mut known.report, report);
        known.last_ms = now_ms;
        if known.report.refuses.is_some() && before.refuses.is_none() {
            News::Refuses
        } else if known.report.ends && !before.ends {
            News::Ended
        } else if known.report.obstacle.is_some() != before.obstacle.is_some() {
            let obstacle = known.report.obstacle.clone();
            obstacle.map_or(News::GoesOn, News::StandsStill)
        } else if is_new {
            News::Joined
        } else {
            News::Nothing
        }
    }

    /// Forgets a silent worker, preferably one that has done nothing. Returns whether there was one.
    fn makes_room(&mut self, now_ms: u64, silent_ms: u64) -> bool {
        let silent = |known: &Known| now_ms.saturating_sub(known.last_ms) > silent_ms;
        let silent = self.known.iter().filter(|(_, known)| silent(known));
        let first = silent.min_by_key(|(_, known)| (known.report.units > 0, known.last_ms));
        let Some(worker) = first.map(|(worker, _)| worker.clone()) else {
            return false;
        };
        if let Some(known) = self.known.remove(&worker) {
            self.late_of_forgotten = self.late_of_forgotten.saturating_add(known.report.late);
        }
        true
    }

    /// Returns how many results of forgotten workers came too late.
    pub(crate) fn late_of_forgotten(&self) -> u64 {
        self.late_of_forgotten
    }

    pub(crate) fn now(&self, now_ms: u64) -> Vec<WorkerNow> {
        let s = |ms: u64| ms as f64 / 1000.0;
        let of = |known: &Known| {
            // From the first report to the last: a worker that is gone does not become slower.
            let lasted = s(known.last_ms - known.first_ms);
            WorkerNow {
                report: known.report.clone(),
                rows_per_s: if lasted > 0.0 {
                    known.report.rows as f64 / lasted
                } else {
                    0.0
                },
                silent_s: s(now_ms.saturating_sub(known.last_ms)),
                lags: false,
            }
        };
        let mut workers: Vec<WorkerNow> = self.known.values().map(of).collect();
        let mut rates: Vec<f64> = workers
            .iter()
            .filter(|worker| worker.report.rows > 0)
            .map(|worker| worker.rows_per_s)
            .collect();
        rates.sort_by(f64::total_cmp);
        if let [_, _, ..] = rates[..] {
            let median = rates[rates.len() / 2];
            for worker in &mut workers {
                worker.lags = worker.report.rows > 0 && worker.rows_per_s < LAGS_BELOW * median;
            }
        }
        workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(worker: &str, rows: u64) -> WorkerReport {
        WorkerReport {
            worker: worker.to_owned(),
            rows,
            ..WorkerReport::default()
        }
    }

    #[test]
    fn rates_and_who_lags_are_known_from_what_workers_say() {
        let mut workers = Workers::default();
        for worker in ["a", "b", "c"] {
            assert_eq!(workers.heard(report(worker, 0), 1000, 5000), News::Joined);
        }
        for (worker, rows) in [("a", 100), ("b", 110), ("c", 20)] {
            assert_eq!(
                workers.heard(report(worker, rows), 11_000, 5000),
                News::Nothing
            );
        }
        let now = workers.now(12_000);
        let rates: Vec<f64> = now.iter().map(|worker| worker.rows_per_s).collect();
        assert_eq!(rates, [10.0, 11.0, 2.0]);
        let lags: Vec<bool> = now.iter().map(|worker| worker.lags).collect();
        assert_eq!(lags, [false, false, true]);
        assert_eq!(now[0].silent_s, 1.0);
        let refusing = WorkerReport {
            refuses: Some("other weights".to_owned()),
            ..report("d", 0)
        };
        assert_eq!(workers.heard(refusing.clone(), 12_000, 5000), News::Refuses);
        assert_eq!(workers.heard(refusing, 13_000, 5000), News::Nothing);
        let job = JobNow {
            workers: workers.now(13_000),
            ..JobNow::default()
        };
        assert_eq!(job.active(5.0).count(), 3);
        assert_eq!(job.active(1.0).count(), 0);
    }
}
