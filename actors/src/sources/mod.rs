//! Where streams come from: video files, cameras, folders of images, drawn people.

pub mod image_source;
mod pipe;
mod reconnect;
mod recorder;
pub mod synthetic_faces;
mod uri;
mod video_reader;
pub mod video_source;
mod whole_file;
