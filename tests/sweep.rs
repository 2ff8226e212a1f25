//! `fermata sweep`: a grid of real runs, and the search for the largest sustainable number of streams.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::command::send;
use crate::skipped::data;
use crate::support::{card_of_mini_xception, fermata, wait_until};

fn sweep(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(fermata());
    let output = command
        .arg("sweep")
        .args(arguments)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_grid_shows_flicker_against_lag() {
    let Some(data) = data() else { return };
    let model = card_of_mini_xception(&data);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let model = format!("model={}", model.path().display());
    let detector = data.join("detect/yunet_n_dynamic.onnx");
    let detector = format!("detector={}", detector.display());
    let out_text = out.display().to_string();
    let (code, told, errors) = sweep(&[
        "graphs/kpi_demo.yaml",
        "--vary",
        "nodes.smooth.ema=null,1s",
        "--vary",
        "nodes.smooth.vote=1,9",
        "--param",
        &model,
        "--param",
        &detector,
        "--set",
        "nodes.capture.count=110",
        "--set",
        "nodes.capture.width=320",
        "--set",
        "nodes.capture.height=240",
        "--set",
        "run.clock=asap",
        "--out",
        &out_text,
    ]);
    assert_eq!(code, 0, "{told}{errors}");
    let found = read(&out.join("sweep.json"));
    let runs = found["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4);
    let flips = |index: usize| runs[index]["kpi"]["flips"].as_u64().unwrap();
    assert_eq!(runs[0]["set"]["nodes.smooth.ema"], "null");
    assert_eq!(runs[3]["set"]["nodes.smooth.vote"], "9");
    // All runs have the same frames, and more smoothing does not flicker more.
    assert!(
        runs.iter()
            .all(|run| run["kpi"]["flips_raw"] == runs[0]["kpi"]["flips_raw"])
    );
    assert!(flips(3) < flips(0), "{found}");
    for run in runs {
        let folder = out.join(run["folder"].as_str().unwrap());
        assert!(folder.join("kpi.html").is_file() && folder.join("faces.csv").is_file());
    }
    assert!(out.join("sweep.html").is_file());
    assert!(told.contains("4/4  smooth.ema=1s smooth.vote=9:"), "{told}");
}

/// Frames with little to compute, 200 per second.
const FAST: &str = "\
fermata: 1
streams: {a: 1}
nodes:
  capture: {use: synthetic_faces, each: stream, seed: \"${stream.uri}\", width: 64, height: 64, fps: 200, count: 400}
  detect:  {use: detect_faces, in: capture, model: haar, min_size: 60, every: 50}
  track:   {use: track_faces, each: stream, in: detect}
  log:     {use: write_csv, in: track, path: \"${run.dir}/faces.csv\"}
";

#[test]
fn values_that_are_secrets_are_varied_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("graph.yaml");
    let with_password = format!("params: {{password: none}}\n{FAST}");
    fs::write(&graph, with_password.replace("count: 400", "count: 20")).unwrap();
    let out = folder.path().join("out");
    let (graph, out_text) = (graph.display().to_string(), out.display().to_string());
    let (code, told, errors) = sweep(&[
        &graph,
        "--vary",
        "params.password=Zq7first,Zq7second",
        "--vary",
        "nodes.track.max_lost=1s,2s",
        "--set",
        "run.clock=asap",
        "--out",
        &out_text,
    ]);
    assert_eq!(code, 0, "{told}{errors}");
    assert!(
        told.contains("4/4  params.password=*** track.max_lost=2s"),
        "{told}"
    );
    for file in ["sweep.json", "sweep.html"] {
        let text = fs::read_to_string(out.join(file)).unwrap();
        assert!(text.contains("***") && !text.contains("Zq7"), "{file}");
    }
    assert!(
        !told.contains("Zq7") && !errors.contains("Zq7"),
        "{told}{errors}"
    );
}

#[test]
fn the_search_for_streams_says_what_it_tried() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("graph.yaml");
    fs::write(&graph, FAST).unwrap();
    let out = folder.path().join("out");
    let (graph, out_text) = (graph.display().to_string(), out.display().to_string());
    let search = |limit| {
        let arguments = [
            "--streams",
            "--most",
            "2",
            "--stream",
            "b=2",
            "--limit",
            limit,
        ];
        let (code, told, errors) =
            sweep(&[&[graph.as_str(), "--out", &out_text], &arguments[..]].concat());
        (code, told + &errors, read(&out.join("sustained.json")))
    };
    // How long it takes depends on the machine: a busy one may not keep up even with this.
    let (code, told, found) = search("1h");
    let trials = found["trials"].as_array().unwrap();
    assert!(trials.iter().all(|trial| trial["streams"] == 2), "{found}");
    if found["streams"] == 2 {
        assert_eq!((code, trials.len()), (0, 6), "{told}");
        assert!(trials.iter().all(|trial| trial["passed"] == true));
        assert!(told.contains("sustained: 2 streams"), "{told}");
        assert_eq!(found["is_most"], true);
    } else {
        assert_eq!(
            (code, &trials[trials.len() - 1]["passed"]),
            (1, &false.into()),
            "{told}"
        );
    }
    let copies = out.join("001-2-streams/faces.csv");
    let rows = fs::read_to_string(copies).unwrap();
    assert!(rows.contains("\na,0,399,") && rows.contains("\nb,0,399,"));
    // No machine manages it within a microsecond.
    let (code, told, found) = search("1us");
    assert_eq!((code, &found["streams"]), (1, &Value::Null), "{told}");
    assert!(told.contains("not even 2 streams"), "{told}");
}

#[test]
fn what_only_other_sinks_lose_does_not_end_the_search() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("graph.yaml");
    let slow = "  slow: {use: identity, in: track, queue: {capacity: 1, full: drop_oldest}, work: 60ms}\n  end: {use: discard, in: slow}\n";
    fs::write(
        &graph,
        format!("{FAST}{slow}").replace("count: 400", "count: 700"),
    )
    .unwrap();
    let out = folder.path().join("out");
    let (graph, out_text) = (graph.display().to_string(), out.display().to_string());
    let more = ["--streams", "--most", "1", "--limit", "1us"];
    let (_, told, errors) = sweep(&[&[graph.as_str(), "--out", &out_text], &more[..]].concat());
    assert!(told.contains("1 streams: failed: "), "{told}{errors}");
    assert!(!told.contains("at slow"), "{told}");
    let kpi = read(&out.join("001-1-streams/kpi.json"));
    let lost = &kpi["runs"][0]["all"]["drops_elsewhere"]["drop_oldest at slow"];
    assert!(lost.as_u64() > Some(100), "{lost}");
}

#[test]
fn wrong_sweeps_are_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("graph.yaml");
    fs::write(&graph, FAST).unwrap();
    let graph = graph.display().to_string();
    let out = folder.path().join("out");
    let out_text = out.display().to_string();
    for (arguments, words) in [
        (&["--vary", "nodes.track"][..], "must be PATH=V1,V2"),
        (&["--vary", "nodes.detect.every=1,none"], "\"none\""),
        (&["--vary", "nodes.nobody.every=1,2"], "nobody"),
        (&[][..], "--vary"),
        (&["--streams", "--vary", "a=1"], "cannot be used with"),
        (&["--streams", "--set", "run.clock=asap"], "run.clock=live"),
        (&["--streams", "--most", "0"], "--most"),
        (
            &["--streams", "--limit", "0ms"],
            "the limit must be greater than zero",
        ),
        (
            &["--streams", "--stream", "b=2", "--most", "1"],
            "2 streams already",
        ),
    ] {
        let mut all = vec![graph.as_str(), "--out", &out_text];
        all.extend(arguments);
        let (code, _, errors) = sweep(&all);
        assert_eq!(code, 2, "{arguments:?}: {errors}");
        assert!(
            errors.contains(words),
            "{arguments:?}: `{words}` is not in: {errors}"
        );
        assert!(!out.exists(), "{arguments:?}");
    }
    let camera = folder.path().join("camera.yaml");
    let capture = "capture: {use: video_source, each: stream, uri: \"${stream.uri}\"}";
    let text = format!(
        "fermata: 1\nstreams: {{a: 'rtsp://camera/1'}}\nnodes:\n  {capture}\n  end: {{use: discard, in: capture}}\n"
    );
    fs::write(&camera, text).unwrap();
    let camera = camera.display().to_string();
    let (code, _, errors) = sweep(&[&camera, "--streams", "--out", &out_text]);
    assert_eq!(code, 2, "{errors}");
    assert!(
        errors.contains("over the network") && !out.exists(),
        "{errors}"
    );
}

