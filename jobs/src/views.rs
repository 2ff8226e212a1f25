//! The inputs of all views of a picture.

use fermata_learn::augmentation::Augmentation;
use fermata_learn::predictions::row_hash;
use fermata_vision::Frame;
use fermata_vision::card::ModelCard;
use fermata_vision::preprocess::PreprocessError;

use crate::payload::{Failure, ManifestRow};
use crate::view_input::ViewInput;

/// Makes inputs. Keeps buffers, so each thread has its own.
pub(crate) struct Views {
    input: ViewInput,
    count: u32,
    seed: u64,
    augmentation: Augmentation,
}

impl Views {
    /// `count` views under a seed, for models with this card.
    pub(crate) fn new(
        card: &ModelCard,
        count: u32,
        seed: u64,
        augmentation: Augmentation,
    ) -> Result<Self, PreprocessError> {
        Ok(Self {
            input: ViewInput::new(card)?,
            count,
            seed,
            augmentation,
        })
    }

    /// Values of all views of a picture.
    pub(crate) fn len(&self) -> usize {
        self.count as usize * self.input.len()
    }

    /// Writes the inputs of all views, one after another, into `out` of [`Views::len`] values; they are arbitrary after a failure.
    pub(crate) fn write(
        &mut self,
        row: &ManifestRow,
        picture: &Frame,
        out: &mut [f32],
    ) -> Result<(), Failure> {
        let hash = row_hash(&row.row().sha256).expect("a manifest's hashes are hashes");
        let of_view = self.input.len();
        for (view, out) in (0..self.count).zip(out.chunks_exact_mut(of_view)) {
            let variation = self.augmentation.view(self.seed, view, &hash);
            self.input.write(picture, variation.as_ref(), out)?;
        }
        Ok(())
    }
}
