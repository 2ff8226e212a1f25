//! Photos, videos and addresses where a command or a graph should stand: people who want to look at them.

use std::path::Path;

use fermata_engine::graph::redact;

/// Endings of what people want to look at rather than run.
const WATCHED: [&str; 17] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mpg", "mpeg", "wmv", "3gp", "jpg", "jpeg",
    "png", "bmp", "webp", "heic",
];

/// Whether something that was named is a photo, a video or an address, not a graph.
pub(crate) fn is_watched(named: &str) -> bool {
    let ending = Path::new(named).extension().unwrap_or_default();
    let ending = ending.to_string_lossy().to_lowercase();
    WATCHED.contains(&ending.as_str()) || named.contains("://") || named.starts_with("/dev/video")
}

/// What to do with a photo, a video or an address that stands where a command or a graph should.
pub(crate) fn to_analyse(named: &str) -> String {
    let named = redact(named);
    format!("help: to look at it without a graph file: fermata analyse {named}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_videos_and_addresses_are_no_graphs() {
        for named in ["a.MP4", "photo.jpg", "rtsp://door/1", "/dev/video0"] {
            assert!(is_watched(named), "{named}");
        }
        assert!(!is_watched("live.yaml") && !is_watched("run"));
    }
}