#[test]
fn a_sweep_that_cannot_be_measured_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("graph.yaml");
    let text = FAST
        .replace("faces.csv", "other.csv")
        .replace("count: 400", "count: 4");
    fs::write(&graph, &text).unwrap();
    let graph = graph.display().to_string();
    let out = folder.path().join("out").display().to_string();
    let (code, _, errors) = sweep(&[&graph, "--vary", "nodes.detect.every=1", "--out", &out]);
    assert_eq!(code, 2);
    assert!(
        errors.contains("has no faces.csv") && errors.contains("other.csv"),
        "{errors}"
    );
    fs::write(&graph, text.replace("other.csv", "faces.csv")).unwrap();
    let (code, _, errors) = sweep(&[&graph, "--streams", "--out", &out]);
    assert_eq!(code, 2);
    assert!(errors.contains("4 frames in all are too few"), "{errors}");
}

#[test]
fn a_signal_to_a_sweep_alone_ends_its_run_too() {
    for signal in ["TERM", "HUP", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let graph = folder.path().join("graph.yaml");
        let text = FAST.replace("count: 400", "count: 1000000");
        fs::write(&graph, text).unwrap();
        let mut sweep = Command::new("env")
            .args(["--default-signal=HUP", fermata(), "sweep"])
            .arg(&graph)
            .args(["--vary", "nodes.detect.every=1,2", "--out", "out"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let part = folder.path().join("out/01/faces.csv.part");
        wait_until("the run has rows", || {
            fs::metadata(&part).is_ok_and(|found| found.len() > 1000)
        });
        send(&sweep, signal);
        assert_eq!(sweep.wait().unwrap().code(), Some(130), "{signal}");
        // The run ended before the sweep.
        let report = read(&folder.path().join("out/01/report.json"));
        assert_eq!(report["balanced"], true, "{signal}");
        assert!(!part.exists(), "{signal}");
        assert!(!folder.path().join("out/02").exists(), "{signal}");
    }
}
