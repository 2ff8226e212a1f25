//! What the coordinator does about a unit that is handed out, without a network; and which workers are silent.

use std::collections::BTreeMap;

use super::records::{Outcome, ResultRecord, Tries, cut};

/// What the server says of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// Whether it is in the queue: waiting, or leased.
    pub is_queued: bool,
    /// Who has begun it.
    pub tries: Tries,
}

/// What is to be done about a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Somebody has it, or will.
    Wait,
    /// It has neither result nor lease: publish it. One that is there all the same refuses a second.
    Publish,
    /// Bring its result.
    Fetch(ResultRecord),
    /// Create its key with this reason; if that fails, somebody had a result after all.
    GiveUp {
        /// Why, with the workers' names.
        reason: String,
    },
    /// It was given up.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Decides by what the server says. A try is lost when it said that it failed, or its worker is silent.
pub fn decide(seen: &Seen, most_tries: u32, is_silent: impl Fn(&str) -> bool) -> Decision {
    match &seen.outcome {
        Some(Outcome::Result(result)) => return Decision::Fetch(result.clone()),
        Some(Outcome::GivenUp { reason }) => {
            return Decision::Failed {
                reason: reason.clone(),
            };
        }
        None => {}
    }
    let tries = &seen.tries.open;
    let lost = |failed: &Option<String>, worker: &str| failed.is_some() || is_silent(worker);
    if tries.len() >= most_tries as usize
        && tries.iter().all(|known| lost(&known.failed, &known.worker))
    {
        let told = tries.iter().map(|known| match &known.failed {
            Some(reason) => format!("{} failed ({reason})", known.worker),
            None => format!("{} was not heard of again", known.worker),
        });
        let told: Vec<String> = told.collect();
        return Decision::GiveUp {
            reason: cut(&told.join(", ")),
        };
    }
    if seen.is_queued {
        Decision::Wait
    } else {
        Decision::Publish
    }
}

/// When each worker was heard of last, by the coordinator's own clock.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub(super) last_ms: BTreeMap<String, u64>,
    /// Before this nobody could be heard.
    deaf_until_ms: u64,
}

impl Heard {
    /// A worker said something.
    pub fn heard(&mut self, worker: &str, now_ms: u64) {
        self.last_ms.insert(worker.to_owned(), now_ms);
    }

    /// Nothing could be heard up to now: silence counts from here.
    pub fn was_deaf(&mut self, now_ms: u64) {
        self.deaf_until_ms = now_ms;
    }

    /// Whether a worker has said nothing for so long.
    pub fn is_silent(&self, worker: &str, now_ms: u64, most_ms: u64) -> bool {
        let last = self.last_ms.get(worker).copied().unwrap_or(0);
        now_ms.saturating_sub(last.max(self.deaf_until_ms)) > most_ms
    }

    /// Forgets workers that have said nothing since then. Where nobody asks for a shorter silence than that, they are as
    /// silent as before.
    pub fn forget(&mut self, before_ms: u64) {
        self.last_ms.retain(|_, last| *last >= before_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried_by(workers: &[&str]) -> Tries {
        let mut tries = Tries::default();
        for worker in workers {
            tries.begin(worker);
        }
        tries
    }

    #[test]
    fn a_unit_is_given_up_when_as_many_are_lost_as_may_be_and_no_sooner() {
        let seen = |workers: &[&str]| Seen {
            tries: tried_by(workers),
            is_queued: true,
            outcome: None,
        };
        let of_dead = |worker: &str| worker.starts_with("dead");
        let two = seen(&["dead-1", "dead-2"]);
        assert_eq!(decide(&two, 3, of_dead), Decision::Wait);
        let alive = seen(&["dead-1", "alive", "dead-2"]);
        assert_eq!(decide(&alive, 3, of_dead), Decision::Wait);
        let mut three = seen(&["dead-1", "alive", "dead-2"]);
        three.tries.fail(2, "no such device");
        let Decision::GiveUp { reason } = decide(&three, 3, of_dead) else {
            panic!("{:?}", decide(&three, 3, of_dead));
        };
        assert_eq!(
            reason,
            "dead-1 was not heard of again, alive failed (no such device), dead-2 was not heard of again"
        );
        three.outcome = Some(Outcome::GivenUp {
            reason: reason.clone(),
        });
        assert_eq!(decide(&three, 3, of_dead), Decision::Failed { reason });
    }

    #[test]
    fn what_has_neither_result_nor_lease_is_published() {
        let seen = Seen::default();
        assert_eq!(decide(&seen, 3, |_| false), Decision::Publish);
    }

    #[test]
    fn silence_counts_from_when_one_could_hear() {
        let mut heard = Heard::default();
        heard.was_deaf(1000);
        assert!(!heard.is_silent("a", 1500, 500));
        assert!(heard.is_silent("a", 1501, 500));
        heard.heard("a", 1600);
        assert!(!heard.is_silent("a", 2100, 500));
        heard.was_deaf(2000);
        assert!(!heard.is_silent("a", 2500, 500));
        heard.forget(1700);
        assert!(heard.is_silent("a", 2501, 500));
    }
}
