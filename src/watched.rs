//! Detects photos, videos and addresses given in place of a command or a graph.

use std::path::Path;

use fermata_engine::graph::redact;

/// File extensions of media that people want to look at rather than run.
const WATCHED: [&str; 17] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mpg", "mpeg", "wmv", "3gp", "jpg", "jpeg",
    "png", "bmp", "webp", "heic",
];

/// Returns whether an argument is a photo, a video or an address rather than a graph.
pub(crate) fn is_watched(named: &str) -> bool {
    let ending = Path::new(named).extension().unwrap_or_default();
    let ending = ending.to_string_lossy().to_lowercase();
    WATCHED.contains(&ending.as_str()) || named.contains("://") || named.starts_with("/dev/video")
}

/// Suggests a command for a photo, a video or an address given in place of a command or a graph.
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
