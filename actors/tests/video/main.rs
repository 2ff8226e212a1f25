//! Video in and out, against ffmpeg's own programs and a real RTSP server.

mod cases;
mod files;
mod live;
mod servers;
mod support;
mod times;
mod write;
