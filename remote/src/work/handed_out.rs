//! What a coordinator knows of the units that it has handed out, and of its workers, independent of network and clock.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::decision::Heard;
use super::records::ResultRecord;
use super::workers::{Counted, JobNow, Workers};

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
    pub(super) workers: Workers,
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

    /// Returns a unit's result, if it is here.
    ///
    /// # Errors
    /// The unit was given up, for this reason.
    pub(super) fn result(&self, unit: u64) -> Result<Option<Returned>, String> {
        match self.units.get(&unit).map(|known| &known.unit) {
            Some(Unit::Here(_, returned)) => Ok(Some(returned.clone())),
            Some(Unit::Failed(reason)) => Err(reason.clone()),
            _ => Ok(None),
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
        assert_eq!(units.result(1).unwrap_err(), "three died");
    }
}
