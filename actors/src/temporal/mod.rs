//! Actors that look at one stream over time: who is who from frame to frame, and which expression lasts.

pub mod smooth_labels;
mod stream_time;
pub mod track_faces;
