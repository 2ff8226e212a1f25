//! What the vision actors share: frames, faces, model cards, preprocessing (the only place where it is implemented) and drawing.
//! Knows nothing of graphs.

pub mod face;
pub mod frame;
pub mod pool;

pub use face::{Expression, Face, GroundTruth, Landmarks, Point, Rect, TrueFace};
pub use frame::{Frame, FrameMut, FramePool};
