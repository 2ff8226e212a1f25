//! The input that a network gets of one view of a picture: varied, preprocessed as a card says, partly erased. Which views there are is the
//! caller's.

use fermata_learn::augmentation::Variation;
use fermata_vision::card::{InputSpec, ModelCard};
use fermata_vision::preprocess::PreprocessError;
use fermata_vision::{Frame, FramePool, Preprocessor};

use crate::payload::Failure;

/// Makes inputs. Keeps buffers, so each thread has its own.
pub(crate) struct ViewInput {
    preprocessor: Preprocessor,
    pool: FramePool,
    input: InputSpec,
}

impl ViewInput {
    /// For models with this card.
    pub(crate) fn new(card: &ModelCard) -> Result<Self, PreprocessError> {
        Ok(Self {
            preprocessor: Preprocessor::new(card)?,
            pool: FramePool::new(),
            input: card.input.clone(),
        })
    }

    /// Values of an input.
    pub(crate) fn len(&self) -> usize {
        self.input.len()
    }

    /// Writes the input of a view into `out` of [`ViewInput::len`] values; they are arbitrary after a failure. Without a variation it is the
    /// picture as it is.
    pub(crate) fn write(
        &mut self,
        picture: &Frame,
        variation: Option<&Variation>,
        out: &mut [f32],
    ) -> Result<(), Failure> {
        let preprocess = |preprocessor: &mut Preprocessor, picture: &Frame, out: &mut [f32]| {
            let done = preprocessor.run_whole(picture, out);
            done.map_err(|error| Failure::new(&error))
        };
        let Some(variation) = variation else {
            return preprocess(&mut self.preprocessor, picture, out);
        };
        let varied = variation.apply(picture, &self.pool);
        let varied = varied.map_err(|error| Failure::new(&error))?;
        preprocess(&mut self.preprocessor, &varied, out)?;
        variation.erase(out, &self.input);
        Ok(())
    }
}
