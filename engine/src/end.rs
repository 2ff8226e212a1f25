//! How a stream, or an actor's work, ended.

use std::sync::atomic::{AtomicU8, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How something ended. Ordered from best to worst: of several ends, the worst counts.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The source reached its own end.
    #[default]
    Complete = 0,
    /// It was asked to end early (a drain, a removed stream), and what had been captured was finished.
    Drained = 1,
    /// The source, or a node on the way, failed for good.
    Failed = 2,
    /// The run was stopped, and what was in flight was abandoned.
    Stopped = 3,
}

/// How a stream ended at a node, or how a node's streams ended altogether. Actors that write files decide by it what
/// becomes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// How it ended.
    pub how: How,
    /// Whether something was lost here or on the way here: dropped by a queue, failed, unmatched, or abandoned. What an
    /// actor left out on purpose is not lost.
    pub lost: bool,
}

impl End {
    /// Creates an end without losses.
    pub fn of(how: How) -> Self {
        Self { how, lost: false }
    }

    /// Returns whether the source reached its own end and nothing was lost, so that the result may be kept as complete.
    pub fn is_complete(self) -> bool {
        self.how == How::Complete && !self.lost
    }

    /// Combines two ends: the worse `how`, and lost if either is.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            how: self.how.max(other.how),
            lost: self.lost | other.lost,
        }
    }
}

/// An end that one thread passes to others before publishing something else.
#[derive(Default)]
pub(crate) struct EndCell(AtomicU8);

const LOST: u8 = 4;

impl EndCell {
    /// Sets the end. A reader must have seen something that was published after this call.
    pub(crate) fn set(&self, end: End) {
        let lost = if end.lost { LOST } else { 0 };
        self.0.store(end.how as u8 | lost, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> End {
        let bits = self.0.load(Ordering::Relaxed);
        let how = match bits & !LOST {
            0 => How::Complete,
            1 => How::Drained,
            2 => How::Failed,
            _ => How::Stopped,
        };
        End {
            how,
            lost: bits & LOST != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_ends_counts() {
        let lossy = End {
            how: How::Complete,
            lost: true,
        };
        let both = End::of(How::Drained).and(lossy);
        assert_eq!(both.how, How::Drained);
        assert!(both.lost && !both.is_complete());
        assert!(End::default().is_complete() && !lossy.is_complete());
    }

    #[test]
    fn a_cell_gives_back_what_it_was_told() {
        let cell = EndCell::default();
        for how in [How::Complete, How::Drained, How::Failed, How::Stopped] {
            for lost in [false, true] {
                cell.set(End { how, lost });
                assert_eq!(cell.get(), End { how, lost });
            }
        }
    }
}
