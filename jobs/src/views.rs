//! The inputs of all views of a picture: varied, preprocessed as a card says, partly erased.

use fermata_learn::augmentation::Augmentation;
use fermata_learn::predictions::row_hash;
use fermata_vision::card::{InputSpec, ModelCard};
use fermata_vision::preprocess::PreprocessError;
use fermata_vision::{Frame, FramePool, Preprocessor};

use crate::payload::{Failure, ManifestRow};

/// Makes inputs. Keeps buffers, so each thread has its own.
pub(crate) struct Views {
    preprocessor: Preprocessor,
    pool: FramePool,
    input: InputSpec,
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
            preprocessor: Preprocessor::new(card)?,
            pool: FramePool::new(),
            input: card.input.clone(),
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
            let prepared = match self.augmentation.view(self.seed, view, &hash) {
                None => self.preprocessor.run_whole(picture, out),
                Some(variation) => {
                    let varied = variation.apply(picture, &self.pool);
                    let varied = varied.map_err(|error| Failure::new(&error))?;
                    let prepared = self.preprocessor.run_whole(&varied, out);
                    variation.erase(out, &self.input);
                    prepared
                }
            };
            prepared.map_err(|error| Failure::new(&error))?;
        }
        Ok(())
    }
}
