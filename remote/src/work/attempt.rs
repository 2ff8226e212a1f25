//! What a worker does with a unit that it was given, without a network: what to ask the server next, and what follows
//! from the answer.
//!
//! ```text
//! is there an outcome? ── yes ──> acknowledge
//!   └ no: who has begun it? ── too many ──> leave it to the coordinator
//!       ├ this worker has, and failed ──> leave it to others, and leave the job
//!       └ record this worker (nobody else has written meanwhile) ──> work ──> store ──> create the unit's key ──> acknowledge
//!                                                                    │                   └ refused, or unknown: read it back
//!                                                                    │                        ├ it is ours ──> acknowledge
//!                                                                    │                        ├ another's ──> discard ours, acknowledge
//!                                                                    │                        └ there is none ──> create it again
//!                                                                    └ given back, or failed: record that ──> return
//! ```

use super::records::{Outcome, Tries};

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read the unit's outcome.
    ReadOutcome,
    /// Read who has begun it.
    ReadTries,
    /// Write who has begun it; only over the revision that was read, or where there was nothing.
    WriteTries {
        /// What to write.
        tries: Tries,
        /// The revision that was read.
        revision: Option<u64>,
    },
    /// Compute the unit.
    Work {
        /// Its number.
        attempt: u32,
    },
    /// Store the result under the attempt's number, replacing one that is there.
    Store {
        /// The number.
        attempt: u32,
    },
    /// Create the unit's key, which says that this attempt's result counts.
    Commit {
        /// The attempt.
        attempt: u32,
    },
    /// Remove the result that was stored.
    Drop {
        /// The attempt.
        attempt: u32,
    },
    /// Take the unit out of the queue.
    Acknowledge,
    /// Return the unit to the queue, for now or for a while.
    Return {
        /// Whether it is to be delivered again only after a while.
        later: bool,
    },
    /// Nothing: it is over.
    Nothing(Ended),
}

/// The answer to what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The unit's outcome, if it has one.
    Outcome(Option<Outcome>),
    /// Who has begun it, and the revision of that record.
    Tries(Option<(Tries, u64)>),
    /// It was done: written, stored, created, removed, acknowledged, returned.
    Done,
    /// It was certainly not done: somebody else was there before.
    Refused,
    /// It is unknown whether it was done.
    Unknown,
    /// The unit has been computed.
    Computed {
        /// SHA-256 of the bytes.
        sha256: String,
    },
    /// It could not be computed.
    Failed(String),
    /// It was not computed, for reasons that have nothing to do with it.
    GivenBack,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its result counts.
    Committed,
    /// Another attempt's result counts, or the unit was given up.
    Late,
    /// There was nothing to do.
    AlreadyDone,
    /// It has been begun too often.
    Left,
    /// It was given back.
    Returned,
    /// It could not be computed.
    Failed,
    /// This worker has failed over it before, or its result was not used: the worker itself may be at fault.
    Unfit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Checks whether there is something to do.
    Looking,
    /// Reads who has begun it, to add itself.
    Joining {
        wrote: Option<u32>,
    },
    Writing {
        tries: Tries,
        revision: Option<u64>,
        attempt: u32,
    },
    Working {
        attempt: u32,
    },
    Storing {
        attempt: u32,
        sha256: String,
    },
    Committing {
        attempt: u32,
        sha256: String,
    },
    ReadingBack {
        attempt: u32,
        sha256: String,
    },
    Dropping {
        attempt: u32,
    },
    /// Reads who has begun it, to remove itself, or to record why it failed.
    Leaving(Leaving),
    Unwriting {
        tries: Tries,
        revision: u64,
        leaving: Leaving,
    },
    Acknowledging(Ended),
    Returning(Ended),
    /// Returns the unit, since this worker failed over it before, for this reason.
    Withdrawing {
        reason: String,
    },
    Over(Ended),
}

