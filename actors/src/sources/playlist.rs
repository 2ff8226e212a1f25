//! Which files a local video is made of: a playlist (M3U8) names its parts.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of a playlist that are read, at most: hours of segments.
const MOST: u64 = 4 << 20;

/// The file, and if it is a playlist, the files that it names.
pub(super) fn with_parts(path: PathBuf) -> Vec<PathBuf> {
    let ending = path.extension().unwrap_or_default();
    let is_playlist = ["m3u8", "m3u"]
        .iter()
        .any(|known| ending.eq_ignore_ascii_case(known));
    let parts = if is_playlist {
        parts(&path)
    } else {
        Vec::new()
    };
    std::iter::once(path).chain(parts).collect()
}

fn parts(playlist: &Path) -> Vec<PathBuf> {
    let mut text = Vec::new();
    let read = File::open(playlist).and_then(|file| file.take(MOST).read_to_end(&mut text));
    if read.is_err() {
        // Whoever opens it says why.
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&text);
    let folder = playlist.parent().unwrap_or(Path::new(""));
    let named = text.lines().map(str::trim);
    let named = named.filter(|line| !line.is_empty() && !line.starts_with('#'));
    named
        .filter(|line| !line.contains("://"))
        .map(|line| folder.join(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playlist_is_made_of_what_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("door.m3u8");
        let text = "#EXTM3U\n#EXTINF:2,\nparts/0.ts\n\nhttp://x/1.ts\r\n2.ts\r\n";
        std::fs::write(&list, text).unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(
            with_parts(list.clone()),
            [list, at("parts/0.ts"), at("2.ts")]
        );
        assert_eq!(with_parts(at("a.mp4")), [at("a.mp4")]);
        assert_eq!(with_parts(at("none.m3u8")), [at("none.m3u8")]);
    }
}
