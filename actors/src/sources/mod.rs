//! Where streams come from: video files, cameras, folders of images.

mod reconnect;
mod uri;
mod video_reader;
pub mod video_source;
mod whole_file;

pub use uri::redact;
