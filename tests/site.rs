//! `machines:` and `--machine`: one graph file, a process for each machine, and a real NATS server between them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::command::{run_in, succeeded};
use crate::nats_server::Server;
use crate::support::{fermata, wait_until};

const SITE: &str = "\
fermata: 1
name: shop
machines: {gate: {}, hall: {}, server: {}}
nodes:
  door:   {use: synthetic_faces, seed: 1, faces: 1, count: 20, fps: 25, on: gate}
  yard:   {use: synthetic_faces, seed: 2, faces: 2, count: 20, fps: 25, on: hall}
  detect: {use: detect_faces, in: [door, yard], model: haar, min_size: 60, every: 2, on: server}
  track:  {use: track_faces, each: stream, in: detect, on: server}
  log:    {use: write_csv, in: track, path: \"${run.dir}/faces.csv\", on: server}
run: {clock: asap}
";

/// One camera, whose rows reach the table of another machine.
pub(crate) const ONE_CAMERA: &str = "\
fermata: 1
name: shop
machines: {gate: {}, server: {}}
streams: {door: 1}
nodes:
  camera: {use: synthetic_faces, each: stream, seed: \"${stream.uri}\", fps: 20, width: 64, height: 64, on: gate}
  detect: {use: detect_faces, in: camera, model: haar, min_size: 48, every: 1000000, on: server}
  log:    {use: write_csv, in: detect, path: \"${run.dir}/faces.csv\", on: server}
run: {clock: live}
";

/// Returns the same graph for one machine.
fn alone() -> String {
    let lines = SITE.lines().filter(|line| !line.starts_with("machines:"));
    let lines: Vec<String> = lines
        .map(|line| {
            let mut line = line.to_owned();
            for machine in ["gate", "hall", "server"] {
                line = line.replace(&format!(", on: {machine}"), "");
            }
            line
        })
        .collect();
    lines.join("\n")
}

fn part(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(fermata());
    command.args(["run", "--quiet"]).args(arguments);
    command.current_dir(folder);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Child {
    part(folder, arguments).spawn().unwrap()
}

/// Starts a part whose wall clock is this many seconds behind (libfaketime).
pub(crate) fn start_with_late_clock(folder: &Path, arguments: &[&str], seconds: f64) -> Child {
    let arch = std::env::consts::ARCH;
    let library = format!("/usr/lib/{arch}-linux-gnu/faketime/libfaketimeMT.so.1");
    assert!(
        Path::new(&library).exists(),
        "`make setup-test` brings {library}"
    );
    let mut part = part(folder, arguments);
    part.env("LD_PRELOAD", library);
    part.env("FAKETIME", format!("-{seconds}"));
    part.env("DONT_FAKE_MONOTONIC", "1");
    part.spawn().unwrap()
}

/// Starts a part for each machine, in a folder of its name.
fn start_parts(folder: &Path, url: &str) -> [Child; 3] {
    ["server", "gate", "hall"].map(|machine| {
        let graph = ["site.yaml", "--machine", machine];
        let place = ["--nats", url, "--out", machine];
        start(folder, &[graph.as_slice(), &place].concat())
    })
}

pub(crate) fn succeeds(child: Child) {
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {errors}", output.status);
}

/// Runs a command that succeeds; returns its output.
fn says(folder: &Path, arguments: &[&str]) -> String {
    succeeded(run_in(folder, arguments))
}

/// Runs a command that is refused; returns its errors.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let (code, _, errors) = run_in(folder, arguments);
    assert_eq!(code, 2, "{errors}");
    errors
}

#[test]
fn three_machines_give_byte_for_byte_the_table_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("site.yaml"), SITE).unwrap();
    std::fs::write(folder.join("alone.yaml"), alone()).unwrap();
    succeeds(start(folder, &["alone.yaml", "--out", "alone"]));
    let server = Server::start_with("max_payload: 8MB");
    let url = server.url();
    let parts = start_parts(folder, &url);
    parts.into_iter().for_each(succeeds);
    let table = |run: &str| std::fs::read(folder.join(run).join("faces.csv")).unwrap();
    let expected = table("alone");
    assert!(expected.iter().filter(|byte| **byte == b'\n').count() > 40);
    assert!(table("server") == expected);
    let report = std::fs::read(folder.join("gate/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["machine"], "gate");
    assert_eq!(report["streams"]["door"]["delivered"], 20);
    let site = ["--nats", &url, "--site", "shop"];
    let said = says(folder, &[&["site", "status"][..], &site].concat());
    assert!(
        said.starts_with("shop: run ") && said.matches(" ended ").count() == 3,
        "{said}"
    );
    let said = says(
        folder,
        &["report", "merge", "server", "gate", "hall", "--json"],
    );
    let book: serde_json::Value = serde_json::from_str(&said).unwrap();
    let log = &book["sinks"]["door"]["log on server"];
    assert_eq!(
        (&log["captured"], &log["delivered"]),
        (&20.into(), &20.into()),
        "{said}"
    );
    assert!(book["clock_error_ms"].as_f64().is_some(), "{said}");
    let again = [
        "run",
        "site.yaml",
        "--machine",
        "gate",
        "--nats",
        &url,
        "--out",
        "again",
    ];
    let said = refused(folder, &again);
    assert!(said.contains("has ended on machine `gate`"), "{said}");
    assert!(!folder.join("again").exists());
    let said = says(folder, &[&["site", "end"][..], &site].concat());
    assert!(said.contains("removed fermata+shop+site"), "{said}");
    let said = refused(folder, &[&["site", "status"][..], &site].concat());
    assert!(said.contains("there is no run of site `shop`"), "{said}");
}

/// A signal to one machine ends all of them, and everything captured arrives.
#[test]
fn ctrl_c_at_one_machine_drains_the_site() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let live = SITE
        .replace("count: 20", "count: 100000")
        .replace("clock: asap", "clock: live");
    std::fs::write(folder.join("site.yaml"), live).unwrap();
    let server = Server::start_with("max_payload: 8MB");
    let url = server.url();
    let mut parts = start_parts(folder, &url);
    let rows = folder.join("server/faces.csv.part");
    wait_until("rows of both cameras", || {
        let rows = std::fs::read_to_string(&rows).unwrap_or_default();
        rows.contains("\ndoor,") && rows.contains("\nyard,")
    });
    let gate = parts[1].id().to_string();
    let sent = Command::new("kill").args(["-INT", &gate]).status().unwrap();
    assert!(sent.success());
    for part in &mut parts {
        let status = part.wait().unwrap();
        assert!(matches!(status.code(), Some(0 | 130)), "{status}");
    }
    let said = says(folder, &["report", "merge", "server", "gate", "hall"]);
    assert!(
        said.contains("log on server") && !said.contains("balance"),
        "{said}"
    );
}

#[test]
fn a_graph_for_machines_is_checked_whole_and_run_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("site.yaml"), SITE).unwrap();
    std::fs::write(folder.join("alone.yaml"), alone()).unwrap();
    let said = says(folder, &["check", "site.yaml"]);
    assert!(
        said.contains("5 nodes and 0 streams on 3 machines"),
        "{said}"
    );
    for (arguments, words) in [
        (
            &["run", "site.yaml"][..],
            "the graph is for several machines (gate, hall, server): say which one this is with --machine",
        ),
        (
            &["run", "site.yaml", "--machine", "gate"],
            "machine `gate` is one of several (gate, hall, server): name the NATS server between them with --nats",
        ),
        (
            &["run", "site.yaml", "--machine", "gat"],
            "there is no machine `gat` (did you mean `gate`?)",
        ),
        (
            &["run", "alone.yaml", "--machine", "gate"],
            "--machine gate: the graph has no `machines`",
        ),
        (
            &["run", "alone.yaml", "--nats", "nats://127.0.0.1:1"],
            "--nats: nothing in this graph uses a NATS server",
        ),
        (
            &["check", "site.yaml", "--set", "nodes.door.on=attic"],
            "there is no machine `attic`",
        ),
        (
            &[
                "run",
                "site.yaml",
                "--machine",
                "gate",
                "--nats",
                "nats://127.0.0.1:1",
            ],
            "no NATS server answers at nats://127.0.0.1:1",
        ),
    ] {
        let said = refused(folder, arguments);
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(!folder.join("runs").exists(), "{arguments:?}");
    }
    for (format, words) in [("dot", "subgraph \"cluster_hall\""), ("svg", "<svg")] {
        let drawn = says(folder, &["graph", "site.yaml", "--format", format]);
        assert!(drawn.contains(words), "{drawn}");
        assert!(drawn.contains("hall"), "{drawn}");
    }
}

