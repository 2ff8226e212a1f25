//! Recordings that are played over RTSP: complete, the same twice, and failed where they break.

use std::path::{Path, PathBuf};

use crate::servers::{self, Farewell, Sending};
use crate::skipped::data;
use crate::support::{Read, case, ffmpeg, open, pts_us, read_all, read_whole, settings_of};

/// Number of pictures that the server has.
const PICTURES: usize = 100;
/// Number of pictures of each clip that are played.
const OF_CLIP: usize = 60;

/// Plays a recording with this many pictures that states this length; returns the frames, and why they stopped if that
/// is not the recording's end.
fn played_from(
    h264: &[u8],
    pictures: usize,
    lasts_s: f64,
    farewell: Farewell,
) -> (Vec<Read>, Option<String>) {
    let sending = Sending {
        fps: 2_000.0,
        stamped_fps: 25.0,
        most: pictures,
        lasts_s: Some(lasts_s),
        farewell,
        ..Sending::at(25.0)
    };
    let server = servers::rtsp(h264, sending);
    let uri = format!("rtsp://127.0.0.1:{}/x", server.port);
    let json = serde_json::json!({ "uri": uri, "timeout": "2s" });
    let (frames, error) = read_all(open(settings_of(json)));
    (frames, error.map(|error| error.to_string()))
}

fn played(lasts_s: f64, farewell: Farewell) -> (Vec<Read>, Option<String>) {
    let pictures = std::fs::read(case("r1.h264")).expect("the case");
    played_from(&pictures, PICTURES, lasts_s, farewell)
}

#[test]
fn a_recording_over_rtsp_is_whole_and_twice_the_same_however_it_ends() {
    let (once, error) = played(4.0, Farewell::Bye);
    assert_eq!(error, None);
    let expected: Vec<i64> = (0..PICTURES as i64).map(|n| n * 40_000).collect();
    assert_eq!(pts_us(&once), expected);
    for farewell in [Farewell::Bye, Farewell::Close, Farewell::Silence] {
        let (again, error) = played(4.0, farewell);
        assert_eq!(error, None, "{farewell:?}");
        assert_eq!(pts_us(&again), expected, "{farewell:?}");
        let mut pairs = once.iter().zip(&again);
        assert!(pairs.all(|(a, b)| a.video.frame.bgr() == b.video.frame.bgr()));
    }
}

#[test]
fn a_recording_over_rtsp_that_breaks_before_its_end_fails() {
    for (farewell, words) in [
        (Farewell::Close, "before its end"),
        (Farewell::Silence, "no picture within"),
    ] {
        let (frames, error) = played(60.0, farewell);
        assert_eq!(frames.len(), PICTURES, "{farewell:?}");
        let error = error.unwrap_or_else(|| panic!("{farewell:?} is no end"));
        assert!(error.contains(words), "{farewell:?}: {error}");
    }
}

/// Each clip as a camera's encoder would send it.
#[test]
fn every_clip_over_rtsp_has_the_pictures_of_the_file_twice() {
    let Some(data) = data() else { return };
    let clips = std::fs::read_dir(data.join("videos")).expect("videos");
    let clips: Vec<PathBuf> = clips.map(|entry| entry.expect("an entry").path()).collect();
    assert!(clips.len() >= 3, "{clips:?}");
    // Most of the time is spent waiting for the network.
    std::thread::scope(|scope| {
        for clip in &clips {
            scope.spawn(|| comes_over_rtsp(clip));
        }
    });
}

fn comes_over_rtsp(clip: &Path) {
    let encoded = format!(
        "-i {{}} -an -frames:v {OF_CLIP} -pix_fmt yuv420p -c:v libx264 -preset ultrafast -x264-params slices=1:bframes=0 -f h264 -"
    );
    let h264 = ffmpeg(&encoded, clip);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("clip.h264");
    std::fs::write(&file, &h264).expect("a file");
    let of_file = read_whole(&file);
    let clip = clip.display();
    assert!(of_file.len() > 20, "{clip}");
    let lasts_s = of_file.len() as f64 / 25.0;
    let expected: Vec<i64> = (0..of_file.len() as i64).map(|n| n * 40_000).collect();
    for _ in 0..2 {
        let (frames, error) = played_from(&h264, of_file.len(), lasts_s, Farewell::Bye);
        assert_eq!(error, None, "{clip}");
        assert_eq!(pts_us(&frames), expected, "{clip}");
        let mut pairs = frames.iter().zip(&of_file);
        assert!(
            pairs.all(|(a, b)| a.video.frame.bgr() == b.video.frame.bgr()),
            "{clip}"
        );
    }
}
