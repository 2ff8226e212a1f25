//! Why a face cannot be converted into a model's input.

/// Why a face has no crop. Caused by the face, not by the program: callers count it and continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum FaceError {
    /// Its box has no area, or coordinates that are not finite.
    #[error("its box has no area or no finite coordinates")]
    NoArea,
    /// No part of it is in the frame.
    #[error("its box or its landmarks lie outside the frame")]
    OutsideFrame,
    /// Its crop would be more than four times as wide or high as the frame's longer side.
    #[error("its crop would be far larger than the frame")]
    TooLarge,
    /// The card aligns by landmarks, but it has none.
    #[error(
        "it has no landmarks, but the card aligns by them (`alignment: landmarks_or_box` would crop it by its box)"
    )]
    NoLandmarks,
    /// Its landmarks coincide, or are not finite.
    #[error("its landmarks coincide or are not finite")]
    NoShape,
}

/// Why no input can be produced.
#[derive(Debug, thiserror::Error)]
pub enum PreprocessError {
    /// See [`FaceError`].
    #[error("a face has no crop: {0}")]
    Face(#[from] FaceError),
    /// The caller's buffer has the wrong length.
    #[error("a buffer of {given} values was given for an input of {expected}")]
    BufferLength {
        /// Values in the buffer.
        given: usize,
        /// Values of an input.
        expected: usize,
    },
    /// An error of OpenCV.
    #[error("OpenCV failed: {0}")]
    OpenCv(#[from] opencv::Error),
}
