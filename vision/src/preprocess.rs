//! Converts a face in a frame into a model's input, according to its card: the only implementation, for training, batch
//! and live use alike.
//!
//! Owns the order of the steps. Each step has a file: the part of the frame (`crop`), the equalisation (`clahe`),
//! values and layout (`scaling`). Buffers are reused between faces, so that a face allocates no pixels.

mod canvas;
mod clahe;
mod crop;
mod error;
mod scaling;
#[cfg(test)]
mod tests;

use opencv::boxed_ref::BoxedRef;
use opencv::core::Mat;
use opencv::imgproc;
use opencv::prelude::*;

use self::canvas::{Canvas, method};
use self::clahe::Equaliser;
use self::crop::Cropper;
pub use self::error::{FaceError, PreprocessError};
use self::scaling::Scaler;
use crate::card::{ClaheStage, Colour, ModelCard, Size};
use crate::face::{Landmarks, Rect};
use crate::frame::Frame;
use crate::opencv_threads;

/// Produces a model's input according to its card. Owns buffers, so each thread needs its own.
#[derive(Debug)]
pub struct Preprocessor {
    cropper: Cropper,
    fitter: Fitter,
}

impl Preprocessor {
    /// Creates a preprocessor for the model with this card, which must come from [`ModelCard::load`] or
    /// [`ModelCard::parse`].
    ///
    /// # Errors
    /// Returns errors of OpenCV.
    pub fn new(card: &ModelCard) -> Result<Self, PreprocessError> {
        opencv_threads::use_one_thread()?;
        Ok(Self {
            cropper: Cropper::new(card),
            fitter: Fitter::new(card)?,
        })
    }

    /// Returns the number of values in one input.
    pub fn len(&self) -> usize {
        self.fitter.len
    }

    /// Returns false: an input always has values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the input for the face in `rect` into `out`, without the batch dimension.
    ///
    /// # Errors
    /// Fails with [`PreprocessError::Face`] for a face that has no crop; `out` is arbitrary then.
    pub fn run(
        &mut self,
        frame: &Frame,
        rect: &Rect,
        landmarks: Option<&Landmarks>,
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        self.fitter.check(out)?;
        let picture = frame.mat()?;
        let patch = self.cropper.crop(&picture, rect, landmarks)?;
        self.fitter.fit(patch, out)
    }

    /// Does the same as [`Preprocessor::run`] for a picture that is already cropped (from a data set): no margin, no
    /// alignment, the whole picture, stretched if its aspect ratio differs from the input's.
    ///
    /// # Errors
    /// Fails with [`FaceError::NoArea`] for a picture without pixels.
    pub fn run_whole(&mut self, picture: &Frame, out: &mut [f32]) -> Result<(), PreprocessError> {
        self.fitter.check(out)?;
        if picture.width() == 0 || picture.height() == 0 {
            return Err(FaceError::NoArea.into());
        }
        self.fitter.fit(picture.mat()?, out)
    }
}

/// Converts a crop into values: everything after cropping.
#[derive(Debug)]
struct Fitter {
    len: usize,
    size: Size,
    gray: bool,
    interpolation: i32,
    equaliser: Option<(ClaheStage, Equaliser)>,
    scaler: Scaler,
    one_channel: Canvas,
    resized: Canvas,
}

impl Fitter {
    fn new(card: &ModelCard) -> Result<Self, PreprocessError> {
        let equaliser = match &card.clahe {
            None => None,
            Some(spec) => Some((spec.at, Equaliser::new(spec)?)),
        };
        Ok(Self {
            len: card.input.len(),
            size: card.input.size,
            gray: card.input.colour == Colour::Gray,
            interpolation: method(card.interpolation),
            equaliser,
            scaler: Scaler::new(card),
            one_channel: Canvas::default(),
            resized: Canvas::default(),
        })
    }

    fn check(&self, out: &[f32]) -> Result<(), PreprocessError> {
        let (given, expected) = (out.len(), self.len);
        if given == expected {
            Ok(())
        } else {
            Err(PreprocessError::BufferLength { given, expected })
        }
    }

    fn fit(&mut self, patch: BoxedRef<'_, Mat>, out: &mut [f32]) -> Result<(), PreprocessError> {
        let Self {
            equaliser,
            one_channel,
            resized,
            ..
        } = self;
        let channels = if self.gray { 1 } else { 3 };
        let patch = if self.gray {
            let mut gray = one_channel.paint(patch.size()?, channels)?;
            imgproc::cvt_color_def(&patch, &mut gray, imgproc::COLOR_BGR2GRAY)?;
            gray.into()
        } else {
            patch
        };
        let (before, after) = match equaliser {
            None => (None, None),
            Some((ClaheStage::Crop, equaliser)) => (Some(equaliser), None),
            Some((ClaheStage::Input, equaliser)) => (None, Some(equaliser)),
        };
        let patch = match before {
            None => patch,
            Some(equaliser) => equaliser.equalise(&patch)?,
        };
        let size = canvas::size(self.size.width, self.size.height);
        let mut fitting = resized.paint(size, channels)?;
        imgproc::resize(&patch, &mut fitting, size, 0.0, 0.0, self.interpolation)?;
        let fitting = fitting.into();
        let fitting: BoxedRef<'_, Mat> = match after {
            None => fitting,
            Some(equaliser) => equaliser.equalise(&fitting)?,
        };
        self.scaler.write(fitting.data_bytes()?, out);
        Ok(())
    }
}
