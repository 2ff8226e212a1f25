//! Records in a job's buckets, and workers' reports: JSON, so that `nats kv get` shows them. Owns their forms and
//! limits: everything that comes from the network is bounded and checked before it is used.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::job_name::is_token;

/// Most bytes of a record, except a job's.
pub const MOST_BYTES: usize = 64 << 10;
/// Most bytes of a job's record: less than any server's `max_payload`.
pub const MOST_JOB_BYTES: usize = 512 << 10;
/// Most bytes of a text in a record: names, reasons.
const MOST_WORD: usize = 2000;
/// Most bytes of a worker's name.
const MOST_NAME: usize = 64;
/// Most units of a job.
pub const MOST_UNITS: u64 = 10_000_000;
/// Most tries of one unit that are remembered.
const MOST_TRIES: usize = 64;

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More bytes than any record has.
    #[error("{0} bytes are too many for a record")]
    TooLarge(usize),
    /// Not of the expected form.
    #[error("{0}")]
    Form(String),
    /// A field has an impossible value.
    #[error("the record has {0}")]
    Value(&'static str),
}

/// A job that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRecord {
    /// Identifier of this job alone: another one under the same name has another.
    pub id: String,
    /// Who hands the units out: `HOST pid N`.
    pub by: String,
    /// How long a worker may be silent before a unit is given to another one, in milliseconds.
    pub lease_ms: u64,
    /// Units, numbered from 0.
    pub units: u64,
    /// Workers that may be lost over one unit, before that is given up.
    pub tries: u32,
    /// What the units are of; not read by this crate.
    pub about: String,
}

/// Outcome of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// A result, which is in the stream of results.
    Result(ResultRecord),
    /// It was given up.
    GivenUp {
        /// Why, with the workers' names.
        reason: String,
    },
}

/// Which result of a unit counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultRecord {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// SHA-256 of the result's bytes.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// The worker that computed it.
    pub worker: String,
}

/// Who has begun a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tries {
    /// Attempts so far: each has the next number, even if an earlier one was given back.
    pub begun: u32,
    /// Attempts that were not given back.
    pub open: Vec<Try>,
}

/// An attempt at a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Try {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The worker that began it.
    pub worker: String,
    /// Why it failed, if the worker could report that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What a worker reports about itself, about once a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerReport {
    /// Its name, which no other process ever has.
    pub worker: String,
    /// Its machine.
    pub host: String,
    /// Why it does not take part, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuses: Option<String>,
    /// How its machine differs from the coordinator's, where that was allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
    /// Units whose results count.
    pub units: u64,
    /// Rows in these units.
    pub rows: u64,
    /// Results that came too late, and were discarded.
    pub late: u64,
    /// Why it makes no progress, once that has lasted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
    /// Units that it works on, and for how long, in milliseconds.
    #[serde(default)]
    pub working: Vec<(u64, u64)>,
    /// Whether it is leaving.
    #[serde(default)]
    pub ends: bool,
}

impl Tries {
    /// Adds a try under the next number.
    pub fn begin(&mut self, worker: &str) -> u32 {
        self.begun += 1;
        self.open.push(Try {
            attempt: self.begun,
            worker: worker.to_owned(),
            failed: None,
        });
        self.begun
    }

    /// Removes a try, as if it had not been.
    pub fn give_back(&mut self, attempt: u32) {
        self.open.retain(|known| known.attempt != attempt);
    }

    /// Records that a try failed.
    pub fn fail(&mut self, attempt: u32, reason: &str) {
        let of_it = self.open.iter_mut().find(|known| known.attempt == attempt);
        if let Some(known) = of_it {
            known.failed = Some(cut(reason));
        }
    }
}

