//! What viewers see of the faces: boxes, labels and bars drawn into the video, or faces made unrecognisable.

pub mod draw_overlay;
pub(crate) mod hiding;
