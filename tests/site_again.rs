//! Parts of a site that are restarted, or that wait: finished files stay, and a waiting part says so.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};

use crate::command::{run_in, send, succeeded};
use crate::nats_server::Server;
use crate::site::{ONE_CAMERA, get, post, start, start_with_late_clock, start_with_page, succeeds};
use crate::support::wait_until;

/// The stream `door` ends soon, `yard` does not.
const SITE: &str = "\
fermata: 1
name: shop
machines: {gate: {}, server: {}}
nodes:
  door:   {use: synthetic_faces, seed: 1, faces: 1, count: 20, fps: 25, width: 64, height: 64, on: gate}
  yard:   {use: synthetic_faces, seed: 2, faces: 1, count: 100000, fps: 25, width: 64, height: 64, on: gate}
  detect: {use: detect_faces, in: [door, yard], model: haar, min_size: 48, every: 1000000, on: server}
  own:    {use: write_csv, each: stream, in: detect, path: \"${run.dir}/${stream.name}.csv\", on: server}
  lines:  {use: write_jsonl, each: stream, in: detect, path: \"${run.dir}/${stream.name}.jsonl\", on: server}
  video:  {use: write_video, each: stream, in: [door, yard], path: \"${run.dir}/${stream.name}.mp4\", on: server}
  log:    {use: write_csv, in: detect, path: \"${run.dir}/log.csv\", segment: 1B, on: server}
run: {clock: live}
";

fn arguments<'a>(machine: &'a str, url: &'a str) -> [&'a str; 7] {
    [
        "site.yaml",
        "--machine",
        machine,
        "--nats",
        url,
        "--out",
        machine,
    ]
}

fn drain(folder: &Path, url: &str) {
    succeeded(run_in(
        folder,
        &["site", "drain", "--nats", url, "--site", "shop"],
    ));
}

fn text(folder: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(name)).ok()
}

/// Returns the sequence numbers of a table, in order.
fn sequences(table: &str) -> Vec<u64> {
    let rows = table.lines().skip(1).map(|row| row.split(',').nth(2));
    rows.map(|cell| cell.unwrap().parse().unwrap()).collect()
}

/// How far behind the clock of a machine is, in seconds.
const LATE: f64 = 0.4;

/// Latencies of packets from another machine involve two clocks; wherever they are shown, their uncertainty is stated.
#[test]
fn what_latencies_from_other_machines_are_worth_is_told_wherever_they_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("site.yaml"), ONE_CAMERA).unwrap();
    let nats = Server::start_with("max_payload: 8MB");
    let url = nats.url();
    let (server, address) = start_with_page(folder, &arguments("server", &url));
    let gate = start_with_late_clock(folder, &arguments("gate", &url), LATE);
    let error_s = || -> Option<f64> {
        let metrics = get(&address, "/metrics");
        let mut lines = metrics.lines();
        let line = lines.find_map(|line| line.strip_prefix("fermata_site_latency_error_seconds "));
        line.and_then(|value| value.parse().ok())
    };
    wait_until("a comparison of clocks", || {
        error_s().is_some_and(f64::is_finite)
    });
    let error_s = error_s().unwrap();
    assert!((LATE..LATE + 10.0).contains(&error_s), "{error_s}");
    wait_until("numbers with a latency", || {
        let numbers = get(&address, "/snapshot");
        numbers.contains("and may be wrong by") && numbers.contains("\"latency_p50_ms\":")
    });
    let top = || succeeded(run_in(folder, &["top", &address]));
    assert!(
        top().contains("with two clocks, and may be wrong by"),
        "{}",
        top()
    );
    drain(folder, &url);
    [server, gate].into_iter().for_each(succeeds);
    let report = text(folder, "server/report.json").unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let error_ms = report["site"]["latency_error_ms"].as_f64().unwrap();
    assert!(error_ms >= error_s * 1e3 - 1e-6, "{error_ms} {error_s}");
    // Every packet seems to have been under way for as long as the gate's clock is behind, and that is within the
    // error.
    let latency = &report["streams"]["door"]["sinks"]["log"]["latency_ms"];
    let p50_ms = latency["p50"].as_f64().unwrap();
    assert!(
        (LATE * 1e3..error_ms + 10_000.0).contains(&p50_ms),
        "{report:#}"
    );
    let said = succeeded(run_in(folder, &["kpi", "server"]));
    assert!(
        said.contains("with two clocks, and may be wrong by"),
        "{said}"
    );
}

/// Returns all rows of all segments, finished or not, by stream.
fn in_segments(folder: &Path) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with("log.") {
            continue;
        }
        for row in text(folder, &name).unwrap().lines().skip(1) {
            let cells: Vec<&str> = row.split(',').collect();
            let of_stream = found.entry(cells[0].to_owned()).or_default();
            of_stream.push(cells[2].parse().unwrap());
        }
    }
    found.values_mut().for_each(|rows| rows.sort_unstable());
    found
}