/// An attempt that nobody is to wait for any more.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leaving {
    attempt: u32,
    /// Why it failed, if that counts against the unit.
    reason: Option<String>,
    ended: Ended,
}

/// One attempt at a unit.
#[derive(Clone, Debug)]
pub struct Attempt {
    worker: String,
    most_tries: u32,
    state: State,
}

impl Attempt {
    /// Creates an attempt of a worker that was given the unit. A unit that `most_tries` attempts have begun in vain is
    /// not begun again.
    pub fn new(worker: &str, most_tries: u32) -> Self {
        Self {
            worker: worker.to_owned(),
            most_tries,
            state: State::Looking,
        }
    }

    /// Returns how it ends, once that is known: from then on only the server has to be told.
    pub fn ended(&self) -> Option<Ended> {
        match &self.state {
            State::Dropping { .. } => Some(Ended::Late),
            State::Leaving(leaving) | State::Unwriting { leaving, .. } => Some(leaving.ended),
            State::Acknowledging(ended) | State::Returning(ended) | State::Over(ended) => {
                Some(*ended)
            }
            State::Withdrawing { .. } => Some(Ended::Unfit),
            _ => None,
        }
    }

    /// Returns why this worker failed over the unit before, if that ends the attempt.
    pub fn unfit(&self) -> Option<&str> {
        match &self.state {
            State::Withdrawing { reason } => Some(reason),
            _ => None,
        }
    }

    /// Returns what to do next.
    pub fn next(&self) -> Ask {
        match &self.state {
            State::Looking | State::ReadingBack { .. } => Ask::ReadOutcome,
            State::Joining { .. } | State::Leaving(_) => Ask::ReadTries,
            State::Writing {
                tries, revision, ..
            } => Ask::WriteTries {
                tries: tries.clone(),
                revision: *revision,
            },
            State::Unwriting {
                tries, revision, ..
            } => Ask::WriteTries {
                tries: tries.clone(),
                revision: Some(*revision),
            },
            State::Working { attempt } => Ask::Work { attempt: *attempt },
            State::Storing { attempt, .. } => Ask::Store { attempt: *attempt },
            State::Committing { attempt, .. } => Ask::Commit { attempt: *attempt },
            State::Dropping { attempt } => Ask::Drop { attempt: *attempt },
            State::Acknowledging(_) => Ask::Acknowledge,
            State::Returning(ended) => Ask::Return {
                later: *ended == Ended::Left,
            },
            State::Withdrawing { .. } => Ask::Return { later: false },
            State::Over(ended) => Ask::Nothing(*ended),
        }
    }

    /// Takes in the answer. One that does not fit what was asked changes nothing.
    pub fn told(&mut self, told: Told) {
        let state = std::mem::replace(&mut self.state, State::Looking);
        self.state = self.follow(state, told);
    }

