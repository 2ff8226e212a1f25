//! What a coordinator knows of the units that it has handed out, and of its workers, independent of network and clock.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::decision::Heard;
use super::error::NoResult;
use super::hindrance::Hindrance;
use super::records::{ResultRecord, WorkerReport};
use super::workers::{Counted, JobNow, News, Workers};

/// A unit's result.
#[derive(Clone, Debug)]
pub struct Returned {
    /// The worker that computed it.
    pub worker: String,
    /// Its bytes, which have the hash that was committed.
    pub bytes: Bytes,
}

enum Unit {
    /// Handed out.
    Out,
    /// Its result is here.
    Here(ResultRecord, Returned),
    /// Its result was taken, or rejected.
    Leaving(Left),
    /// It was given up.
    Failed(String),
}

/// A result that is no longer needed; with a reason if it was rejected.
#[derive(Clone)]
pub(super) struct Left {
    pub(super) record: ResultRecord,
    pub(super) rejected: Option<String>,
}

struct HandedOut {
    unit: Unit,
    /// Whether it has been in the queue.
    was_published: bool,
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Units {
    units: BTreeMap<u64, HandedOut>,
    counted: BTreeMap<String, Counted>,
    pub(super) heard: Heard,
    workers: Workers,
    pub(super) hindrance: Hindrance,
    /// Why no more results will come.
    gone: Option<NoResult>,
    republished: u64,
    rejected: u64,
    pub(super) malformed: u64,
}

impl Units {
    pub(super) fn hand_out(&mut self, unit: u64) {
        let handed_out = HandedOut {
            unit: Unit::Out,
            was_published: false,
        };
        self.units.insert(unit, handed_out);
    }

    /// Forgets a unit: nobody waits for it any more, or nothing is left to do about it.
    pub(super) fn forget(&mut self, unit: u64) {
        self.units.remove(&unit);
    }

    /// Takes in a worker's report. Keeps nothing of a worker for which there is no room.
    pub(super) fn heard(&mut self, report: WorkerReport, now_ms: u64, lease_ms: u64) -> News {
        let (worker, ends) = (report.worker.clone(), report.ends);
        let news = self.workers.heard(report, now_ms, lease_ms);
        if news == News::TooMany {
            self.malformed += 1;
        } else if !ends {
            self.heard.heard(&worker, now_ms);
        }
        self.heard.forget(now_ms.saturating_sub(lease_ms));
        news
    }

    /// Records why no more results will come.
    pub(super) fn is_gone(&mut self, reason: NoResult) {
        self.gone = Some(reason);
    }

    /// Returns a unit's result, if it is here.
    ///
    /// # Errors
    /// The unit will have no result.
    pub(super) fn result(&self, unit: u64) -> Result<Option<Returned>, NoResult> {
        match self.units.get(&unit).map(|known| &known.unit) {
            Some(Unit::Here(_, returned)) => Ok(Some(returned.clone())),
            Some(Unit::Failed(reason)) => Err(NoResult::GivenUp(reason.clone())),
            _ => self.gone.clone().map_or(Ok(None), Err),
        }
    }

    /// Records that a result has been used, and how many rows it has.
    pub(super) fn taken(&mut self, unit: u64, rows: u64) {
        if let Some(record) = self.leave(unit, None) {
            let counted = self.counted.entry(record.worker).or_default();
            counted.units += 1;
            counted.rows += rows;
        }
    }

    /// Rejects a result that is not what it should be.
    pub(super) fn reject(&mut self, unit: u64, reason: &str) {
        self.leave(unit, Some(reason.to_owned()));
    }

    fn leave(&mut self, unit: u64, rejected: Option<String>) -> Option<ResultRecord> {
        let known = self.units.get_mut(&unit)?;
        let Unit::Here(record, _) = &known.unit else {
            return None;
        };
        let record = record.clone();
        known.unit = Unit::Leaving(Left {
            record: record.clone(),
            rejected,
        });
        Some(record)
    }

    /// Records that a result has come.
    pub(super) fn here(&mut self, unit: u64, record: ResultRecord, bytes: Bytes) {
        let returned = Returned {
            worker: record.worker.clone(),
            bytes,
        };
        self.set(unit, Unit::Here(record, returned));
    }

    /// Records that a result that was not used is gone: the unit is handed out again.
    pub(super) fn out_again(&mut self, unit: u64) {
        self.rejected += 1;
        self.set(unit, Unit::Out);
    }

    pub(super) fn failed(&mut self, unit: u64, reason: String) {
        self.set(unit, Unit::Failed(reason));
    }

    fn set(&mut self, unit: u64, now: Unit) {
        // It may have been withdrawn meanwhile.
        if let Some(known) = self.units.get_mut(&unit) {
            known.unit = now;
        }
    }

