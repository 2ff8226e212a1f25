//! Where streams come from: video files, cameras, folders of images, drawn people.

pub mod image_source;
mod reconnect;
mod recorder;
mod relay;
mod replies;
pub mod synthetic_faces;
pub mod tls;
mod uri;
mod video_reader;
pub mod video_source;
mod whole_file;
