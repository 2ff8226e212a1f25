//! The input that a network gets of one view of a picture: varied, preprocessed as a card says, partly erased. Which
//! views there are is the caller's.

use fermata_learn::augmentation::Variation;
use fermata_vision::card::{InputSpec, ModelCard};
use fermata_vision::preprocess::PreprocessError;
use fermata_vision::{Frame, FramePool, Preprocessor};

use crate::payload::Failure;

/// A picture in a view. Without a variation it is as it is.
pub(crate) fn varied(
    picture: &Frame,
    variation: Option<&Variation>,
    pool: &FramePool,
) -> Result<Frame, Failure> {
    match variation {
        None => Ok(picture.clone()),
        Some(variation) => {
            let varied = variation.apply(picture, pool);
            varied.map_err(|error| Failure::new(&error))
        }
    }
}

/// Makes inputs. Keeps buffers, so each thread has its own.
pub(crate) struct ViewInput {
    preprocessor: Preprocessor,
    input: InputSpec,
}

impl ViewInput {
    /// For models with this card.
    pub(crate) fn new(card: &ModelCard) -> Result<Self, PreprocessError> {
        Ok(Self {
            preprocessor: Preprocessor::new(card)?,
            input: card.input.clone(),
        })
    }

    /// Values of an input.
    pub(crate) fn len(&self) -> usize {
        self.input.len()
    }

    /// Writes the input of a view into `out` of [`ViewInput::len`] values; they are arbitrary after a failure.
    /// `picture` is what [`varied`] made of it.
    pub(crate) fn write(
        &mut self,
        picture: &Frame,
        variation: Option<&Variation>,
        out: &mut [f32],
    ) -> Result<(), Failure> {
        let done = self.preprocessor.run_whole(picture, out);
        done.map_err(|error| Failure::new(&error))?;
        if let Some(variation) = variation {
            variation.erase(out, &self.input);
        }
        Ok(())
    }
}
