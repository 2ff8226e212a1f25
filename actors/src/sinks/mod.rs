//! Actors at the end of a graph: files, pages, statistics.

pub mod show_window;
pub mod write_csv;
//! Where results go: video files.

mod mp4_encoder;
mod timeline;
pub mod write_video;
