//! Why a row could not be read: it travels in the place of what could not be made.

use std::fmt;
use std::sync::Arc;

/// Why a row has no picture, or nothing could be made of it. The reason names neither the row nor a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub reason: Arc<str>,
}

impl Failure {
    /// With this reason.
    pub fn new(reason: &(impl fmt::Display + ?Sized)) -> Self {
        Self {
            reason: reason.to_string().into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