/// Returns the rows of a table so far, by stream: sequence and track.
fn rows(folder: &Path) -> [Vec<(u64, Option<u64>)>; 2] {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let text = read("faces.csv").or_else(|| read("faces.csv.part"));
    let text = text.unwrap_or_default();
    ["door", "yard"].map(|stream| {
        let lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let cells = lines.map(|line| line.split(',').collect::<Vec<&str>>());
        let of_stream = cells.filter(|cells| cells[0] == stream);
        let row = |cells: Vec<&str>| (cells[2].parse().unwrap(), cells[4].parse().ok());
        of_stream.map(row).collect()
    })
}

/// Packets that were written but not acknowledged are sent again and are in the table once; nothing is missing, and no
/// two tracks share a number.
#[test]
fn a_part_that_is_killed_goes_on_with_its_table() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let live = SITE
        .replace("count: 20", "count: 100000, width: 320, height: 240")
        .replace("min_size: 60, every: 2", "min_size: 40, every: 4")
        .replace("clock: asap", "clock: live");
    std::fs::write(folder.join("site.yaml"), live).unwrap();
    let server = Server::start_with("max_payload: 8MB");
    let url = server.url();
    let [mut part, gate, hall] = start_parts(folder, &url);
    let place = folder.join("server");
    let most = |rows: &[Vec<(u64, Option<u64>)>; 2]| {
        let last = rows.iter().map(|rows| rows.last().map_or(0, |row| row.0));
        last.min().unwrap()
    };
    for life in 1..=3 {
        let before = most(&rows(&place));
        wait_until("rows of both cameras", || {
            most(&rows(&place)) >= before + 20
        });
        if life < 3 {
            part.kill().unwrap();
            part.wait().unwrap();
            let arguments = ["site.yaml", "--machine", "server", "--nats", &url];
            part = start(folder, &[&arguments[..], &["--out", "server"]].concat());
        }
    }
    let site = ["--nats", &url, "--site", "shop"];
    says(folder, &[&["site", "drain"][..], &site].concat());
    [part, gate, hall].into_iter().for_each(succeeds);
    assert!(place.join("faces.csv").exists());
    let mut tracks = 0;
    for rows in rows(&place) {
        let mut sequences: Vec<u64> = rows.iter().map(|row| row.0).collect();
        assert!(sequences.is_sorted(), "{sequences:?}");
        sequences.dedup();
        assert!(
            sequences.iter().copied().eq(0..sequences.len() as u64),
            "{sequences:?}"
        );
        let lives: Vec<u64> = rows
            .iter()
            .filter_map(|row| row.1)
            .map(|track| track / 1_000_000_000)
            .collect();
        assert!(lives.is_sorted(), "{lives:?}");
        tracks += lives.len();
    }
    assert!(tracks > 0, "no face was followed");
    let said = says(folder, &["report", "merge", "server", "gate", "hall"]);
    assert!(
        said.contains("settled before its part was killed") && !said.contains("balance"),
        "{said}"
    );
}