    fn follow(&self, state: State, told: Told) -> State {
        match (state, told) {
            (State::Looking, Told::Outcome(None)) => State::Joining { wrote: None },
            (State::Looking, Told::Outcome(Some(_))) => State::Acknowledging(Ended::AlreadyDone),
            (State::Joining { wrote }, Told::Tries(found)) => self.join(wrote, found),
            (State::Writing { attempt, .. }, Told::Done) => State::Working { attempt },
            // The write may have succeeded all the same.
            (State::Writing { attempt, .. }, Told::Refused | Told::Unknown) => State::Joining {
                wrote: Some(attempt),
            },
            (State::Working { attempt }, Told::Computed { sha256 }) => {
                State::Storing { attempt, sha256 }
            }
            (State::Working { attempt }, Told::Failed(reason)) => State::Leaving(Leaving {
                attempt,
                reason: Some(reason),
                ended: Ended::Failed,
            }),
            (State::Working { attempt }, Told::GivenBack) => State::Leaving(Leaving {
                attempt,
                reason: None,
                ended: Ended::Returned,
            }),
            (State::Storing { attempt, sha256 }, Told::Done) => {
                State::Committing { attempt, sha256 }
            }
            (State::Committing { .. }, Told::Done) => State::Acknowledging(Ended::Committed),
            (State::Committing { attempt, sha256 }, Told::Refused | Told::Unknown) => {
                State::ReadingBack { attempt, sha256 }
            }
            (State::ReadingBack { attempt, sha256 }, Told::Outcome(found)) => match found {
                None => State::Committing { attempt, sha256 },
                Some(Outcome::Result(result))
                    if result.attempt == attempt && result.sha256 == sha256 =>
                {
                    State::Acknowledging(Ended::Committed)
                }
                Some(_) => State::Dropping { attempt },
            },
            // If the result that counts turns out to be invalid, nobody is to wait for this attempt.
            (State::Dropping { attempt }, Told::Done | Told::Refused) => State::Leaving(Leaving {
                attempt,
                reason: None,
                ended: Ended::Late,
            }),
            (State::Leaving(leaving), Told::Tries(found)) => leave(leaving, found),
            (State::Unwriting { leaving, .. }, Told::Done) => left(leaving.ended),
            (State::Unwriting { leaving, .. }, Told::Refused | Told::Unknown) => {
                State::Leaving(leaving)
            }
            // A worker that is given it again finds the outcome.
            (State::Acknowledging(ended), Told::Done | Told::Refused | Told::Unknown) => {
                State::Over(ended)
            }
            (State::Returning(ended), Told::Done | Told::Refused | Told::Unknown) => {
                State::Over(ended)
            }
            (State::Withdrawing { .. }, Told::Done | Told::Refused | Told::Unknown) => {
                State::Over(Ended::Unfit)
            }
            (state, _) => state,
        }
    }

    fn join(&self, wrote: Option<u32>, found: Option<(Tries, u64)>) -> State {
        let (mut tries, revision) = match found {
            Some((tries, revision)) => (tries, Some(revision)),
            None => (Tries::default(), None),
        };
        let ours = tries.open.iter().find(|known| {
            known.worker == self.worker && known.failed.is_none() && Some(known.attempt) == wrote
        });
        if let Some(ours) = ours {
            return State::Working {
                attempt: ours.attempt,
            };
        }
        if tries.open.len() >= self.most_tries as usize {
            return State::Returning(Ended::Left);
        }
        let ours = tries
            .open
            .iter()
            .filter(|known| known.worker == self.worker);
        if let Some(reason) = ours.filter_map(|known| known.failed.clone()).next() {
            return State::Withdrawing { reason };
        }
        let attempt = tries.begin(&self.worker);
        State::Writing {
            tries,
            revision,
            attempt,
        }
    }
}

fn left(ended: Ended) -> State {
    match ended {
        Ended::Late => State::Acknowledging(ended),
        _ => State::Returning(ended),
    }
}

