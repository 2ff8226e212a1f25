//! Limits warnings to one per cause and minute: what happens with every packet is logged once and counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a cause is not logged again.
const SILENCE: Duration = Duration::from_secs(60);

/// Causes are distinguished by their text; beyond this many, the oldest are forgotten.
const MOST_CAUSES: usize = 64;

#[derive(Debug)]
struct Told {
    at: Instant,
    unsaid: u64,
}

/// When each cause was last logged.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<BTreeMap<String, Told>>);

impl Notices {
    /// Returns how many warnings of this cause were suppressed since the last one if a warning is due now, otherwise
    /// `None`.
    pub(crate) fn due(&self, cause: &str) -> Option<u64> {
        self.due_at(cause, Instant::now())
    }

    /// Returns `true` the first time a cause is given, and never again.
    pub(crate) fn first(&self, cause: &str) -> bool {
        let mut causes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, unsaid) = (Instant::now(), 0);
        let is_first = !causes.contains_key(cause);
        causes
            .entry(cause.to_owned())
            .or_insert(Told { at, unsaid });
        is_first
    }

    fn due_at(&self, cause: &str, now: Instant) -> Option<u64> {
        let mut causes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = causes.get_mut(cause) {
            if now.saturating_duration_since(told.at) < SILENCE {
                told.unsaid += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.unsaid));
        }
        if causes.len() >= MOST_CAUSES {
            let oldest = causes.iter().min_by_key(|(_, told)| told.at);
            if let Some(oldest) = oldest.map(|(cause, _)| cause.clone()) {
                causes.remove(&oldest);
            }
        }
        let (at, unsaid) = (now, 0);
        causes.insert(cause.to_owned(), Told { at, unsaid });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_a_minute_and_says_how_often_it_was_not() {
        let notices = Notices::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let due: Vec<Option<u64>> = [0, 1, 59, 60, 61, 200]
            .into_iter()
            .map(|second| notices.due_at("lost", at(second)))
            .collect();
        assert_eq!(due, [Some(0), None, None, Some(2), None, Some(1)]);
        assert_eq!(notices.due_at("other", at(0)), Some(0));
    }

    #[test]
    fn causes_without_end_take_no_memory_without_end() {
        let notices = Notices::default();
        for number in 0..1000 {
            assert_eq!(notices.due(&number.to_string()), Some(0));
        }
        assert_eq!(notices.0.lock().unwrap().len(), MOST_CAUSES);
        assert!(notices.first("once") && !notices.first("once"));
    }
}
