//! Live cameras in a graph: one that dies and returns must neither affect the others nor end its own stream.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use fermata_engine::run::RunHandle;
use fermata_engine::{Graph, RunOptions, RunningGraph};

use crate::support::{assert_balanced, options, registry, repository, wait_until};

/// gst-rtsp-server, killed when it goes out of scope.
struct Camera {
    child: Child,
    port: u16,
}

impl Camera {
    fn start(port: u16) -> Self {
        let mut child = Command::new("/usr/bin/python3")
            .arg(repository("actors/tests/video/rtsp_server.py"))
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python");
        let mut said = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        let port = said.trim().parse();
        let port = port.expect("GStreamer's RTSP server: run `make setup-test`");
        Self { child, port }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn delivered(handle: &RunHandle, stream: &str) -> u64 {
    let report = handle.stream_report(stream);
    report.map_or(0, |stream| stream.delivered)
}

#[test]
fn a_camera_that_dies_and_returns_goes_on_in_a_new_segment_and_nobody_else_notices() {
    let camera = Camera::start(0);
    let port = camera.port;
    let out = tempfile::tempdir().unwrap();
    let text = format!(
        "
fermata: 1
streams: {{network: 'rtsp://127.0.0.1:{port}/live', clip: 'rtsp://127.0.0.1:{port}/live'}}
nodes:
  capture: {{use: video_source, each: stream, uri: \"${{stream.uri}}\", timeout: 3s, reconnect: {{first: 50ms, most: 200ms}}}}
  detect:  {{use: detect_faces, in: capture, every: 1000000, queue: {{capacity: 2, full: drop_oldest}}}}
  log:     {{use: write_csv, in: detect, path: \"${{run.dir}}/faces.csv\"}}
run: {{clock: live, drain: 5m}}
"
    );
    let registry = registry();
    let mut options = options();
    options.run_dir = out.path().to_owned();
    let graph = Graph::parse("cameras.yaml", &text, &registry, &options).unwrap();
    let running = RunningGraph::start(
        graph,
        std::sync::Arc::new(registry),
        RunOptions {
            hold_open: true,
            ..RunOptions::default()
        },
    )
    .unwrap();
    let handle = running.handle();
    wait_until("frames of both", || {
        delivered(&handle, "network") > 5 && delivered(&handle, "clip") > 5
    });
    // A third camera that never comes up is retried again and again without affecting the others.
    handle
        .add_stream("absent", "rtsp://127.0.0.1:9/live")
        .unwrap();
    drop(camera);
    let _camera = Camera::start(port);
    let table = out.path().join("faces.csv.part");
    wait_until("frames of both after the return", || {
        let table = std::fs::read_to_string(&table).unwrap();
        let is_new = |name: &str, row: &str| {
            let mut cells = row.split(',');
            let segment = |cell: &str| cell.parse().unwrap_or(0);
            cells.next() == Some(name) && cells.next().map_or(0, segment) >= 1
        };
        let has_returned = |name: &str| table.lines().any(|row| is_new(name, row));
        has_returned("network") && has_returned("clip")
    });
    assert!(handle.remove_stream("clip"));
    let at_removal = delivered(&handle, "network");
    wait_until("frames after the other was removed", || {
        delivered(&handle, "network") > at_removal + 10
    });
    handle.drain();
    let report = running.wait();
    assert_balanced(&report);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let mut segments = std::collections::BTreeMap::new();
    let mut reader = csv::Reader::from_path(out.path().join("faces.csv")).unwrap();
    for row in reader.records() {
        let row = row.unwrap();
        let sequences: &mut Vec<(u32, u64)> = segments.entry(row[0].to_owned()).or_default();
        sequences.push((row[1].parse().unwrap(), row[2].parse().unwrap()));
    }
    for name in ["network", "clip"] {
        let rows = &segments[name];
        assert!(rows.is_sorted(), "{name}: sequences never restart");
        assert_eq!(rows[0].0, 0);
        assert!(
            rows.last().unwrap().0 >= 1,
            "{name} came back in a new segment"
        );
    }
    assert!(!segments.contains_key("absent"));
}
