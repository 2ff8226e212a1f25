//! Why a row could not be read; passed on in place of the missing value.

use std::fmt;
use std::sync::Arc;

/// Why a row has no picture, or could not be processed. The reason names neither the row nor a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason in words.
    pub reason: Arc<str>,
}

impl Failure {
    /// Creates a failure with this reason.
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
