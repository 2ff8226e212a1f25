//! The files in which a run describes itself: its trace, as read by Perfetto's own classes, and its log.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{fermata, repository};

/// Runs a graph; `log` is `FERMATA_LOG`, empty for none.
fn run(graph: &Path, out: &Path, log: &str, more: &[&str]) -> Output {
    Command::new(fermata())
        .arg("run")
        .arg(graph)
        .arg("--out")
        .arg(out)
        .args(more)
        .env("NO_COLOR", "1")
        .env("FERMATA_LOG", log)
        .output()
        .unwrap()
}

/// Returns what `read_trace.py` finds in a trace; it also checks the trace's laws: slices nest, flows lead from
/// captures to sinks.
fn read_trace(path: &Path) -> Value {
    let perfetto = repository(".native/perfetto/lib");
    assert!(perfetto.is_dir(), "no Perfetto: run `make setup-test`");
    let output = Command::new("python3")
        .arg(repository("trace/tests/read_trace.py"))
        .args([&perfetto, path])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[test]
fn a_trace_of_the_demo_counts_what_its_report_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (out, trace) = (folder.path().join("out"), folder.path().join("run.pftrace"));
    let output = run(
        &repository("graphs/demo.yaml"),
        &out,
        "",
        &[
            "--trace",
            trace.to_str().unwrap(),
            "--quiet",
            "--set",
            "run.clock=asap",
            "--set",
            "nodes.capture.count=30",
        ],
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    let told = format!("trace: {} (", trace.display());
    assert!(said.contains(&told) && !said.contains("missing"), "{said}");

    let read = read_trace(&trace);
    let report = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(read["streams"], serde_json::json!(["left", "right"]));
    let of = |kind: &str, name: String| number(&read[kind][&name]);
    for (name, node) in report["nodes"].as_object().unwrap() {
        if name.starts_with("capture@") {
            let captured = of("instants", format!("{name} captured"));
            assert_eq!((captured, 30), (number(&node["processed"]), 30), "{name}");
            continue;
        }
        let calls = format!("{name} calls");
        let failed = of("failed", calls.clone());
        let seen = [
            of("slices", format!("{name} waits")),
            of("packets", calls) - failed,
            failed,
        ];
        let books = ["received", "processed", "failed"].map(|count| number(&node[count]));
        assert_eq!(seen, books, "{name}");
        assert!(books[0] > 0, "{name}");
    }
    for (name, batches) in report["batches"].as_object().unwrap() {
        let seen = of("slices", format!("{name} batches"));
        assert_eq!(seen, number(&batches["count"]), "{name}");
    }
    // A packet has a flow towards each of its sinks, and here every packet arrives.
    let streams = report["streams"].as_object().unwrap().values();
    let (mut begun, mut delivered) = (0, 0);
    for stream in streams {
        let sinks = stream["sinks"].as_object().unwrap();
        begun += number(&stream["captured"]) * sinks.len() as u64;
        delivered += sinks
            .values()
            .map(|sink| number(&sink["delivered"]))
            .sum::<u64>();
    }
    assert_eq!(begun, delivered);
    assert_eq!(
        (
            number(&read["flows"]["begun"]),
            number(&read["flows"]["ended"])
        ),
        (begun, delivered)
    );
}

/// Writes a graph with a damaged video, which libav complains about, and a model that ONNX Runtime loads.
fn damaged(folder: &Path) -> std::path::PathBuf {
    let graph = folder.join("damaged.yaml");
    let text = format!(
        "\
fermata: 1
nodes:
  capture: {{use: video_source, uri: '{}'}}
  detect:  {{use: detect_faces, in: capture, model: haar, every: 1000}}
  crop:    {{use: crop_faces, in: detect, model: '{model}'}}
  emotion: {{use: classify_expression, in: crop, model: '{model}'}}
  end:     {{use: discard, in: emotion}}
run: {{clock: asap}}
",
        repository("actors/tests/cases/dmg_long.mkv").display(),
        model = repository("models/expression").display(),
    );
    std::fs::write(&graph, text).unwrap();
    graph
}

/// Returns the level and target of each line of a JSON log.
fn lines(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(
            line["timestamp"].is_string() && line["message"].is_string(),
            "{line}"
        );
        let word = |key: &str| line[key].as_str().unwrap().to_owned();
        (word("level"), word("target"))
    });
    lines.collect()
}

