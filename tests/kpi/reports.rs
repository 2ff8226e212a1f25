//! What a run's report contains, and what an old one lacks.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{HEADER, assert_close, measured, run_of};
use crate::support::fermata;

#[test]
fn what_an_old_report_does_not_say_is_null_and_never_0() {
    let faces = format!("{HEADER}x,0,0,0,1,0,0,9,9,a,a,5\nx,0,1,40,1,0,0,9,9,a,a,5\n");
    let whole = json!({
        "wall_s": 2.0,
        "clock": "live",
        "streams": {"x": {"captured": 3, "missed": 1, "sinks": {"log": {"losses": {"stale at log": 1}}}}},
        "nodes": {"log": {"processed": 2, "service_ms": {"max": 1.0}, "queue_wait_ms": {"max": 1.0}}},
    });
    let measured = |report: &Value| {
        let run = run_of(&[("faces.csv", &faces), ("report.json", &report.to_string())]);
        measured(&[run.path()])["runs"][0].clone()
    };
    let found = measured(&whole);
    let expected =
        json!({"fps_captured": 1.5, "fps_processed": 1.0, "wall_s": 2.0, "drop_rate": 0.5});
    assert_close(&found["all"], &expected, "all");
    assert_eq!(
        found["all"]["drops"],
        json!({"missed at the source": 1, "stale at log": 1})
    );
    let without = |path: &str| {
        let mut report = whole.clone();
        let (inside, field) = path.rsplit_once('/').unwrap();
        let object = report.pointer_mut(inside).unwrap().as_object_mut().unwrap();
        object.remove(field).unwrap();
        report
    };
    // The measures lost with each missing field.
    for (path, lost) in [
        ("/wall_s", &["wall_s", "fps_captured"][..]),
        (
            "/streams",
            &["fps_captured", "drops", "drop_rate", "drops_elsewhere"],
        ),
        (
            "/streams/x",
            &["fps_captured", "drops", "drop_rate", "drops_elsewhere"],
        ),
        ("/streams/x/captured", &["fps_captured", "drop_rate"]),
        ("/streams/x/missed", &["drops", "drop_rate"]),
        (
            "/streams/x/sinks",
            &["drops", "drop_rate", "drops_elsewhere"],
        ),
        ("/streams/x/sinks/log/losses", &["drops"]),
        ("/clock", &[]),
    ] {
        let found = measured(&without(path));
        for of in [&found["all"], &found["streams"]["x"]] {
            for field in ["wall_s", "fps_captured", "drops", "drop_rate"] {
                let is_lost = lost.contains(&field);
                assert_eq!(of[field].is_null(), is_lost, "{path}: {field}: {of}");
                assert_eq!(of["unknown"][field].is_string(), is_lost, "{path}: {field}");
            }
        }
    }
    assert_eq!(measured(&without("/clock"))["clock"], Value::Null);
    assert_eq!(measured(&without("/nodes"))["stages"], Value::Null);
    let untimed = measured(&without("/nodes/log/service_ms"));
    assert_eq!(
        untimed["stages"]["log"]["service_ms"],
        json!({"count": 2, "p50": null, "p90": null, "p99": null, "p999": null, "max": null})
    );
    // Without its time the recording's is used, as without a report.
    assert_eq!(
        measured(&without("/wall_s"))["all"]["fps_processed"],
        1.0 / 0.04
    );
    assert_eq!(measured(&json!({}))["all"]["fps_captured"], Value::Null);
}

#[test]
fn latencies_of_packets_from_other_machines_are_told_with_the_error_of_the_clocks() {
    let faces = format!("{HEADER}x,0,0,0,1,0,0,9,9,a,a,5\n");
    let run = |clock: &str, receives: bool, error_ms: Value| {
        let report = json!({
            "clock": clock,
            "site": {"site": "shop", "run": "r", "incarnation": 1, "latency_error_ms": error_ms},
            "site_edges": [{"edge": "camera-server", "node": "camera", "receives": receives}],
        });
        run_of(&[("faces.csv", &faces), ("report.json", &report.to_string())])
    };
    let clocks = |run: &tempfile::TempDir| measured(&[run.path()])["runs"][0]["clocks"].clone();
    let known = run("live", true, json!(3.52));
    assert_eq!(clocks(&known), json!({"latency_error_ms": 3.52}));
    let unknown = run("live", true, Value::Null);
    assert_eq!(clocks(&unknown), json!({"latency_error_ms": null}));
    assert_eq!(clocks(&run("live", false, json!(3.52))), Value::Null);
    assert_eq!(clocks(&run("asap", true, json!(3.52))), Value::Null);
    let said = |run: &tempfile::TempDir| {
        let output = Command::new(fermata())
            .arg("kpi")
            .arg(run.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let words = "with two clocks, and may be wrong by 3.5 ms\n";
    assert!(said(&known).contains(words), "{}", said(&known));
    let words = "with two clocks, and their error is unknown\n";
    assert!(said(&unknown).contains(words), "{}", said(&unknown));
}

#[test]
fn what_other_sinks_lost_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("graph.yaml");
    fs::write(
        &graph,
        "\
fermata: 1
streams: {a: 1}
nodes:
  capture: {use: synthetic_faces, each: stream, count: 40, fps: 100, width: 64, height: 64}
  detect:  {use: detect_faces, in: capture, model: haar, min_size: 60, every: 1000}
  log:     {use: write_csv, in: detect, path: \"${run.dir}/faces.csv\"}
  slow:    {use: identity, in: detect, queue: {capacity: 1, full: drop_oldest}, work: 60ms}
  slower:  {use: identity, in: detect, queue: {capacity: 1, full: drop_oldest}, work: 60ms}
  end1:    {use: discard, in: slow}
  end2:    {use: discard, in: slower}
run: {clock: live}
",
    )
    .unwrap();
    let out = folder.path().join("out");
    let mut command = Command::new(fermata());
    command.args(["run", "--quiet"]).arg(&graph).arg("--out");
    assert!(command.arg(&out).status().unwrap().success());
    let all = &measured(&[&out])["runs"][0]["all"];
    // A busy machine may lose some at the source too; the rest are in the table.
    let frames = all["frames"].as_u64().unwrap();
    let missed = all["drops"]["missed at the source"].as_u64().unwrap_or(0);
    assert_eq!(frames + missed, 40, "{all}");
    assert_close(&all["drop_rate"], &json!(missed as f64 / 40.0), "drop_rate");
    for node in ["slow", "slower"] {
        let cause = format!("drop_oldest at {node}");
        assert!(all["drops_elsewhere"][&cause].as_u64() > Some(10), "{all}");
        assert!(all["drops"][&cause].is_null(), "{all}");
    }
}
