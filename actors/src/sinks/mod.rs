//! Sink actors: video files, CSV and JSON lines, pictures, webhooks, windows.

mod changes;
mod earlier;
mod frame_line;
mod h264;
mod mp4_encoder;
mod mp4_index;
pub mod segments;
pub mod send_webhook;
pub mod show_window;
pub mod timeline;
mod video_codec;
pub mod write_csv;
pub mod write_images;
pub mod write_jsonl;
pub mod write_snapshots;
pub mod write_video;
