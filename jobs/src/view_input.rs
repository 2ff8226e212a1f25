//! A network's input for one view of a picture: varied, preprocessed as a card specifies, partly erased. The caller
//! chooses the views.

use fermata_learn::augmentation::Variation;
use fermata_vision::card::{InputSpec, ModelCard};
use fermata_vision::preprocess::PreprocessError;
use fermata_vision::{Frame, FramePool, Preprocessor};

use crate::payload::Failure;

/// Returns a picture in a view; unchanged without a variation.
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
    /// Creates one for models with this card.
    pub(crate) fn new(card: &ModelCard) -> Result<Self, PreprocessError> {
        Ok(Self {
            preprocessor: Preprocessor::new(card)?,
            input: card.input.clone(),
        })
    }

    /// Returns the number of values of an input.
    pub(crate) fn len(&self) -> usize {
        self.input.len()
    }

    /// Writes the input of a view into `out`, which holds [`ViewInput::len`] values; they are arbitrary after a
    /// failure. `picture` is the output of [`varied`].
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
