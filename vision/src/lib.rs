//! Types and algorithms that the vision actors share: frames, faces, model cards, preprocessing (its only
//! implementation) and drawing. Independent of graphs.

pub mod blur;
pub mod card;
pub mod draw;
pub mod face;
pub mod frame;
pub mod frame_hub;
pub mod image_file;
pub mod jpeg;
mod lock;
pub mod opencv_threads;
pub mod pool;
pub mod preprocess;
pub mod scores;

pub use card::{Model, ModelCard, Weights};
pub use face::{Expression, Face, GroundTruth, Landmarks, Point, Rect, TrueFace};
pub use frame::{Frame, FrameMut, FramePool};
pub use frame_hub::{FrameHub, ShownFace, ShownFrame};
pub use preprocess::Preprocessor;
