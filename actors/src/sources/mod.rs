//! Where streams come from: video files, cameras, folders of images, drawn people.

mod burst;
mod damage;
pub mod image_source;
mod notices;
mod orientation;
mod reconnect;
mod recorder;
pub mod synthetic_faces;
mod time_line;
mod uri;
mod video_error;
mod video_reader;
mod video_settings;
pub mod video_source;
mod watch;
mod whole_file;
