//! A row with its picture.

use fermata_engine::Payload;
use fermata_vision::Frame;

use super::failure::Failure;
use super::wanted::WantedRow;

/// A row with its unprocessed picture, or why there is none.
#[derive(Clone, Debug)]
pub struct LoadedRow {
    /// The row and its purpose.
    pub wanted: WantedRow,
    /// 8-bit BGR, upright, of the manifest's size; not yet preprocessed.
    pub picture: Result<Frame, Failure>,
}

/// The output of `load_images` for a [`Wanted`](super::Wanted).
#[derive(Clone, Debug)]
pub enum Loaded {
    /// A row.
    Row(LoadedRow),
    /// See [`Wanted::EpochEnd`](super::Wanted::EpochEnd).
    EpochEnd {
        /// From 0.
        epoch: u32,
    },
}

impl Payload for Loaded {
    fn bytes(&self) -> usize {
        match self {
            Self::Row(LoadedRow {
                picture: Ok(picture),
                ..
            }) => picture.bgr().len(),
            _ => 0,
        }
    }
}
