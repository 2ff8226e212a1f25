//! Actors at the end of a graph: video files, CSV, windows.

mod h264;
mod mp4_encoder;
pub mod segments;
pub mod show_window;
mod timeline;
pub mod write_csv;
pub mod write_images;
pub mod write_video;