/// Cuts a text so that it is short enough for a record.
pub fn cut(text: &str) -> String {
    let mut end = text.len().min(MOST_WORD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Returns a record's bytes.
pub fn to_bytes(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("names and numbers are JSON")
}

/// Reads a record.
///
/// # Errors
/// See [`RecordError`].
pub fn read<R: Record>(bytes: &[u8]) -> Result<R, RecordError> {
    if bytes.len() > R::MOST {
        return Err(RecordError::TooLarge(bytes.len()));
    }
    let record: R =
        serde_json::from_slice(bytes).map_err(|error| RecordError::Form(error.to_string()))?;
    match record.problem() {
        Some(problem) => Err(RecordError::Value(problem)),
        None => Ok(record),
    }
}

/// A record that comes from the network.
pub trait Record: DeserializeOwned {
    /// Most bytes of it.
    const MOST: usize = MOST_BYTES;

    /// Returns which field has an impossible value, if one has.
    fn problem(&self) -> Option<&'static str>;
}

fn is_name(text: &str) -> bool {
    is_token(text, MOST_NAME)
}

fn is_word(text: &str) -> bool {
    text.len() <= MOST_WORD
}

/// Returns the text of the first condition that does not hold.
fn first(wrong: &[(bool, &'static str)]) -> Option<&'static str> {
    let mut wrong = wrong.iter();
    wrong.find(|(is_right, _)| !is_right).map(|(_, what)| *what)
}

impl Record for JobRecord {
    const MOST: usize = MOST_JOB_BYTES;

    fn problem(&self) -> Option<&'static str> {
        first(&[
            (is_name(&self.id), "an invalid id"),
            (is_word(&self.by), "a name that is too long"),
            (
                (100..=86_400_000).contains(&self.lease_ms),
                "a lease that is not from 100 ms to a day",
            ),
            (self.units <= MOST_UNITS, "too many units"),
            (
                (1..=32).contains(&self.tries),
                "tries that are not from 1 to 32",
            ),
        ])
    }
}

impl Record for Outcome {
    fn problem(&self) -> Option<&'static str> {
        match self {
            Self::GivenUp { reason } => first(&[(is_word(reason), "a reason that is too long")]),
            Self::Result(result) => {
                let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                first(&[
                    (result.attempt > 0, "attempt 0, but attempts count from 1"),
                    (
                        result.sha256.len() == 64 && result.sha256.bytes().all(hex),
                        "an invalid sha256",
                    ),
                    (is_name(&result.worker), "an invalid worker name"),
                ])
            }
        }
    }
}

impl Record for Tries {
    fn problem(&self) -> Option<&'static str> {
        let in_order = self
            .open
            .windows(2)
            .all(|two| two[0].attempt < two[1].attempt);
        let known = self
            .open
            .iter()
            .all(|one| (1..=self.begun).contains(&one.attempt));
        let named = self.open.iter().all(|one| is_name(&one.worker));
        let mut told = self.open.iter().filter_map(|one| one.failed.as_ref());
        first(&[
            (self.open.len() <= MOST_TRIES, "too many tries"),
            (in_order && known, "impossible attempt numbers"),
            (named, "an invalid worker name"),
            (told.all(|text| is_word(text)), "a reason that is too long"),
        ])
    }
}

impl Record for WorkerReport {
    fn problem(&self) -> Option<&'static str> {
        let words = self.refuses.iter().chain(&self.differs);
        let mut words = words.chain(&self.obstacle);
        first(&[
            (is_name(&self.worker), "an invalid worker name"),
            (self.host.len() <= 255, "a host name that is too long"),
            (words.all(|text| is_word(text)), "a reason that is too long"),
            (
                self.working.len() <= 64,
                "more units than one worker may have in hand",
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn result() -> ResultRecord {
        ResultRecord {
            attempt: 2,
            sha256: "ab".repeat(32),
            size: 7,
            worker: "hall-1f".to_owned(),
        }
    }

    #[test]
    fn records_come_back_as_they_went() {
        let mut tries = Tries::default();
        assert_eq!((tries.begin("a"), tries.begin("b")), (1, 2));
        tries.give_back(1);
        assert_eq!(tries.begin("c"), 3);
        tries.fail(3, &"ä".repeat(3000));
        assert_eq!(read::<Tries>(&to_bytes(&tries)), Ok(tries));
        let outcome = Outcome::Result(result());
        assert_eq!(read::<Outcome>(&to_bytes(&outcome)), Ok(outcome));
        let report = WorkerReport {
            worker: "w".to_owned(),
            working: vec![(3, 500)],
            ..WorkerReport::default()
        };
        assert_eq!(read::<WorkerReport>(&to_bytes(&report)), Ok(report));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let wrong = [
            ResultRecord {
                attempt: 0,
                ..result()
            },
            ResultRecord {
                sha256: "AB".repeat(32),
                ..result()
            },
            ResultRecord {
                worker: "a.b>".to_owned(),
                ..result()
            },
        ];
        for record in wrong {
            let bytes = to_bytes(&Outcome::Result(record));
            assert!(matches!(
                read::<Outcome>(&bytes),
                Err(RecordError::Value(_))
            ));
        }
        let job = JobRecord {
            id: "x".to_owned(),
            by: "a machine".to_owned(),
            lease_ms: 30_000,
            units: 3,
            tries: 3,
            about: String::new(),
        };
        assert_eq!(read::<JobRecord>(&to_bytes(&job)), Ok(job.clone()));
        for wrong in [
            JobRecord {
                lease_ms: 0,
                ..job.clone()
            },
            JobRecord {
                units: u64::MAX,
                ..job.clone()
            },
            JobRecord {
                tries: 0,
                ..job.clone()
            },
            JobRecord {
                id: "../x".to_owned(),
                ..job
            },
        ] {
            assert!(read::<JobRecord>(&to_bytes(&wrong)).is_err(), "{wrong:?}");
        }
        let many = vec![b' '; MOST_BYTES + 1];
        assert_eq!(
            read::<Tries>(&many),
            Err(RecordError::TooLarge(MOST_BYTES + 1))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>(), text in "[\\[\\]{}\":,a-z0-9 ]{0,80}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let _ = read::<JobRecord>(bytes);
                let _ = read::<Outcome>(bytes);
                let _ = read::<Tries>(bytes);
                let _ = read::<WorkerReport>(bytes);
            }
        }
    }
}
