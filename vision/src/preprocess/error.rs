//! Why a face does not become a model's input.

/// Why a face has no crop. Something about the face, not about the program: callers count it and go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum FaceError {
    /// Its box has no area, or coordinates that are no numbers.
    #[error("its box has no area or no finite coordinates")]
    NoArea,
    /// Nothing of it is in the frame.
    #[error("its box or its landmarks lie outside of the frame")]
    OutsideFrame,
    /// Its crop would be more than four times as wide or high as the frame's longer side.
    #[error("its crop would be far larger than the frame")]
    TooLarge,
    /// The card aligns by landmarks, and it has none.
    #[error(
        "it has no landmarks, by which the card aligns (`alignment: landmarks_or_box` crops it by its box)"
    )]
    NoLandmarks,
    /// Its landmarks lie on one point, or are no numbers.
    #[error("its landmarks lie on one point or are not finite")]
    NoShape,
}

/// Why there is no input for the model.
#[derive(Debug, thiserror::Error)]
pub enum PreprocessError {
    /// See [`FaceError`].
    #[error("a face has no crop: {0}")]
    Face(#[from] FaceError),
    /// The caller's buffer is of another model.
    #[error("a buffer of {given} values was given for an input of {expected}")]
    BufferLength {
        /// Values in the buffer.
        given: usize,
        /// Values of an input.
        expected: usize,
    },
    /// OpenCV itself.
    #[error("OpenCV failed: {0}")]
    OpenCv(#[from] opencv::Error),
}
