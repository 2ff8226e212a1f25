//! A teacher's logits of a row.

use std::sync::Arc;

use fermata_engine::Payload;
use fermata_learn::folds::Learnt;
use fermata_vision::card::ModelCard;

use super::failure::Failure;
use super::manifest_row::ManifestRow;
use super::viewed::AskedViews;

/// What computed the logits, and of which views: the same for all rows of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The models' cards: one, or one for each model that was trained without a fold.
    pub models: Vec<ModelCard>,
    /// What each of them was trained on, if its provenance records it.
    pub learnt: Vec<Option<Learnt>>,
    /// `onnxruntime` or `libtorch`.
    pub backend: &'static str,
    /// The views.
    pub views: AskedViews,
}

/// A row with a teacher's logits, or why there are none.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The row.
    pub row: ManifestRow,
    /// What computed the logits.
    pub asked: Arc<Asked>,
    /// [V, 7] in the canonical class order, not divided by a temperature.
    pub logits: Result<Vec<f32>, Failure>,
    /// Whether the models used were trained on the row, if known.
    pub seen: Option<bool>,
}

impl Payload for Scored {
    fn bytes(&self) -> usize {
        self.logits.as_ref().map_or(0, |logits| 4 * logits.len())
    }
}
