//! Faces in frames: detection, cropping, gating, and the frame adjustments before them.

pub mod adjust_frames;
pub mod crop_faces;
pub mod detect_faces;
pub mod gate_faces;
mod haar;
mod nms;
#[cfg(test)]
mod oracle_tests;
mod pixels;
mod priors;
mod ultraface;
mod yunet;
