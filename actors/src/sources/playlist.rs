//! Local playlists (M3U8): the files they consist of, and when they end.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ffmpeg_next::Dictionary;

/// Maximum number of bytes read of a playlist: hours of segments.
const MOST: u64 = 4 << 20;

/// How often a playlist without an end is reread while nothing is added to it. libav waits half a segment's length
/// before each.
const LOOKS: u32 = 6;

/// Returns libav's options for a local file, in case it is a playlist: one that a recorder did not finish is read from
/// its beginning, as a complete one is, and ends when nothing has been added for a while. By default, libav begins
/// three segments before the end and then waits for minutes.
pub(super) fn options() -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("live_start_index", "0");
    options.set("m3u8_hold_counters", &LOOKS.to_string());
    options
}

/// Returns whether the file is a playlist that does not state its end.
pub(super) fn has_no_end(path: &Path) -> bool {
    is_playlist(path) && text(path).is_some_and(|text| !text.contains("#EXT-X-ENDLIST"))
}

/// Returns the file and, if it is a playlist, the files that it names.
pub(super) fn with_parts(path: PathBuf) -> Vec<PathBuf> {
    let parts = if is_playlist(&path) {
        parts(&path)
    } else {
        Vec::new()
    };
    std::iter::once(path).chain(parts).collect()
}

fn is_playlist(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    let mut endings = ["m3u8", "m3u"].iter();
    endings.any(|known| ending.eq_ignore_ascii_case(known))
}

/// Returns the playlist's text, or `None` if it cannot be read: opening it reports the reason.
fn text(playlist: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(playlist).ok()?;
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn parts(playlist: &Path) -> Vec<PathBuf> {
    let text = text(playlist).unwrap_or_default();
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
