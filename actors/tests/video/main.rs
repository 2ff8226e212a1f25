//! Video in and out, against ffmpeg's own programs and a real RTSP server.

mod files;
mod live;
mod support;
mod write;
