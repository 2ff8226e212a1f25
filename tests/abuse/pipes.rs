//! Pipes as inputs: read from start to end, and given up when nobody writes.

use std::fs;

use super::{Place, rows};
use crate::command::send;

const REPLAY: &str = "\
fermata: 1
nodes:
  s: {use: video_source, uri: pipe}
  d: {use: detect_faces, in: s, every: 100000}
  e: {use: write_csv, in: d, path: \"${run.dir}/faces.csv\"}
run: {clock: asap, drain: 5m}
";

/// Creates a place with a pipe, a link to it, and a video of 50 frames.
fn place() -> Place {
    let place = Place::new(REPLAY);
    let made = place.script(
        "ffmpeg -v error -f lavfi -i testsrc=size=160x120:rate=25:duration=2 -c:v mpeg2video v.ts && mkfifo pipe && ln -s pipe link",
    );
    assert_eq!(made.code, Some(0), "{}", made.said);
    place
}

/// Returns a shell command that writes into the pipe. It must not outlive a run that never opens the pipe: whoever
/// waits for its output would keep waiting.
fn writer(command: &str) -> String {
    format!("timeout 250 sh -c '({command}) > pipe' > /dev/null 2>&1 &")
}

#[test]
fn a_pipe_is_read_from_start_to_end() {
    let place = place();
    let script = format!("{} $F run g.yaml --out o -q", writer("sleep 0.5; cat v.ts"));
    let ended = place.script(&script);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(rows(&place.path("o/faces.csv")), 50);
}

#[test]
fn a_pipe_is_read_whatever_it_is_called() {
    let place = place();
    for (number, (before, uri)) in [
        // A shell's process substitution.
        ("", "<(cat v.ts)"),
        ("cat v.ts |", "/dev/stdin"),
        (&*writer("cat v.ts"), "link"),
        (&*writer("cat v.ts"), "file://$PWD/pipe"),
        // A writer that pauses within a frame.
        (
            &*writer("head -c 30000 v.ts; sleep 0.5; tail -c +30001 v.ts"),
            "./pipe",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let script = format!("{before} $F run g.yaml --set nodes.s.uri={uri} --out o{number} -q");
        let ended = place.script(&script);
        assert_eq!(ended.code, Some(0), "{uri}: {}", ended.said);
        let table = place.path(&format!("o{number}")).join("faces.csv");
        assert_eq!(rows(&table), 50, "{uri}");
    }
}

#[test]
fn a_writer_that_dies_costs_what_it_did_not_write() {
    let place = place();
    let script = format!("{} $F run g.yaml --out o -q", writer("head -c 20000 v.ts"));
    let ended = place.script(&script);
    assert!(matches!(ended.code, Some(0 | 1)), "{}", ended.said);
    let names = place.names("o");
    let table = names.iter().find(|name| name.starts_with("faces.csv"));
    let count = rows(&place.path("o").join(table.expect("a table")));
    assert!((1..50).contains(&count), "{count} rows");
}

#[test]
fn a_pipe_without_a_writer_can_be_given_up() {
    for signal in ["INT", "TERM", "HUP"] {
        let place = place();
        let mut run = place.start(&[], "faces.csv.part", 10);
        send(&run, signal);
        assert_eq!(run.wait().unwrap().code(), Some(130), "{signal}");
    }
}

#[test]
fn a_check_does_not_wait_for_a_writer() {
    let place = place();
    let ended = place.script("timeout 250 $F check g.yaml");
    assert_eq!(ended.code, Some(0), "{}", ended.said);
}

#[test]
fn a_stream_whose_pipe_has_no_writer_holds_up_no_other() {
    let text = REPLAY
        .replace("nodes:", "streams: {a: pipe, b: v.ts}\nnodes:")
        .replace("uri: pipe", "each: stream, uri: \"${stream.uri}\"")
        .replace("clock: asap", "clock: live");
    let place = place();
    fs::write(place.path("g.yaml"), text).unwrap();
    let mut run = place.start(&[], "faces.csv.part", 10);
    let part = place.path("o/faces.csv.part");
    crate::support::wait_until("all of b", || rows(&part) >= 50);
    send(&run, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_eq!(rows(&place.path("o/faces.csv")), 50);
}
