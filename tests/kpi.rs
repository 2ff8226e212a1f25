//! `fermata kpi`: numbers compared with tables worked out by hand and with pandas, wrong input, and the page.

mod page;
mod reports;
mod segments;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::succeeds;
use crate::skipped::data;
use crate::support::{card_of_mini_xception, fermata, repository};

const HEADER: &str = "stream,segment,sequence,pts_ms,track,x,y,w,h,raw_label,label,latency_ms\n";
const TRUTH_HEADER: &str = "stream,sequence,pts_ms,face,x,y,w,h,label\n";

fn kpi(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(fermata());
    let output = command.arg("kpi").args(arguments).output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Creates a run's folder with these files.
fn run_of(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// Returns `kpi.json` of runs.
fn measured(runs: &[&Path]) -> Value {
    let out = tempfile::tempdir().unwrap();
    let mut arguments: Vec<String> = runs.iter().map(|run| run.display().to_string()).collect();
    arguments.extend(["--out".to_owned(), out.path().display().to_string()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, _, errors) = kpi(&arguments);
    assert_eq!(code, 0, "{errors}");
    let text = fs::read_to_string(out.path().join("kpi.json")).unwrap();
    assert!(out.path().join("kpi.html").is_file());
    serde_json::from_str(&text).unwrap()
}

fn refused(run: &Path, words: &[&str]) {
    let before = listing(run);
    let (code, _, errors) = kpi(&[&run.display().to_string()]);
    assert_eq!(code, 2, "{errors}");
    assert_eq!(errors.lines().count(), 1, "one clear error: {errors}");
    for word in words {
        assert!(errors.contains(word), "`{word}` is not in: {errors}");
    }
    assert_eq!(listing(run), before);
}

fn listing(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Asserts that numbers are equal up to rounding and everything else is equal.
fn assert_close(found: &Value, expected: &Value, path: &str) {
    match (found, expected) {
        (found, Value::Object(fields)) => {
            for (name, expected) in fields {
                assert_close(&found[name], expected, &format!("{path}.{name}"));
            }
        }
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            let least = 1e-9 * other.abs().max(1.0);
            assert!((one - other).abs() <= least, "{path}: {one} is not {other}");
        }
        (one, other) => assert_eq!(one, other, "{path}"),
    }
}

#[test]
fn a_drawn_run_has_the_numbers_of_pandas() {
    let golden = fs::read_to_string(repository("tests/golden/kpi.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let run = run_of(&[
        ("faces.csv", golden["faces"].as_str().unwrap()),
        ("truth.csv", golden["truth"].as_str().unwrap()),
        ("report.json", &golden["report"].to_string()),
    ]);
    let found = &measured(&[run.path()])["runs"][0];
    let expected = golden["expected"].as_object().unwrap();
    assert_eq!(expected.len(), 3);
    for (name, expected) in expected {
        let measures = match name.as_str() {
            "all" => &found["all"],
            stream => &found["streams"][stream],
        };
        assert!(expected.as_object().unwrap().len() > 20);
        assert_close(measures, expected, name);
    }
}

/// Returns the table and the truth of two people in twelve frames at uneven times from 0 on. The tracker swaps them
/// after frame 5, frames 3 and 9 were dropped, one person is not found in frame 4, and one box belongs to nobody.
fn by_hand() -> (String, String) {
    let times = [0, 40, 100, 140, 200, 260, 300, 340, 420, 460, 500, 600];
    let (left, right) = ("0,0,100,100", "200,0,100,100");
    let mut truth = TRUTH_HEADER.to_owned();
    let mut faces = HEADER.to_owned();
    // The true labels; face 0 stands on the left.
    let (true_left, true_right) = ("aaaaaabbbbbb", "cccccccccccc");
    // The predicted label at each place.
    let (said_left, said_right) = ("aaa.abbbb.bb", "ccc..ccca.cc");
    for (n, time) in times.iter().enumerate() {
        let at = |labels: &str| labels.chars().nth(n).unwrap();
        for (face, place, labels) in [(0, left, true_left), (1, right, true_right)] {
            truth += &format!("x,{n},{time},{face},{place},{}\n", at(labels));
        }
        let (track_left, track_right) = if n <= 5 { (1, 2) } else { (2, 1) };
        for (track, place, labels) in [
            (track_left, left, said_left),
            (track_right, right, said_right),
        ] {
            let label = at(labels);
            if label != '.' {
                faces += &format!("x,0,{n},{time},{track},{place},{label},{label},50\n");
            }
        }
        if n == 7 {
            faces += &format!("x,0,{n},{time},9,500,0,40,40,a,a,50\n");
        }
    }
    (faces, truth)
}

#[test]
fn numbers_worked_by_hand_are_exactly_right() {
    let (faces, truth) = by_hand();
    let run = run_of(&[("faces.csv", &faces), ("truth.csv", &truth)]);
    let found = measured(&[run.path()]);
    let all = &found["runs"][0]["all"];
    assert_eq!(all, &found["runs"][0]["streams"]["x"]);
    // Track 1: a a a a b | c c a c c: from frame 0 to 11 with 10 rows, flips at 5, 6, 8 and 10: 4 of 9 pairs. Track 2:
    // c c c c | b b b b b: frames 0 1 2 5 6 7 8 10 11, one flip in 8 pairs. Track 9 has one row and no pair.
    let rate = (4.0 / 9.0 + 1.0 / 8.0) / 2.0;
    // Excess: track 1 shows a, then c from frame 6 on (the other face): one true change; track 2 shows c, then b: one.
    // Streaming: labels arrive 50 ms after their frame. Left, by frame: none yet, none yet (40 < 50), a (of 0 and 40,
    // at 90), a, a, then at 260 the label of 200 (a, right), at 300 the label of 200 again (310 is too late; b is true:
    // wrong), at 340 the b of 260, b …: wrong at 0, 1 and 6. Right: wrong at 0 and 1; at 460 and 500 the wrong a of 420
    // is the newest (of 470: at 500 only, since 470 > 460), at 600 the c of 500. So 24 faces, wrong 3 + 3.
    let expected = json!({
        "frames": 10,
        "tracks": 3,
        "flip_rate": rate,
        "flip_rate_raw": rate,
        "flips": 5,
        "flips_per_minute": 5.0 / 1.2 * 60.0,
        "excess_flips": 3,
        "true_changes": 2,
        "true_changes_not_followed": 0,
        // 19 matched rows (the stranger is not one): wrong are b at frame 5 on the left and a at frame 8 on the right.
        "accuracy": 17.0 / 19.0,
        "streaming_accuracy": 18.0 / 24.0,
        "detection_rate": 1.0,
        "time_to_first_label_ms": 0.0,
        "latency_ms": {"count": 10, "p50": null, "p90": null, "p99": null, "max": 50.0},
        // Nothing lasts for half a second before it changes.
        "lag_ms": null,
        "lasting_changes_followed": 0,
        // Only a report says how much was captured; without one the recording's time is the run's.
        "fps_captured": null,
        "fps_processed": 9.0 / 0.6,
        "drops": null,
    });
    assert_close(all, &expected, "all");
    for field in ["fps_captured", "drops", "lag_ms", "latency_ms"] {
        assert!(all["unknown"][field].is_string(), "{field}: {all}");
    }
}

#[test]
fn a_table_of_another_program_needs_five_columns() {
    let text = "pts_ms,label,stream,track,sequence\n0,a,x,1,0\n500,b,x,1,1\n1000,b,x,1,2\n";
    let run = run_of(&[("other.csv", text)]);
    let found = measured(&[&run.path().join("other.csv")]);
    let all = &found["runs"][0]["all"];
    assert_eq!(
        (&all["flip_rate"], &all["flips_per_minute"]),
        (&json!(0.5), &json!(60.0))
    );
    for field in [
        "flip_rate_raw",
        "accuracy",
        "fps_processed",
        "streaming_accuracy",
    ] {
        assert_eq!(all[field], Value::Null, "{field}");
        assert!(all["unknown"][field].is_string(), "{field}");
    }
    assert!(
        all["unknown"]["flip_rate_raw"]
            .as_str()
            .unwrap()
            .contains("raw_label")
    );
}

#[test]
fn wrong_input_gives_one_clear_error() {
    let row = "x,0,0,0,1,0,0,9,9,a,a,1\n";
    let with = |rows: &str| run_of(&[("faces.csv", &format!("{HEADER}{rows}"))]);
    refused(Path::new("/nowhere/run"), &["there is no run /nowhere/run"]);
    refused(run_of(&[]).path(), &["has no faces.csv", "write_csv"]);
    refused(
        run_of(&[("a.csv", "")]).path(),
        &["has no faces.csv", "a.csv"],
    );
    refused(
        run_of(&[("faces.csv.part", HEADER)]).path(),
        &["only faces.csv.part", "stopped"],
    );
    refused(run_of(&[("faces.csv", "")]).path(), &["is empty"]);
    refused(with("").path(), &["has no rows"]);
    refused(
        run_of(&[("faces.csv", "stream,time\nx,1\n")]).path(),
        &["no column sequence, pts_ms, track, label", "stream, time"],
    );
    refused(
        with(&format!("{row}x,0,1,40,1,0,0")).path(),
        &["line 3", "7 cells where the header has 12", "cut off"],
    );
    refused(
        with("x,0,0,soon,1,0,0,9,9,a,a,1\n").path(),
        &["line 2", "`pts_ms` is `soon`"],
    );
    refused(
        with("x,0,-1,0,1,0,0,9,9,a,a,1\n").path(),
        &["`sequence` is `-1`"],
    );
    refused(
        with(&format!("{row}{row}")).path(),
        &["line 3", "track 1 is twice in frame 0"],
    );
    let rows = format!("{HEADER}{row}");
    refused(
        run_of(&[("faces.csv", &rows), ("truth.csv", "stream,frame\nx,1\n")]).path(),
        &["truth.csv has no column sequence"],
    );
    let late = format!("{TRUTH_HEADER}x,0,40,0,0,0,9,9,a\n");
    refused(
        run_of(&[("faces.csv", &rows), ("truth.csv", &late)]).path(),
        &["frame 0 of stream `x`", "not of one run"],
    );
    for report in [
        "{",
        "",
        "[]",
        "[1.5, \"live\"]",
        "3",
        "null",
        r#"{"wall_s": "long"}"#,
    ] {
        refused(
            run_of(&[("faces.csv", &rows), ("report.json", report)]).path(),
            &["report.json is not a report"],
        );
    }
}

#[test]
fn a_segment_that_begins_at_0_again_takes_no_time_back() {
    let times = [(0, 5000), (0, 5040), (1, 0), (1, 40), (2, 1040)];
    let rows = times.iter().enumerate().map(|(n, (segment, ms))| {
        let label = if n == 3 { "a" } else { "" };
        format!("x,{segment},{n},{ms},1,0,0,9,9,{label},{label},7\n")
    });
    let faces = HEADER.to_owned() + &rows.collect::<String>();
    let run = run_of(&[("faces.csv", &faces)]);
    let all = &measured(&[run.path()])["runs"][0]["all"];
    // 40 ms in each of the first two segments, nothing between them, a second before the last frame.
    let expected =
        json!({"time_to_first_label_ms": 80.0, "span_ms": 1080.0, "fps_processed": 4.0 / 1.08});
    assert_close(all, &expected, "all");
}

/// Returns a face every 40 ms whose label flips every `every` frames, with this latency.
fn flicker(stream: &str, every: usize, latency: usize) -> String {
    let mut text = HEADER.to_owned();
    for n in 0..1000 {
        let label = if (n / every).is_multiple_of(2) {
            "a"
        } else {
            "b"
        };
        let latency = latency + n % 7;
        text += &format!("{stream},0,{n},{},1,0,0,9,9,a,{label},{latency}\n", n * 40);
    }
    text
}

#[test]
fn differences_say_whether_they_are_more_than_noise() {
    let restless = run_of(&[("faces.csv", &flicker("x", 5, 30))]);
    let calm = run_of(&[("faces.csv", &flicker("x", 25, 30))]);
    let found = measured(&[restless.path(), calm.path()]);
    let pair = &found["differences"][0];
    assert_eq!(
        (&pair["frames"], &pair["blocks"]),
        (&json!(1000), &json!(7))
    );
    let measures = &pair["measures"];
    let rates = &measures["flip_rate"];
    assert_close(&rates["first"], &json!(199.0 / 999.0), "first");
    assert_close(
        &rates["difference"],
        &json!((39.0 - 199.0) / 999.0),
        "difference",
    );
    assert_eq!(rates["verdict"], "less");
    assert!(rates["high"].as_f64().unwrap() < 0.0);
    assert_eq!(measures["flips_per_minute"]["verdict"], "less");
    assert_eq!(measures["latency_p50_ms"]["verdict"], "cannot tell");
    assert_eq!(measures["accuracy"]["difference"], Value::Null);
    // A run compared with itself shows no differences.
    let found = measured(&[calm.path(), calm.path()]);
    for (name, told) in found["differences"][0]["measures"].as_object().unwrap() {
        assert_eq!(told["verdict"], "cannot tell", "{name}");
        assert!(
            told["difference"].is_null() || told["difference"] == 0.0,
            "{name}"
        );
    }
}

#[test]
fn runs_that_cannot_be_paired_are_refused() {
    let (one, other) = (
        run_of(&[("faces.csv", &flicker("x", 5, 30))]),
        run_of(&[("faces.csv", &flicker("y", 5, 30))]),
    );
    let (one, other) = (
        one.path().display().to_string(),
        other.path().display().to_string(),
    );
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("out").display().to_string();
    let (code, _, errors) = kpi(&[&one, &other, "--out", &out]);
    assert_eq!(code, 2);
    assert!(errors.contains("no stream in common: x and y"), "{errors}");
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_stream_of_which_nothing_arrived_is_wrong_in_every_frame() {
    let truth =
        format!("{TRUTH_HEADER}x,0,0,0,0,0,9,9,a\nlost,0,0,0,0,0,9,9,a\nlost,1,40,0,0,0,9,9,a\n");
    let faces = format!("{HEADER}x,0,0,0,1,0,0,9,9,a,a,0\n");
    let run = run_of(&[("faces.csv", &faces), ("truth.csv", &truth)]);
    let found = measured(&[run.path()]);
    let run = &found["runs"][0];
    assert_eq!(run["streams"]["x"]["streaming_accuracy"], 1.0);
    assert_eq!(run["streams"]["lost"]["streaming_accuracy"], 0.0);
    assert_close(&run["all"]["streaming_accuracy"], &json!(1.0 / 3.0), "all");
}

/// Runs the graph of drawn people with a real classifier.
fn drawn_people(data: &Path, out: &Path, more: &[&str]) {
    let model = card_of_mini_xception(data);
    let mut command = Command::new(fermata());
    command.args(["run", "graphs/kpi_demo.yaml", "--quiet", "--out"]);
    command.arg(out).arg("--param");
    command.arg(format!("model={}", model.path().display()));
    let detector = data.join("detect/yunet_n_dynamic.onnx");
    command.args(["--param", &format!("detector={}", detector.display())]);
    let output = command.args(more).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

#[test]
fn drawn_people_are_measured_against_what_was_drawn() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    drawn_people(
        &data,
        &out,
        &["--set", "nodes.capture.count=80", "--set", "run.clock=asap"],
    );
    let found = measured(&[&out]);
    let all = &found["runs"][0]["all"];
    assert_eq!(all["frames"], 160);
    assert_eq!(all["drops"], json!({}));
    // 80 frames are 3.2 s, and each of the four changes its expression after 2 s.
    assert_eq!(
        (&all["tracks"], &all["true_changes"]),
        (&json!(4), &json!(4))
    );
    let flips = all["flips"].as_i64().unwrap();
    assert_eq!(all["excess_flips"], flips - 4);
    assert!(all["accuracy"].is_number());
    assert_eq!(all["streaming_accuracy"], Value::Null);
    assert!(
        all["unknown"]["streaming_accuracy"]
            .as_str()
            .unwrap()
            .contains("asap")
    );
    let truth = fs::read_to_string(out.join("left.truth.csv")).unwrap();
    assert_eq!(truth.lines().count(), 1 + 2 * 80);
    // The measured numbers appear next to those that the run reports.
    let run = out.display().to_string();
    assert_eq!(kpi(&[&run]).0, 0);
    assert!(out.join("kpi.json").is_file());
    let told = succeeds(&["inspect", &run]);
    assert!(told.contains("books       balance"), "{told}");
}

#[test]
fn a_run_that_drains_leaves_the_truth_of_what_was_captured() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("graph.yaml");
    fs::write(
        &graph,
        "\
fermata: 1
nodes:
  capture: {use: synthetic_faces, width: 64, height: 64, truth: \"${run.dir}/truth.csv\"}
  end:     {use: discard, in: capture}
run: {clock: asap}
",
    )
    .unwrap();
    let out = folder.path().join("out");
    let mut command = Command::new(fermata());
    command.args(["run", "--quiet"]).arg(&graph);
    let mut running = command.arg("--out").arg(&out).spawn().unwrap();
    let part = out.join("truth.csv.part");
    // Waits until more than the header has been written.
    while fs::metadata(&part).map_or(0, |file| file.len()) < 200 {
        std::thread::yield_now();
    }
    let pid = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    running.wait().unwrap();
    let truth = fs::read_to_string(out.join("truth.csv")).unwrap();
    let report = fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let captured = report["streams"]["capture"]["captured"].as_u64().unwrap();
    let rows = truth.lines().count() as u64 - 1;
    // The last frame may have been drawn ahead of its time, in which case it may be left out.
    assert!(
        rows == captured || rows + 1 == captured,
        "{rows} of {captured}"
    );
    assert!(!part.exists());
}
