//! Where results go: video files.

mod mp4_encoder;
mod timeline;
pub mod write_video;
