//! Where streams come from: video files, cameras, folders of images.

pub mod image_source;
mod reconnect;
mod uri;
mod video_reader;
pub mod video_source;
mod whole_file;
