//! What becomes of the head of a file of weights.

use serde::{Deserialize, Serialize};

/// What is done with the head of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadOf {
    /// It is loaded, and must fit.
    File,
    /// It is left out on purpose: the network keeps its own, for other classes.
    Network,
}
