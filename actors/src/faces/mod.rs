//! Faces in frames: where they are and whose continuation they are.

pub mod crop_faces;
pub mod detect_faces;
mod haar;
mod nms;
#[cfg(test)]
mod oracle_tests;
mod pixels;
mod priors;
mod ultraface;
mod yunet;