/// Posts to a machine's page and returns the answer.
pub(crate) fn post(address: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Returns a machine's page at a path.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Starts a part with its page; also returns the page's address.
pub(crate) fn start_with_page(folder: &Path, arguments: &[&str]) -> (Child, String) {
    let page = ["--serve", "127.0.0.1:0"];
    let mut part = start(folder, &[arguments, &page].concat());
    let mut lines = BufReader::new(part.stderr.take().unwrap()).lines();
    let page = lines.find_map(|line| {
        line.unwrap()
            .strip_prefix("live page: http://")
            .map(str::to_owned)
    });
    std::thread::spawn(move || lines.for_each(drop));
    (part, page.unwrap().trim_end_matches('/').to_owned())
}

/// The page of the machine where cameras are opened opens another one, whose rows reach the server's table.
#[test]
fn a_stream_that_one_machine_adds_appears_on_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("site.yaml"), ONE_CAMERA).unwrap();
    let server = Server::start_with("max_payload: 8MB");
    let url = server.url();
    let arguments = |machine| {
        [
            "site.yaml",
            "--machine",
            machine,
            "--nats",
            &url,
            "--out",
            machine,
        ]
    };
    let begin = || start(folder, &arguments("server"));
    let mut part = begin();
    let (gate, address) = start_with_page(folder, &arguments("gate"));
    let place = folder.join("server");
    let last = |stream: usize| rows(&place)[stream].last().map(|row| row.0);
    let [door, yard] = [0, 1];
    wait_until("rows of the camera of the file", || last(door) > Some(5));
    let answer = post(&address, "/streams/add", r#"{"name": "yard", "uri": "2"}"#);
    assert!(answer.ends_with("yard begins\n"), "{answer}");
    wait_until("rows of the camera that was added", || last(yard) > Some(5));
    // A restarted part finds the stream, and its table continues.
    part.kill().unwrap();
    part.wait().unwrap();
    let part = begin();
    let before = last(yard).unwrap();
    wait_until("rows of it again", || last(yard) > Some(before + 5));
    says(folder, &["site", "drain", "--nats", &url, "--site", "shop"]);
    [part, gate].into_iter().for_each(succeeds);
    for rows in rows(&place) {
        let count = rows.len() as u64;
        assert!(rows.into_iter().map(|row| row.0).eq(0..count));
    }
    let said = says(folder, &["report", "merge", "server", "gate", "--json"]);
    let book: serde_json::Value = serde_json::from_str(&said).unwrap();
    let of_yard = &book["sinks"]["yard"]["log on server"];
    let told = of_yard["delivered"].as_u64().unwrap() + of_yard["settled_before"].as_u64().unwrap();
    assert_eq!(of_yard["captured"], told, "{said}");
}

