//! Runs that are killed or interrupted at random moments: what is on the disk afterwards. `FERMATA_KILLS_SEED` repeats
//! a sequence of moments.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::soak;
use crate::abuse::{Place, frames, rows};
use crate::command::send;

/// Four cameras, each with a table and a video.
const GRAPH: &str = "\
fermata: 1
streams: {a: 1, b: 2, c: 3, d: 4}
nodes:
  s: {use: synthetic_faces, each: stream, seed: \"${stream.uri}\", width: 160, height: 120, fps: 25, count: 100000}
  f: {use: detect_faces, each: stream, in: s, every: 100000}
  e: {use: write_csv, each: stream, in: f, path: \"${run.dir}/${stream.name}.csv\"}
  v: {use: write_video, each: stream, in: s, path: \"${run.dir}/${stream.name}.mp4\"}
run: {clock: live, drain: 10s}
";

const FPS: u64 = 25;

/// Frames that may be missing at the end of a part: one second, plus the frames waiting before the encoder whose rows
/// are already written.
const MOST_LOST: u64 = FPS + 8;

/// How far the rows on the disk may lag behind: one second because rows are written within a second, and another for a
/// busy machine.
const MOST_BEHIND: Duration = Duration::from_secs(2);

/// Chooses a moment in the life of a run by hashing the number of the try.
fn moment(seed: u64, number: u64) -> Duration {
    let mixed =
        (seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let most = if soak() { 5000 } else { 1500 };
    Duration::from_millis((mixed >> 33) % most)
}

fn seed() -> u64 {
    let given = std::env::var("FERMATA_KILLS_SEED").ok();
    let seed = given.and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("FERMATA_KILLS_SEED={seed}");
    seed
}

fn tries(short: u64) -> u64 {
    if soak() { 100 } else { short }
}

/// Starts a run and waits for its moment; returns how many rows of the stream `d` are on the disk at least.
fn started(place: &Place, number: u64) -> (std::process::Child, u64) {
    let run = place.start(&[], "d.mp4.part", 6000);
    let before = rows(&place.path("o/d.csv.part"));
    let moment = moment(seed(), number);
    std::thread::sleep(moment);
    let certain = moment.saturating_sub(MOST_BEHIND).as_millis() as u64 * FPS / 1000;
    (run, before + certain)
}

fn file(place: &Place, name: &str) -> Option<PathBuf> {
    let path = place.path("o").join(name);
    path.exists().then_some(path)
}

/// What is on the disk of a stream: how much, and whether under its final name.
#[derive(Clone, Copy, Debug)]
struct Held {
    count: u64,
    is_whole: bool,
}

/// Returns the rows and frames of a stream, whether in parts or under their final names.
fn held(place: &Place, stream: &str) -> (Held, Held) {
    let of = |extension: &str, count: fn(&Path) -> u64| {
        let whole = file(place, &format!("{stream}.{extension}"));
        let part = file(place, &format!("{stream}.{extension}.part"));
        assert!(
            whole.is_none() || part.is_none(),
            "{stream}.{extension} is there twice"
        );
        let is_whole = whole.is_some();
        let count = whole.or(part).map_or(0, |path| count(&path));
        Held { count, is_whole }
    };
    let (rows, frames) = (of("csv", rows), of("mp4", frames));
    if frames.is_whole {
        assert_whole(&place.path("o").join(format!("{stream}.mp4")));
    }
    (rows, frames)
}

/// Asserts that `ffprobe` finds nothing to complain about in a video, from its beginning to its end.
fn assert_whole(video: &Path) {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_streams"])
        .arg(video)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{}: {complaints}",
        video.display()
    );
}

/// Asserts that a stream's files hold enough: the same amount under their final names; in parts, the video nearly as
/// much as the table.
#[track_caller]
fn assert_held(number: u64, stream: &str, (rows, frames): (Held, Held)) {
    let most_lost = if frames.is_whole { 0 } else { MOST_LOST };
    assert!(
        frames.count + most_lost >= rows.count,
        "try {number}: {stream} has {rows:?} rows, but only {frames:?} frames"
    );
    if rows.is_whole {
        assert!(
            rows.count >= frames.count,
            "try {number}: {stream} has {frames:?} frames, but only {rows:?} rows"
        );
    }
}

#[test]
fn a_run_that_is_killed_leaves_parts_that_can_be_read_nearly_to_their_end() {
    for number in 0..tries(2) {
        let place = Place::new(GRAPH);
        let (mut run, least) = started(&place, number);
        run.kill().unwrap();
        run.wait().unwrap();
        for stream in ["a", "b", "c", "d"] {
            assert!(file(&place, &format!("{stream}.mp4")).is_none());
            assert!(file(&place, &format!("{stream}.csv")).is_none());
            let (rows, frames) = held(&place, stream);
            // The test waited for this stream only; the others may have begun just now.
            assert!(
                stream != "d" || rows.count >= least.max(1) && frames.count > 0,
                "try {number}: {stream} has {rows:?} rows of {least}, {frames:?} frames"
            );
            assert_held(number, stream, (rows, frames));
        }
    }
}

#[test]
fn a_run_that_is_interrupted_says_what_is_in_which_file() {
    for number in 0..tries(3) {
        let place = Place::new(GRAPH);
        let (mut run, least) = started(&place, number);
        let signals = number % 3 + 1;
        for _ in 0..signals {
            send(&run, "INT");
            std::thread::sleep(Duration::from_millis(210));
            if run.try_wait().unwrap().is_some() {
                break;
            }
        }
        let code = run.wait().unwrap().code();
        // A stop does not wait for a disk that takes longer than its grace to sync a file.
        let has_hung = || place.report()["hung"] != serde_json::json!([]);
        assert!(
            code == Some(130) || code == Some(1) && has_hung(),
            "try {number}: {code:?}"
        );
        if fs::exists(place.path("o/report.json")).unwrap() {
            crate::abuse::assert_files_as_reported(&place);
        } else {
            assert_eq!(signals, 3, "try {number}: no report");
        }
        for stream in ["a", "b", "c", "d"] {
            let (rows, frames) = held(&place, stream);
            assert_held(number, stream, (rows, frames));
            let is_late = stream == "d" && rows.count < least;
            assert!(!is_late, "try {number}: {rows:?} rows of {least}");
            let are_whole = rows.is_whole && frames.is_whole;
            assert!(
                are_whole || signals > 1,
                "try {number}: {stream} was drained"
            );
        }
    }
}
