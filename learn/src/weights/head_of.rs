//! What happens to the head in a weight file.

use serde::{Deserialize, Serialize};

/// What is done with the head in a weight file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadOf {
    /// Load it; it must fit.
    File,
    /// Leave it out on purpose: the network keeps its own, for other classes.
    Network,
}
