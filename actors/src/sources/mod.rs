//! Where streams come from: video files, cameras, folders of images, drawn people.

mod burst;
mod container;
mod damage;
mod decoding;
pub mod image_source;
mod notices;
mod orientation;
mod picture_order;
mod pipe;
mod pixels;
mod reconnect;
mod recorder;
mod relay;
mod replies;
mod stamps;
pub mod synthetic_faces;
mod ticks;
mod time_line;
pub mod tls;
mod uri;
mod video_error;
mod video_input;
mod video_reader;
mod video_settings;
pub mod video_source;
mod watch;
mod whole_file;