/// A stream whose machine is set in the graph is reopened there, and cannot be opened or ended anywhere else; a page
/// drains the site.
#[test]
fn a_stream_is_opened_again_where_its_source_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let graph = "\
fermata: 1
name: shop
machines: {gate: {}, hall: {}, server: {}}
streams: {door: {uri: 1, machine: gate}, yard: {uri: 2, machine: hall}}
nodes:
  camera: {use: synthetic_faces, each: stream, seed: \"${stream.uri}\", fps: 20, width: 64, height: 64, on: \"${stream.machine}\"}
  detect: {use: detect_faces, in: camera, model: haar, min_size: 48, every: 1000000, on: server}
  log:    {use: write_csv, in: detect, path: \"${run.dir}/faces.csv\", on: server}
run: {clock: live}
";
    std::fs::write(folder.join("site.yaml"), graph).unwrap();
    let nats = Server::start_with("max_payload: 8MB");
    let url = nats.url();
    let arguments = |machine| {
        let graph = ["site.yaml", "--machine", machine];
        [&graph[..], &["--nats", &url, "--out", machine]].concat()
    };
    let (server, server_page) = start_with_page(folder, &arguments("server"));
    let (gate, gate_page) = start_with_page(folder, &arguments("gate"));
    let hall = start(folder, &arguments("hall"));
    let rows_of = |stream: &str| {
        let table = folder.join("server/faces.csv.part");
        let text = std::fs::read_to_string(table).unwrap_or_default();
        let begin = format!("{stream},");
        text.lines().filter(|row| row.starts_with(&begin)).count()
    };
    let goes_on = |stream: &str| {
        let before = rows_of(stream);
        wait_until("more rows", || rows_of(stream) > before + 5);
    };
    goes_on("door");
    goes_on("yard");
    let door = r#"{"name": "door"}"#;
    let elsewhere = "the stream `door` comes from another machine, over edge camera-server";
    for (page, path, body, told) in [
        (&server_page, "/streams/reconnect", door, elsewhere),
        (&server_page, "/streams/remove", door, elsewhere),
        (
            &gate_page,
            "/streams/add",
            r#"{"name": "yard", "uri": "3"}"#,
            "the stream `yard` comes from another machine of the site",
        ),
        (
            &gate_page,
            "/streams/add",
            r#"{"name": "lane", "uri": "3"}"#,
            "a stream that is added has no machine for `camera`",
        ),
    ] {
        let answer = post(page, path, body);
        assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
        assert!(answer.contains(told), "{answer}");
    }
    goes_on("door");
    let answer = post(&gate_page, "/streams/reconnect", door);
    assert!(answer.ends_with("door.2 begins\n"), "{answer}");
    goes_on("door.2");
    goes_on("yard");
    let answer = post(&server_page, "/drain", "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // As after Ctrl-C on this machine.
    assert_eq!(server.wait_with_output().unwrap().status.code(), Some(130));
    [gate, hall].into_iter().for_each(succeeds);
    let said = says(
        folder,
        &["report", "merge", "server", "gate", "hall", "--json"],
    );
    let book: serde_json::Value = serde_json::from_str(&said).unwrap();
    for stream in ["door", "door.2", "yard"] {
        let sink = &book["sinks"][stream]["log on server"];
        let captured = sink["captured"].as_u64();
        assert!(captured > Some(5), "{stream}: {said}");
        assert_eq!(captured, sink["delivered"].as_u64(), "{stream}: {said}");
    }
}
