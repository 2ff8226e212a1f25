//! A row as a network's input, with its targets.

use std::sync::Arc;

use fermata_engine::Payload;
use fermata_vision::face::EXPRESSIONS;

use super::failure::Failure;
use super::wanted::WantedRow;

/// A row as a network's input, or why there is none.
#[derive(Clone, Debug)]
pub struct PreparedRow {
    /// The row and its purpose.
    pub wanted: WantedRow,
    /// [channels, height, width] in the row's view, as the training's card specifies.
    pub input: Result<Arc<Vec<f32>>, Failure>,
    /// The teachers' fused logits of this view.
    pub teacher: Option<[f32; EXPRESSIONS]>,
    /// The shares of the classes among annotators' votes.
    pub targets: Option<[f32; EXPRESSIONS]>,
}

/// The output of `prepare_inputs` for a [`Loaded`](super::Loaded), completed by `join_targets`.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// A row.
    Row(PreparedRow),
    /// See [`Wanted::EpochEnd`](super::Wanted::EpochEnd).
    EpochEnd {
        /// From 0.
        epoch: u32,
    },
}

impl Payload for Prepared {
    fn bytes(&self) -> usize {
        match self {
            Self::Row(PreparedRow {
                input: Ok(input), ..
            }) => size_of_val(&input[..]),
            _ => 0,
        }
    }
}