/// The tables, lines and videos of an ended stream stay as they were, and segments have each row once.
#[test]
fn a_part_that_is_killed_keeps_what_it_had_finished() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("site.yaml"), SITE).unwrap();
    let nats = Server::start_with("max_payload: 8MB");
    let url = nats.url();
    let place = folder.join("server");
    let mut server = start(folder, &arguments("server", &url));
    let gate = start(folder, &arguments("gate", &url));
    let finished = ["door.csv", "door.jsonl", "door.mp4"];
    wait_until("the files of the door", || {
        finished.iter().all(|name| place.join(name).exists())
    });
    let video = std::fs::read(place.join("door.mp4")).unwrap();
    let last = || {
        text(&place, "yard.csv.part").and_then(|rows| {
            let whole = rows.rsplit_once('\n')?.0;
            sequences(whole).last().copied()
        })
    };
    for _ in 0..4 {
        let before = last().unwrap_or_default();
        wait_until("rows of the yard", || last() > Some(before + 10));
        server.kill().unwrap();
        server.wait().unwrap();
        server = start(folder, &arguments("server", &url));
    }
    let before = last().unwrap_or_default();
    wait_until("rows of the yard", || last() > Some(before + 10));
    drain(folder, &url);
    [server, gate].into_iter().for_each(succeeds);
    let table = text(&place, "door.csv").unwrap();
    assert!(sequences(&table).into_iter().eq(0..20), "{table}");
    assert_eq!(text(&place, "door.jsonl").unwrap().lines().count(), 20);
    assert!(std::fs::read(place.join("door.mp4")).unwrap() == video);
    let yard = sequences(&text(&place, "yard.csv").unwrap());
    let count = yard.len() as u64;
    assert!(yard.into_iter().eq(0..count));
    let lines = text(&place, "yard.jsonl").unwrap();
    assert_eq!(lines.lines().count() as u64, count);
    let segments = in_segments(&place);
    for (stream, count) in [("door", 20), ("yard", count)] {
        let rows = &segments[stream];
        assert!(rows.iter().copied().eq(0..count), "{stream}: {rows:?}");
    }
}

/// Returns what a program prints to standard error until these words appear.
fn hears(child: &mut Child, words: &str) -> String {
    let mut heard = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        heard += &line.unwrap();
        heard.push('\n');
        if heard.contains(words) {
            return heard;
        }
    }
    panic!("it ended without `{words}`: {heard}");
}

#[test]
fn a_part_that_waits_for_the_site_to_begin_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("site.yaml"), SITE).unwrap();
    let nats = Server::start();
    let url = nats.url();
    let mut gate = start(folder, &arguments("gate", &url));
    let heard = hears(&mut gate, "site `shop` has not been begun: waiting");
    assert!(heard.contains(&url), "{heard}");
    gate.kill().unwrap();
    gate.wait().unwrap();
}

#[test]
fn an_edge_that_stands_still_at_a_full_server_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("site.yaml"), SITE).unwrap();
    let store = folder.join("store");
    let nats = Server::start_with(&format!(
        "jetstream {{store_dir: {store:?}, max_file_store: 10KB}}"
    ));
    let url = nats.url();
    let mut server = start(folder, &arguments("server", &url));
    let mut gate = start(folder, &arguments("gate", &url));
    let heard = hears(&mut gate, "no progress for 10 s");
    assert!(heard.contains("insufficient"), "{heard}");
    for part in [&mut server, &mut gate] {
        part.kill().unwrap();
        part.wait().unwrap();
    }
}

/// A part that has run is not run again, but this one has not: Ctrl-C came while its nodes were being created.
#[test]
fn a_part_that_is_interrupted_before_anything_started_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Each of them loads a model.
    let streams: Vec<String> = (0..80)
        .map(|number| format!("d{number}: {number}"))
        .collect();
    let streams = format!("streams: {{{}}}", streams.join(", "));
    let detects = "every: 1000000, on: server}";
    let graph = ONE_CAMERA
        .replace("streams: {door: 1}", &streams)
        .replace("fps: 20", "fps: 2")
        .replace(detects, "every: 1000000, each: stream, on: gate}");
    assert!(!graph.contains(detects) && graph.contains("d79"), "{graph}");
    std::fs::write(folder.join("site.yaml"), graph).unwrap();
    let nats = Server::start_with("max_payload: 8MB");
    let url = nats.url();
    let server = start(folder, &arguments("server", &url));
    let gate = start(folder, &arguments("gate", &url));
    wait_until("a part that starts", || {
        folder.join("gate/run.log").exists()
    });
    let id = gate.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    let output = gate.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nothing was started"), "{said}");
    assert_eq!(output.status.code(), Some(130), "{said}");
    let site = ["site", "status", "--nats", &url, "--site", "shop"];
    let status = succeeded(run_in(folder, &site));
    assert!(!status.contains(" ended "), "{status}");
    assert!(!status.contains("draining"), "{status}");
    let gate = start(folder, &arguments("gate", &url));
    wait_until("rows", || {
        let rows = text(folder, "server/faces.csv.part").unwrap_or_default();
        rows.contains("\nd0,")
    });
    drain(folder, &url);
    succeeds(gate);
    succeeds(server);
}

