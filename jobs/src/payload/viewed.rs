//! A row with the models' inputs for its picture.

use std::sync::Arc;

use fermata_engine::Payload;
use fermata_learn::augmentation::Augmentation;

use super::failure::Failure;
use super::manifest_row::ManifestRow;
use crate::preparation::Preparation;

/// The views of a picture to compute: each is a function of these fields, its number and the hash of the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AskedViews {
    /// The number of views, V.
    pub views: u32,
    /// Seed of the views' augmentation.
    pub seed: u64,
    /// How pictures are augmented from view 1 on.
    pub augmentation: Augmentation,
}

/// The inputs of a row for models with equivalent cards.
#[derive(Clone, Debug)]
pub struct ViewInputs {
    /// How the pictures became inputs.
    pub preparation: Arc<Preparation>,
    /// The inputs of all views, one after another: [V, channels, height, width] or [V, height, width, channels].
    pub values: Vec<f32>,
}

/// The output of `load_views` for a row.
#[derive(Clone, Debug)]
pub struct Viewed {
    /// The row.
    pub row: ManifestRow,
    /// The views made of it.
    pub views: AskedViews,
    /// An entry for each preparation, or why there is none.
    pub inputs: Result<Vec<ViewInputs>, Failure>,
}

impl Payload for Viewed {
    fn bytes(&self) -> usize {
        let of = |inputs: &ViewInputs| size_of_val(&inputs.values[..]);
        self.inputs
            .as_ref()
            .map_or(0, |inputs| inputs.iter().map(of).sum())
    }
}
