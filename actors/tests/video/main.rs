//! Video in and out, against ffmpeg's own programs and a real RTSP server.

mod answers;
mod cases;
mod damage;
mod files;
mod live;
mod rtsp_recordings;
mod servers;
#[path = "../../../tests/skipped.rs"]
mod skipped;
mod slow_cameras;
mod support;
mod times;
mod write;
mod write_failures;