fn leave(leaving: Leaving, found: Option<(Tries, u64)>) -> State {
    let Some((mut tries, revision)) = found else {
        return left(leaving.ended);
    };
    let before = tries.clone();
    match &leaving.reason {
        Some(reason) => tries.fail(leaving.attempt, reason),
        None => tries.give_back(leaving.attempt),
    }
    if tries == before {
        return left(leaving.ended);
    }
    State::Unwriting {
        tries,
        revision,
        leaving,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::records::ResultRecord;

    fn result(attempt: u32) -> Outcome {
        Outcome::Result(ResultRecord {
            attempt,
            sha256: "ab".repeat(32),
            size: 1,
            worker: "a".to_owned(),
        })
    }

    fn committing() -> Attempt {
        let mut attempt = Attempt::new("a", 3);
        for told in [
            Told::Outcome(None),
            Told::Tries(None),
            Told::Done,
            Told::Computed {
                sha256: "ab".repeat(32),
            },
            Told::Done,
        ] {
            attempt.told(told);
        }
        assert_eq!(attempt.next(), Ask::Commit { attempt: 1 });
        attempt
    }

    #[test]
    fn a_creation_that_seems_to_have_failed_is_read_back_before_anything_is_discarded() {
        for told in [Told::Refused, Told::Unknown] {
            let mut attempt = committing();
            attempt.told(told.clone());
            assert_eq!(attempt.next(), Ask::ReadOutcome);
            attempt.told(Told::Unknown);
            assert_eq!(attempt.next(), Ask::ReadOutcome, "until it is known");
            let mut ours = attempt.clone();
            ours.told(Told::Outcome(Some(result(1))));
            assert_eq!(ours.next(), Ask::Acknowledge);
            ours.told(Told::Unknown);
            assert_eq!(ours.next(), Ask::Nothing(Ended::Committed));
            let mut others = attempt.clone();
            others.told(Told::Outcome(Some(result(2))));
            assert_eq!(others.next(), Ask::Drop { attempt: 1 });
            assert_eq!((others.ended(), attempt.ended()), (Some(Ended::Late), None));
            others.told(Told::Done);
            others.told(Told::Tries(None));
            others.told(Told::Done);
            assert_eq!(others.next(), Ask::Nothing(Ended::Late));
            attempt.told(Told::Outcome(None));
            assert_eq!(attempt.next(), Ask::Commit { attempt: 1 }, "again");
        }
    }

    #[test]
    fn a_unit_that_has_an_outcome_is_not_begun() {
        let mut attempt = Attempt::new("a", 3);
        attempt.told(Told::Outcome(Some(result(1))));
        assert_eq!(attempt.next(), Ask::Acknowledge);
    }

    #[test]
    fn a_unit_that_was_begun_too_often_is_left_to_the_coordinator() {
        let mut tries = Tries::default();
        for worker in ["x", "y", "z"] {
            tries.begin(worker);
        }
        let mut attempt = Attempt::new("a", 3);
        attempt.told(Told::Outcome(None));
        attempt.told(Told::Tries(Some((tries, 9))));
        assert_eq!(attempt.next(), Ask::Return { later: true });
    }

    #[test]
    fn a_worker_that_failed_over_a_unit_leaves_it_to_others() {
        let mut tries = Tries::default();
        tries.begin("a");
        tries.fail(1, "no such file");
        let given_to = |worker| {
            let mut attempt = Attempt::new(worker, 3);
            attempt.told(Told::Outcome(None));
            attempt.told(Told::Tries(Some((tries.clone(), 9))));
            attempt
        };
        let mut again = given_to("a");
        assert_eq!(again.unfit(), Some("no such file"));
        assert_eq!(again.next(), Ask::Return { later: false });
        again.told(Told::Done);
        assert_eq!(again.next(), Ask::Nothing(Ended::Unfit));
        assert!(matches!(given_to("b").next(), Ask::WriteTries { .. }));
    }

    #[test]
    fn what_was_written_for_all_that_is_known_is_looked_for() {
        let mut attempt = Attempt::new("a", 3);
        attempt.told(Told::Outcome(None));
        attempt.told(Told::Tries(None));
        let Ask::WriteTries { tries, .. } = attempt.next() else {
            panic!("{:?}", attempt.next());
        };
        attempt.told(Told::Unknown);
        attempt.told(Told::Tries(Some((tries, 4))));
        assert_eq!(attempt.next(), Ask::Work { attempt: 1 });
        attempt.told(Told::GivenBack);
        let mut both = Tries::default();
        both.begin("a");
        both.begin("b");
        attempt.told(Told::Tries(Some((both.clone(), 5))));
        both.give_back(1);
        let expected = Ask::WriteTries {
            tries: both,
            revision: Some(5),
        };
        assert_eq!(attempt.next(), expected);
        attempt.told(Told::Done);
        assert_eq!(attempt.next(), Ask::Return { later: false });
    }
}