#[test]
fn more_is_logged_when_it_is_asked_for_and_the_libraries_speak_too() {
    let folder = tempfile::tempdir().unwrap();
    let graph = damaged(folder.path());
    let logged = |name: &str, log: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let mut arguments = vec!["--log-format", "json"];
        arguments.extend(more);
        let output = run(&graph, &out, log, &arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        let file = std::fs::read_to_string(out.join("run.log")).unwrap();
        (lines(&errors), lines(&file))
    };
    let of = |lines: &[(String, String)], level: &str, target: &str| {
        let mut lines = lines.iter();
        lines.any(|line| line.0 == level && (target.is_empty() || line.1 == target))
    };

    let (errors, file) = logged("plain", "", &[]);
    for lines in [&errors, &file] {
        assert!(
            !of(lines, "DEBUG", "") && !of(lines, "TRACE", ""),
            "{lines:?}"
        );
        assert!(of(lines, "WARN", ""), "what damage has taken: {lines:?}");
        let libraries = lines
            .iter()
            .filter(|line| line.1 == "libav" || line.1 == "onnxruntime");
        assert_eq!(libraries.count(), 0, "{lines:?}");
    }
    let (errors, file) = logged("more", "", &["-v"]);
    for lines in [&errors, &file] {
        assert!(of(lines, "DEBUG", "libav"), "{lines:?}");
        assert!(!of(lines, "TRACE", ""), "{lines:?}");
    }
    let (errors, file) = logged("all", "", &["-vv"]);
    for lines in [&errors, &file] {
        assert!(of(lines, "TRACE", "libav"), "{lines:?}");
        assert!(of(lines, "TRACE", "onnxruntime"), "{lines:?}");
    }
    // The variable replaces -v, and names parts of the program.
    let (errors, file) = logged("parts", "off,onnxruntime=trace", &["-vv"]);
    for lines in [&errors, &file] {
        assert!(of(lines, "TRACE", "onnxruntime"), "{lines:?}");
        assert!(
            lines.iter().all(|line| line.1 == "onnxruntime"),
            "{lines:?}"
        );
    }
}

#[test]
fn lines_for_people_have_no_targets_unless_more_is_asked_for_and_wrong_levels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let graph = damaged(folder.path());
    let out = folder.path().join("out");
    let output = run(&graph, &out, "", &["-v"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("DEBUG libav: "), "{errors}");
    let output = run(&graph, &folder.path().join("quiet"), "", &["--quiet"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains(" WARN "), "{errors}");
    assert!(
        !errors.contains("INFO") && !errors.contains("libav"),
        "{errors}"
    );

    let refused = run(
        &graph,
        &folder.path().join("refused"),
        "warn,fermata=loud",
        &[],
    );
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains("FERMATA_LOG is `warn,fermata=loud`"),
        "{errors}"
    );
    assert!(!folder.path().join("refused").exists());
    // Taken as the name of a part, it would silence all others.
    let refused = run(&graph, &folder.path().join("refused"), "warning", &[]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{errors}");
    assert!(errors.contains("did you mean `warn`?"), "{errors}");
    assert!(!folder.path().join("refused").exists());
}

#[cfg(feature = "live")]
#[test]
fn frames_that_are_held_back_for_longer_than_the_deadline_of_a_call_are_no_call_that_hangs() {
    const HELD: &str = "\
fermata: 1
streams: {a: a}
nodes:
  capture: {use: synthetic_faces, each: stream, width: 96, height: 64, faces: 1, fps: 8, count: 24}
  detect:  {use: detect_faces, in: capture}
  hide:    {use: draw_overlay, each: stream, in: detect, blur: solid, blur_delay: 60s}
  end:     {use: discard, in: hide}
run: {clock: live, call_deadline: 1s}
";
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("held.yaml");
    std::fs::write(&graph, HELD).unwrap();
    let output = run(&graph, &folder.path().join("out"), "", &[]);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut named = said
        .lines()
        .filter(|line| line.contains("has not returned"));
    assert!(!named.any(|line| line.contains("hide")), "{said}");
}
