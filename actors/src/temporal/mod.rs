//! Actors that follow one stream over time: tracking of faces, and smoothing of their expressions.

pub mod smooth_labels;
pub mod track_faces;
