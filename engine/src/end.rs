//! How a stream came to its end, and how an actor does. Who decides it is elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The way in which something ended, from the best to the worst, so that of two the greater one counts.
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
    Complete,
    /// It was ended early and on purpose (a drain, a stream that was removed): what had been captured by then has flowed
    /// through to the end, but there was more to come.
    Drained,
    /// The source, or a node that was beyond its restarts, gave up: what was to come is missing.
    Failed,
    /// The run was stopped: what was on the way has been abandoned.
    Stopped,
}

/// How a stream ended at a node, or how the streams of an actor ended together. What must not look whole unless it is (a
/// file, a unit of a job) decides by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// The way in which it ended.
    pub how: How,
    /// Whether a packet that was captured has not come this far: it failed, was dropped, abandoned, or unmatched. What an
    /// actor left out on purpose is not lost.
    pub lost: bool,
}

impl End {
    /// The source reached its own end, and nothing was lost.
    pub fn is_complete(self) -> bool {
        self.how == How::Complete && !self.lost
    }

    /// Two ends together: the worse way, and lost if either has lost something.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            how: self.how.max(other.how),
            lost: self.lost || other.lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_ends_the_worse_one_counts() {
        let complete = End::default();
        let lost = End {
            lost: true,
            ..complete
        };
        let failed = End {
            how: How::Failed,
            lost: false,
        };
        assert!(complete.and(complete).is_complete());
        assert!(!complete.and(lost).is_complete());
        assert_eq!(
            lost.and(failed),
            End {
                how: How::Failed,
                lost: true
            }
        );
    }
}
