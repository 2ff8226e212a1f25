//! Actors at the end of a graph: video files, CSV, windows.

pub mod draw_overlay;
mod h264;
mod mp4_encoder;
pub mod segments;
pub mod show_window;
mod timeline;
pub mod write_csv;
pub mod write_video;