    /// Records that the unit was put into the queue. Returns whether it had been there before: then nobody had it, and
    /// it had no result.
    pub(super) fn published(&mut self, unit: u64) -> bool {
        let known = self.units.get_mut(&unit);
        let again = known.is_some_and(|known| std::mem::replace(&mut known.was_published, true));
        self.republished += u64::from(again);
        again
    }

    /// Returns the units that are out.
    pub(super) fn out(&self) -> Vec<u64> {
        let out = self.units.iter();
        let out = out.filter(|(_, known)| matches!(known.unit, Unit::Out));
        out.map(|(unit, _)| *unit).collect()
    }

    /// Returns the units whose results are to be removed.
    pub(super) fn leaving(&self) -> Vec<(u64, Left)> {
        let of = |(unit, known): (&u64, &HandedOut)| match &known.unit {
            Unit::Leaving(left) => Some((*unit, left.clone())),
            _ => None,
        };
        self.units.iter().filter_map(of).collect()
    }

    pub(super) fn now(&self, now_ms: u64) -> JobNow {
        JobNow {
            workers: self.workers.now(now_ms),
            late_of_forgotten: self.workers.late_of_forgotten(),
            obstacle: self.hindrance.reason(),
            counted: self.counted.clone(),
            handed_out: self.units.len(),
            republished: self.republished,
            rejected: self.rejected,
            malformed: self.malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(worker: &str) -> ResultRecord {
        ResultRecord {
            attempt: 1,
            sha256: "ab".repeat(32),
            size: 3,
            worker: worker.to_owned(),
        }
    }

    #[test]
    fn a_result_counts_for_its_worker_once_it_is_used_and_one_that_is_rejected_for_nobody() {
        let mut units = Units::default();
        for unit in 0..2 {
            units.hand_out(unit);
            assert!(!units.published(unit));
        }
        assert!(units.published(1), "it was there before");
        units.here(0, record("a"), Bytes::from_static(b"one"));
        units.here(1, record("b"), Bytes::from_static(b"two"));
        assert_eq!(units.out(), [0; 0]);
        assert_eq!(units.result(0).unwrap().unwrap().worker, "a");
        units.taken(0, 8);
        units.taken(0, 8);
        units.reject(1, "other rows");
        let leaving = units.leaving();
        assert_eq!(leaving[1].1.rejected.as_deref(), Some("other rows"));
        units.forget(0);
        units.out_again(1);
        assert_eq!(units.out(), [1]);
        let now = units.now(0);
        let counted: Vec<_> = now.counted.iter().collect();
        assert_eq!(
            counted,
            [(&"a".to_owned(), &Counted { units: 1, rows: 8 })],
            "counted once"
        );
        assert_eq!((now.handed_out, now.republished, now.rejected), (1, 1, 1));
        units.failed(1, "three died".to_owned());
        let given_up = NoResult::GivenUp("three died".to_owned());
        assert_eq!(units.result(1).unwrap_err(), given_up);
    }

    #[test]
    fn a_unit_whose_result_is_here_has_it_when_the_job_is_gone_and_the_others_have_the_reason() {
        let mut units = Units::default();
        units.hand_out(0);
        units.hand_out(1);
        units.here(0, record("a"), Bytes::from_static(b"one"));
        let gone = NoResult::JobGone {
            job: "job".to_owned(),
            missing: "its name is missing".to_owned(),
        };
        units.is_gone(gone.clone());
        assert_eq!(units.result(0).unwrap().unwrap().bytes[..], *b"one");
        assert_eq!(units.result(1).unwrap_err(), gone);
    }

    #[test]
    fn however_many_names_are_heard_no_more_than_a_thousand_are_kept_and_whoever_is_silent_makes_room()
     {
        let mut units = Units::default();
        let report = |number: u64| WorkerReport {
            worker: format!("w{number}"),
            units: u64::from(number == 0),
            late: 1,
            ..WorkerReport::default()
        };
        let kept = |units: &Units| (units.workers.now(0).len(), units.heard.last_ms.len());
        let mut refused = 0;
        for number in 0..5000 {
            refused += u64::from(units.heard(report(number), 0, 100) == News::TooMany);
        }
        assert_eq!(
            (kept(&units), refused, units.malformed),
            ((1000, 1000), 4000, 4000)
        );
        // A lease later all of them are silent; the one that did something stays longest.
        for number in 5000..5999 {
            assert_eq!(units.heard(report(number), 101, 100), News::Joined);
        }
        assert_eq!(kept(&units), (1000, 999));
        let now = units.now(101);
        assert_eq!(now.workers[0].report.worker, "w0");
        assert_eq!((now.late_of_forgotten, now.late()), (999, 1999));
        assert!(!units.heard.is_silent("w5998", 201, 100));
        assert!(
            units.heard.is_silent("w1", 101, 100),
            "as before it was forgotten"
        );
    }
}
