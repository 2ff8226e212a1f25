//! The inputs of all views of a picture, for models with different cards: a picture is varied once for all of them, and
//! converted once for those with equivalent cards.

use std::sync::Arc;

use fermata_vision::card::ModelCard;
use fermata_vision::preprocess::PreprocessError;
use fermata_vision::{Frame, FramePool};

use crate::payload::{AskedViews, Failure, ManifestRow, ViewInputs};
use crate::preparation::Preparation;
use crate::view_input::{ViewInput, varied};

/// Makes inputs. Keeps buffers, so each thread has its own.
pub(crate) struct Views {
    asked: AskedViews,
    inputs: Vec<(Arc<Preparation>, ViewInput)>,
    pool: FramePool,
}

impl Views {
    /// Creates one for models with these cards.
    pub(crate) fn new(cards: &[ModelCard], asked: AskedViews) -> Result<Self, PreprocessError> {
        let mut inputs: Vec<(Arc<Preparation>, ViewInput)> = Vec::new();
        for card in cards {
            let preparation = Preparation::of(card);
            if !inputs.iter().any(|(known, _)| **known == preparation) {
                inputs.push((Arc::new(preparation), ViewInput::new(card)?));
            }
        }
        Ok(Self {
            asked,
            inputs,
            pool: FramePool::new(),
        })
    }

    /// Makes the inputs of all views of a row's picture.
    pub(crate) fn make(
        &mut self,
        row: &ManifestRow,
        picture: &Frame,
    ) -> Result<Vec<ViewInputs>, Failure> {
        let AskedViews {
            views,
            seed,
            augmentation,
        } = self.asked;
        let hash = &row.row().sha256;
        let of_views = |(preparation, input): &(Arc<Preparation>, ViewInput)| ViewInputs {
            preparation: Arc::clone(preparation),
            values: vec![0.0; views as usize * input.len()],
        };
        let mut made: Vec<ViewInputs> = self.inputs.iter().map(of_views).collect();
        for view in 0..views {
            let variation = augmentation.view(seed, view, hash);
            let picture = varied(picture, variation.as_ref(), &self.pool)?;
            for ((_, input), made) in self.inputs.iter_mut().zip(&mut made) {
                let len = input.len();
                let out = &mut made.values[view as usize * len..][..len];
                input.write(&picture, variation.as_ref(), out)?;
            }
        }
        Ok(made)
    }
}
