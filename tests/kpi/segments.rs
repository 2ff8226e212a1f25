//! Runs whose tables and videos are in several files.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::page::shown;
use super::{HEADER, by_hand, kpi, measured, refused, run_of};
use crate::support::fermata;

/// Splits a table into two files, each with the header.
fn halves(table: &str) -> [String; 2] {
    let rows: Vec<&str> = table.lines().skip(1).collect();
    let (first, second) = rows.split_at(rows.len() / 2);
    [first, second].map(|rows| format!("{HEADER}{}\n", rows.join("\n")))
}

#[test]
fn a_table_in_several_files_has_the_numbers_of_one() {
    let (faces, truth) = by_hand();
    let [first, second] = halves(&faces);
    let one = run_of(&[("faces.csv", &faces), ("truth.csv", &truth)]);
    let several = run_of(&[
        ("faces.0009.csv", &first),
        ("faces.0010.csv", HEADER),
        ("faces.10000.csv", &second),
        ("truth.csv", &truth),
    ]);
    let all = |run: &tempfile::TempDir| measured(&[run.path()])["runs"][0]["all"].clone();
    assert_eq!(all(&several), all(&one));
    refused(
        run_of(&[("faces.0001.csv", &first), ("faces.0002.csv", &first)]).path(),
        &["faces.0002.csv, line 2", "is twice in frame 0"],
    );
}

#[test]
fn parts_are_left_out_by_name() {
    let (faces, _) = by_hand();
    let [first, second] = halves(&faces);
    let files = [
        ("faces.0001.csv", &*first),
        ("faces.0002.csv.part", &second),
    ];
    let run = run_of(&files);
    let (code, _, errors) = kpi(&[&run.path().display().to_string()]);
    assert_eq!(code, 0, "{errors}");
    assert!(
        errors.contains("left out: ") && errors.contains("faces.0002.csv.part is incomplete"),
        "{errors}"
    );
    refused(run_of(&files[1..]).path(), &["only faces.0002.csv.part"]);
}

#[test]
fn a_click_shows_the_frame_in_the_video_that_has_it() {
    let (faces, _) = by_hand();
    let begin = |path: &str, segment: u64, pts_ms: f64| json!({"path": path, "segments": [{"segment": segment, "pts_ms": pts_ms, "at_ms": 0.0}]});
    let report = json!({"files": [
        begin("elsewhere/x.mp4.part", 0, 0.0), begin("elsewhere/x.0002.mp4", 0, 200.0), begin("elsewhere/x.0003.mp4", 0, 300.0), begin("elsewhere/x.0004.mp4", 1, 0.0),
    ]});
    let report = report.to_string();
    let click =
        "document.querySelector('.flip').dispatchEvent(new MouseEvent('click', {bubbles: true}));";
    // The first flip is at 260 ms.
    for (videos, said) in [
        (
            &["x.0002.mp4", "x.0003.mp4", "x.0004.mp4"][..],
            "src=\"x.0002.mp4\"",
        ),
        (
            &["x.0003.mp4", "x.0004.mp4"],
            "x, 0.26 s: in no video that is here",
        ),
    ] {
        let mut files = vec![("faces.csv", &*faces), ("report.json", &report)];
        files.extend(videos.iter().map(|video| (*video, "")));
        let run = run_of(&files);
        let (code, _, errors) = kpi(&[&run.path().display().to_string()]);
        assert_eq!(code, 0, "{errors}");
        let dom = shown(&run.path().join("kpi.html"), click);
        assert!(dom.contains(said), "`{said}` is not in {dom}");
    }
}

#[test]
fn a_run_that_wrote_segments_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let (graph, out) = (folder.path().join("g.yaml"), folder.path().join("out"));
    let text = "\
fermata: 1
streams: {a: 1}
nodes:
  s: {use: synthetic_faces, each: stream, count: 50, fps: 25, width: 160, height: 120, faces: 1}
  d: {use: detect_faces, in: s, every: 100000}
  e: {use: write_csv, in: d, path: \"${run.dir}/faces.csv\", segment: 500ms}
  v: {use: write_video, each: stream, in: s, path: \"${run.dir}/${stream.name}.mp4\", segment: 1s}
run: {clock: asap}
";
    fs::write(&graph, text).unwrap();
    let mut run = Command::new(fermata());
    run.args(["run", "--quiet"])
        .arg(&graph)
        .arg("--out")
        .arg(&out);
    assert!(run.status().unwrap().success());
    assert!(out.join("faces.0004.csv").is_file() && out.join("a.0002.mp4").is_file());
    let found = measured(&[&out]);
    assert_eq!(found["runs"][0]["all"]["frames"], 50);
    // The report says where the second video begins.
    let report = fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let files = report["files"].as_array().unwrap().iter();
    let mut files = files.filter(|file| file["path"].as_str().unwrap().ends_with("a.0002.mp4"));
    assert_eq!(files.next().unwrap()["segments"][0]["pts_ms"], 1000.0);
}
