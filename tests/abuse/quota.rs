//! A disk quota that is used up. Quotas do not bind root and need a disk of their own, so `strace` injects the system's
//! error (EDQUOT) instead.

use std::fs;
use std::process::{Command, Stdio};

use crate::skipped::skip;

use super::{Ended, GRAPH, Place, assert_files_as_reported, frames, rows};

/// Runs the graph with these calls on these files of the run failing for lack of quota.
fn over_quota(place: &Place, files: &[&str], calls: &str) -> Ended {
    let paths = files.iter().flat_map(|file| {
        // One path as it is opened, the other as it is once open.
        let file = format!("o/{file}");
        let file = file.trim_end_matches('/');
        [
            format!("-P '{file}'"),
            format!("-P '{}'", place.path(file).display()),
        ]
    });
    let paths: Vec<String> = paths.collect();
    let (name, _) = calls.split_once(':').unwrap_or((calls, ""));
    place.script(&format!(
        "strace -f -qq -o /dev/null {} -e trace={name} -e inject={}:error=EDQUOT{} $F run g.yaml --out o -q",
        paths.join(" "),
        name,
        calls.strip_prefix(name).unwrap_or_default(),
    ))
}

/// Returns whether `strace` may trace its children here.
fn can_trace() -> bool {
    let mut traced = Command::new("strace");
    traced.args(["-qq", "-o", "/dev/null", "true"]);
    traced.stderr(Stdio::null());
    let can = traced.status().is_ok_and(|status| status.success());
    if !can {
        skip("strace cannot trace here");
    }
    can
}

#[test]
fn a_quota_that_is_used_up_costs_what_is_beyond_it_and_is_told() {
    if !can_trace() {
        return;
    }
    // The header and two frames.
    let place = Place::new(GRAPH);
    let ended = over_quota(&place, &["a.csv.part"], "write:when=4+");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    for words in ["Disk quota exceeded", "a.csv.part holds"] {
        assert!(ended.said.contains(words), "{words}: {}", ended.said);
    }
    assert_files_as_reported(&place);
    assert_eq!(rows(&place.path("o/a.csv.part")), 2, "{}", ended.said);
    assert_eq!(frames(&place.path("o/a.mp4")), 10, "{}", ended.said);

    let place = Place::new(GRAPH);
    let ended = over_quota(&place, &["a.mp4.part"], "write:when=2+");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("Disk quota exceeded"), "{}", ended.said);
    assert_files_as_reported(&place);
    assert!(!place.path("o/a.mp4").exists(), "{}", ended.said);
    assert_eq!(rows(&place.path("o/a.csv")), 10, "{}", ended.said);
    assert!(!ended.said.contains(" in it"), "{}", ended.said);

    let place = Place::new(GRAPH);
    let ended = over_quota(&place, &["a.csv.part"], "write:when=2+");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(
        !ended.said.contains("earlier rows are in it"),
        "{}",
        ended.said
    );
    assert_files_as_reported(&place);
}

/// Some file systems (NFS) report it only when the written data is synced.
#[test]
fn a_quota_that_is_told_at_the_end_leaves_no_file_that_looks_whole() {
    if !can_trace() {
        return;
    }
    let place = Place::new(GRAPH);
    let ended = over_quota(&place, &["a.csv.part", "a.mp4.part"], "fsync");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("Disk quota exceeded"), "{}", ended.said);
    for name in ["a.csv", "a.mp4"] {
        assert!(!place.path("o").join(name).exists(), "{name} looks whole");
    }
    assert_files_as_reported(&place);
    assert_eq!(rows(&place.path("o/a.csv.part")), 10, "{}", ended.said);
}

/// The files have their final names by then; only a power cut could undo that.
#[test]
fn a_folder_that_cannot_be_synced_is_a_failure_and_its_files_are_complete() {
    if !can_trace() {
        return;
    }
    let place = Place::new(
        "\
fermata: 1
streams: {a: 1}
nodes:
  s: {use: synthetic_faces, each: stream, count: 10, width: 160, height: 120, truth: out/truth.csv}
  d: {use: detect_faces, in: s, every: 100000}
  e: {use: write_csv, in: d, path: out/a.csv}
  j: {use: write_jsonl, in: d, path: out/a.jsonl}
  v: {use: write_video, each: stream, in: s, path: out/a.mp4}
run: {clock: asap}
",
    );
    fs::create_dir(place.path("out")).unwrap();
    let ended = place.script(
        "strace -f -qq -o /dev/null -P $PWD/out -e trace=fsync -e inject=fsync:error=EIO $F run g.yaml --out o -q",
    );
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    for words in ["may be gone after a power cut", "out/a.csv", "out/a.mp4"] {
        assert!(ended.said.contains(words), "{words}: {}", ended.said);
    }
    assert!(!ended.said.contains("incomplete"), "{}", ended.said);
    assert_files_as_reported(&place);
    let names = ["a.csv", "a.jsonl", "a.mp4", "truth.csv"];
    assert_eq!(place.names("out"), names, "{}", ended.said);
    let report = place.report();
    let files = report["files"].as_array().unwrap();
    assert!(files.len() == 4 && files.iter().all(|file| file["state"] == "complete"));
}

#[test]
fn without_quota_for_a_file_or_folder_nothing_is_started_and_a_report_is_missed() {
    if !can_trace() {
        return;
    }
    let place = Place::new(GRAPH);
    let ended = over_quota(&place, &["a.csv.part"], "openat");
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains("Disk quota exceeded"), "{}", ended.said);
    let place = Place::new(GRAPH);
    let ended = over_quota(&place, &[""], "mkdir");
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains("Disk quota exceeded"), "{}", ended.said);
    assert!(!place.path("o").exists(), "{}", ended.said);

    let place = Place::new(GRAPH);
    let ended = over_quota(&place, &["report.json.part"], "write");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    for words in ["Disk quota exceeded", "report.json"] {
        assert!(ended.said.contains(words), "{words}: {}", ended.said);
    }
    assert_eq!(rows(&place.path("o/a.csv")), 10, "{}", ended.said);
    assert_eq!(frames(&place.path("o/a.mp4")), 10, "{}", ended.said);
    assert!(fs::metadata(place.path("o/report.json")).is_err());
}
