//! Compares traces, read with Perfetto's own message classes, with the report of the same run.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fermata_engine::{Graph, LoadOptions, Registry, Report, RunOptions, RunningGraph};
use fermata_trace::{Trace, TraceError, Traced};
use serde_json::Value;

fn graph(text: &str) -> Graph {
    let options = LoadOptions::new("/tmp/out");
    Graph::parse("traced", text, &Registry::builtin(), &options).unwrap()
}

/// Runs a graph with a trace.
fn traced(text: &str, path: &Path) -> (Report, Result<Traced, TraceError>) {
    let graph = graph(text);
    let trace = Trace::begin(path, &graph).unwrap();
    let options = RunOptions {
        observer: Some(trace.observer()),
        ..RunOptions::default()
    };
    let registry = Arc::new(Registry::builtin());
    let report = RunningGraph::start(graph, registry, options)
        .unwrap()
        .wait();
    assert!(report.balanced, "{:?}", report.imbalances);
    (report, trace.finish())
}

/// Returns the summary that `read_trace.py` prints of a trace.
fn read(path: &Path) -> Value {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let perfetto = here.join("../.native/perfetto/lib");
    assert!(
        perfetto.is_dir(),
        "no Perfetto to read traces with: run `make setup-test` (or scripts/native.sh perfetto)"
    );
    let output = Command::new("python3")
        .arg(here.join("tests/read_trace.py"))
        .args([&perfetto, path])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn count(read: &Value, kind: &str, name: &str) -> u64 {
    read[kind][name].as_u64().unwrap_or(0)
}

/// Compares every count that the report and the trace have in common.
fn assert_agrees(read: &Value, report: &Report) {
    for (name, node) in &report.nodes {
        let calls = format!("{name} calls");
        let is_source = count(read, "instants", &format!("{name} captured")) > 0;
        if is_source {
            let captured = count(read, "instants", &format!("{name} captured"));
            assert_eq!(captured, node.processed, "{name}");
            continue;
        }
        let waits = count(read, "slices", &format!("{name} waits"));
        assert_eq!(waits, node.received, "{name}");
        let failed = count(read, "failed", &calls);
        assert_eq!(failed, node.failed, "{name}");
        assert_eq!(
            count(read, "packets", &calls) - failed,
            node.processed,
            "{name}"
        );
    }
    for (name, batches) in &report.batches {
        let slices = count(read, "slices", &format!("{name} batches"));
        assert_eq!(slices, batches.count, "{name}");
    }
}

const BRANCHES: &str = "
fermata: 1
streams: {left: x, right: y}
nodes:
  source: {use: test_source, each: stream, count: 300}
  flawed: {use: inject_faults, in: source, fail_every: 50, queue: {capacity: 8}}
  busy:   {use: identity, in: flawed, replicas: 2}
  groups: {use: identity, in: busy, batch: {max: 4}}
  one:    {use: discard, in: groups}
  other:  {use: discard, each: stream, in: busy}
";

#[test]
fn counts_are_the_reports_slices_nest_and_flows_lead_from_captures_to_sinks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.pftrace");
    let (report, written) = traced(BRANCHES, &path);
    let written = written.unwrap();
    assert_eq!(written.lost, 0);
    assert_eq!(written.path, path);
    assert!(!fermata_files::part_path(&path).exists());

    let read = read(&path);
    assert_agrees(&read, &report);
    assert_eq!(read["processes"], serde_json::json!(["fermata graph"]));
    assert_eq!(read["streams"], serde_json::json!(["left", "right"]));
    assert_eq!(read["lanes"].as_array().unwrap().len(), 8);
    // One flow towards each sink; every fiftieth packet failed on its way.
    let captured: u64 = report.streams.values().map(|stream| stream.captured).sum();
    assert_eq!(count(&read, "flows", "begun"), 2 * captured);
    let failed = report.nodes["flawed"].failed;
    assert!(failed > 0);
    assert_eq!(count(&read, "flows", "ended"), 2 * (captured - failed));
}

#[test]
fn what_is_dropped_has_a_flow_that_does_not_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.pftrace");
    let text = "
fermata: 1
nodes:
  source: {use: test_source, count: 3000}
  slow:   {use: identity, in: source, queue: {capacity: 1, full: drop_oldest}, lane: last}
  end:    {use: discard, in: slow, lane: last}
  late:   {use: discard, in: slow, lane: last}
run: {clock: live}
";
    let (report, written) = traced(text, &path);
    assert_eq!(written.unwrap().lost, 0);
    let read = read(&path);
    assert_agrees(&read, &report);
    let dropped: u64 = report.edges[0].dropped.values().sum();
    assert!(dropped > 0);
    let (begun, ended) = (
        count(&read, "flows", "begun"),
        count(&read, "flows", "ended"),
    );
    assert_eq!(begun - ended, 2 * dropped);
}

#[test]
fn a_trace_that_cannot_be_written_to_its_end_keeps_its_part_and_the_run_goes_on() {
    // Every write fails as on a full disk, since the part is a link to `/dev/full`.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.pftrace");
    let part = fermata_files::part_path(&path);
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let (report, written) = traced(BRANCHES, &path);
    assert_eq!(report.nodes["busy"].failed, 0);
    let error = written.unwrap_err().to_string();
    assert!(error.contains("cannot write the trace"), "{error}");
    assert!(error.contains("run.pftrace.part"), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_folder_that_is_not_there_is_refused_and_a_run_that_did_not_start_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let graph = graph(BRANCHES);
    let refused = Trace::begin(&folder.path().join("missing/run.pftrace"), &graph);
    assert!(matches!(refused, Err(TraceError::File(_))));
    let path = folder.path().join("run.pftrace");
    Trace::begin(&path, &graph).unwrap().take_back();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