/// Everything ends with the last stream, on both machines, unless another one is about to be opened.
#[test]
fn the_only_stream_of_a_site_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("site.yaml"), ONE_CAMERA).unwrap();
    let nats = Server::start_with("max_payload: 8MB");
    let url = nats.url();
    let server = start(folder, &arguments("server", &url));
    let (gate, page) = start_with_page(folder, &arguments("gate", &url));
    let rows_of = |stream: &str| {
        let table = std::fs::read_to_string(folder.join("server/faces.csv.part"));
        let table = table.unwrap_or_default();
        let begin = format!("{stream},");
        table.lines().filter(|row| row.starts_with(&begin)).count()
    };
    let mut name = "door".to_owned();
    for number in 2..6 {
        wait_until("rows", || rows_of(&name) > 3);
        let body = format!("{{\"name\": \"{name}\"}}");
        let answer = post(&page, "/streams/reconnect", &body);
        name = format!("door.{number}");
        assert!(answer.ends_with(&format!("{name} begins\n")), "{answer}");
    }
    wait_until("rows", || rows_of(&name) > 3);
    drain(folder, &url);
    succeeds(gate);
    succeeds(server);
}

/// Where machines send to each other, none waits for another's end, and added streams are found all the same. A drain
/// ends them too, and reopened ones, though streams of the other machine come here.
#[test]
fn a_stream_is_added_where_machines_send_to_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let back = "  lamp: {use: synthetic_faces, seed: 9, fps: 20, width: 64, height: 64, on: server}
  seen: {use: detect_faces, in: lamp, model: haar, min_size: 48, every: 1000000, on: gate}
  book: {use: write_csv, in: seen, path: \"${run.dir}/lamp.csv\", on: gate}
run: {clock: live, drain: 1h}
";
    let graph = ONE_CAMERA.replace("run: {clock: live}\n", back);
    std::fs::write(folder.join("site.yaml"), graph).unwrap();
    let nats = Server::start_with("max_payload: 8MB");
    let url = nats.url();
    let server = start(folder, &arguments("server", &url));
    let (gate, page) = start_with_page(folder, &arguments("gate", &url));
    let rows_of = |table: &str, stream: &str| {
        let table = std::fs::read_to_string(folder.join(table)).unwrap_or_default();
        let begin = format!("{stream},");
        table.lines().filter(|row| row.starts_with(&begin)).count()
    };
    wait_until("rows each way", || {
        let there = rows_of("server/faces.csv.part", "door") > 30;
        there && rows_of("gate/lamp.csv.part", "lamp") > 30
    });
    let answer = post(&page, "/streams/add", r#"{"name": "yard", "uri": "2"}"#);
    assert!(answer.ends_with("yard begins\n"), "{answer}");
    wait_until("rows of the camera that was added", || {
        rows_of("server/faces.csv.part", "yard") > 3
    });
    let answer = post(&page, "/streams/reconnect", r#"{"name": "door"}"#);
    assert!(answer.ends_with("door.2 begins\n"), "{answer}");
    wait_until("rows of the camera that was reopened", || {
        rows_of("server/faces.csv.part", "door.2") > 3
    });
    // The gate has not ended for as long as the server has not, so that a stream can still be added there.
    send(&server, "STOP");
    drain(folder, &url);
    wait_until("the end of what the gate opened", || {
        let answer = get(&page, "/snapshot");
        let numbers = answer.split_once("\r\n\r\n").unwrap().1;
        let numbers: serde_json::Value = serde_json::from_str(numbers).unwrap();
        let streams = numbers["numbers"]["streams"].as_array().unwrap();
        let is_over =
            |stream: &serde_json::Value| stream["state"] == "over" || stream["name"] == "lamp";
        streams.iter().all(is_over)
    });
    let answer = post(&page, "/streams/add", r#"{"name": "late", "uri": "3"}"#);
    assert!(answer.ends_with("late begins\n"), "{answer}");
    send(&server, "CONT");
    // Long before a drain gives up.
    wait_until("both ends", || {
        let has_ended = |machine: &str| folder.join(machine).join("report.json").exists();
        has_ended("gate") && has_ended("server")
    });
    succeeds(gate);
    succeeds(server);
}
