//! Recordings that are played over RTSP: whole, twice the same, and failed where they break.

use crate::servers::{self, Farewell, Sending};
use crate::support::{Read, case, open, pts_us, read_all, settings_of};

/// Pictures that the server has.
const PICTURES: usize = 100;

/// What comes of a recording that says that it lasts this long: frames, and why there are no more if that is not its
/// end.
fn played(lasts_s: f64, farewell: Farewell) -> (Vec<Read>, Option<String>) {
    let pictures = std::fs::read(case("r1.h264")).expect("the case");
    let sending = Sending {
        fps: 2_000.0,
        stamped_fps: 25.0,
        most: PICTURES,
        lasts_s: Some(lasts_s),
        farewell,
        ..Sending::at(25.0)
    };
    let server = servers::rtsp(&pictures, sending);
    let uri = format!("rtsp://127.0.0.1:{}/x", server.port);
    let json = serde_json::json!({ "uri": uri, "timeout": "2s" });
    let (frames, error) = read_all(open(settings_of(json)));
    (frames, error.map(|error| error.to_string()))
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
