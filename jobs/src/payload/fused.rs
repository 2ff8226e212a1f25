//! An ensemble's logits of a row.

use std::sync::Arc;

use fermata_engine::Payload;
use fermata_learn::softlabels::{Alignment, Scores};

use super::failure::Failure;
use super::manifest_row::ManifestRow;

/// A row with an ensemble's logits, or why there are none.
#[derive(Clone, Debug)]
pub struct Fused {
    /// The row.
    pub row: ManifestRow,
    /// Teachers, weights, temperatures and views: the same for all rows of a node.
    pub alignment: Arc<Alignment>,
    /// The ensemble's logits and the teachers'.
    pub scores: Result<Scores, Failure>,
}

impl Payload for Fused {
    fn bytes(&self) -> usize {
        let of = |scores: &Scores| 4 * (scores.logits.len() + scores.teachers.len());
        self.scores.as_ref().map_or(0, of)
    }
}
