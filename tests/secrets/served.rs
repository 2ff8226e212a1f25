//! The other outputs of a run: its page, its metrics, its trace, and the commands that inspect or measure it. Each is
//! tried with the same two hundred secrets.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, client};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::{MARK, all_of, assert_hidden, in_file, left, run, two_hundred};
use crate::served_run::{ServedRun, top};
use crate::servers::{self, Http, Sending};
use crate::support::PATIENCE;

const NODES: &str = "\
nodes:
  s: {use: video_source, each: stream, uri: \"${stream.uri}\", timeout: 500ms, reconnect: {first: 500ms, most: 2s}}
  d: {use: detect_faces, in: s, every: 100000}
  e: {use: write_csv, in: d, path: \"${run.dir}/faces.csv\"}
  v: {use: draw_overlay, each: stream, in: d, queue: {capacity: 1, full: drop_oldest}}
run: {drain: 2s}
";

/// Returns a graph of these streams.
fn graph_of<'a>(streams: impl Iterator<Item = (String, &'a str)>) -> String {
    let mut graph = "fermata: 1\nname: watched\nstreams:\n".to_owned();
    for (name, uri) in streams {
        graph.push_str(&format!("  {name}: {}\n", in_file(uri)));
    }
    graph.push_str(NODES);
    graph
}

fn numbered(addresses: &[String]) -> impl Iterator<Item = (String, &str)> {
    let numbered = addresses.iter().enumerate();
    numbered.map(|(number, uri)| (format!("c{number}"), uri.as_str()))
}

/// Returns a served run's answer, with its header.
fn ask(run: &ServedRun, line: &str, body: &str) -> String {
    let host = run.address();
    let mut connection = TcpStream::connect(host).unwrap();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The messages that the page of a run receives.
struct Page {
    socket: WebSocket<TcpStream>,
    /// All messages so far.
    told: String,
}

impl Page {
    fn open(run: &ServedRun) -> Self {
        let address = run.address();
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        let origin = format!("http://{address}").parse().unwrap();
        request.headers_mut().insert("origin", origin);
        let connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = client(request, connection).unwrap();
        Self {
            socket,
            told: String::new(),
        }
    }

    /// Reads messages until the value under this key is as wanted.
    fn hears(&mut self, key: &str, is_wanted: impl Fn(&Value) -> bool) {
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else {
                continue;
            };
            self.told.push_str(&text);
            self.told.push('\n');
            let told: Value = serde_json::from_str(&text).unwrap();
            if told.get(key).is_some_and(&is_wanted) {
                return;
            }
        }
    }
}

fn are_away(numbers: &Value, count: usize) -> bool {
    let streams = numbers["streams"].as_array().unwrap();
    let away = streams.iter().filter(|stream| {
        matches!(stream["state"].as_str(), Some("reconnecting" | "offline"))
            && stream["reason"].is_string()
    });
    away.count() == count
}

#[test]
fn whoever_watches_a_run_sees_none_of_two_hundred_secrets() {
    let cameras = two_hundred();
    let (listed, added) = cameras.split_at(180);
    // A camera that sends pictures.
    let camera = servers::mjpeg(servers::shades(), Sending::at(10.0));
    let sends = format!(
        "http://user:{MARK}sends@127.0.0.1:{}/x?token={MARK}token",
        camera.port
    );
    let seen = ("seen".to_owned(), sends.as_str());
    let graph = graph_of(numbered(listed).chain([seen]));
    let files = tempfile::tempdir().unwrap();
    let trace = files.path().join("run.pftrace");
    let trace_text = trace.display().to_string();
    let more = [
        "--trace",
        trace_text.as_str(),
        "--log-format",
        "json",
        "-vv",
    ];
    let run = ServedRun::of_graph(&graph, "", "127.0.0.1:0", &more);
    let mut page = Page::open(&run);
    page.socket.send(Message::text(r#"{"tap": 0}"#)).unwrap();
    page.hears("tapped", |tapped| {
        let packets = tapped["packets"].as_array().unwrap();
        packets.iter().any(|packet| packet["stream"] == "seen")
    });
    for (number, uri) in added.iter().enumerate() {
        let body = json!({"name": format!("added-{number}"), "uri": uri}).to_string();
        let answer = ask(&run, "POST /streams/add", &body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_hidden("the answer to who adds a stream", &answer);
        for wrong in [
            json!({"name": "a b", "uri": uri}),
            json!({"name": "x", "uri": uri.replacen("127.0.0.1:9", ":9", 1)}),
            json!({"name": "x", "uri": format!("gopher{}", &uri[4..])}),
            json!({"name": "x", "address": uri}),
        ] {
            let answer = ask(&run, "POST /streams/add", &wrong.to_string());
            assert!(answer.starts_with("HTTP/1.1 4"), "{wrong}: {answer}");
            assert_hidden("the refusal of a stream", &answer);
        }
    }
    page.hears("numbers", |numbers| are_away(numbers, cameras.len()));
    for what in ["/snapshot", "/metrics", "/"] {
        let answer = ask(&run, &format!("GET {what}"), "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_hidden(what, &answer);
        let is_of_streams = answer.contains("added-19") && answer.contains("c179");
        assert!(is_of_streams || what == "/", "{answer}");
    }
    let shown = all_of(&top(&[run.address()]));
    assert!(shown.contains("c179"), "{shown}");
    assert_hidden("fermata top", &shown);

    ask(&run, "POST /drain", "");
    page.hears("numbers", |numbers| numbers["run"] == "over");
    assert!(page.told.contains("has lost its source"), "{}", page.told);
    assert_hidden("the page", &page.told);
    let lines = run.lines.iter();
    let (out, said): (_, Vec<String>) = (run.folder.path().join("out"), lines.collect());
    assert_hidden("the error output", &said.join("\n"));
    let (report, texts) = run.report_and(|| left(&out));
    assert!(report["streams"]["seen"]["captured"].as_u64() > Some(0));
    for file in ["faces.csv", "report.json", "run.log"] {
        let is_left = texts.iter().any(|(name, _)| name.starts_with(file));
        assert!(is_left, "{file}");
    }
    for (name, text) in texts {
        assert_hidden(&name, &text);
    }
    let trace = fs::read(trace).unwrap();
    let trace = String::from_utf8_lossy(&trace);
    assert!(trace.contains("s@c179"), "what is traced has names");
    assert_hidden("the trace", &trace);
}

#[test]
fn commands_that_look_at_a_graph_show_none_of_two_hundred_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("graph.yaml");
    fs::write(&file, graph_of(numbered(&two_hundred()))).unwrap();
    let file = file.display().to_string();
    for arguments in [
        &["graph", &file, "--format", "dot"][..],
        &["graph", &file, "--format", "mermaid"],
        &["graph", &file, "--format", "svg"],
        &["graph", &file, "--format", "yaml"],
        &["check", &file],
        &["doctor", &file],
    ] {
        let output = run(arguments);
        let shown = all_of(&output);
        assert!(output.status.success(), "{arguments:?}: {shown}");
        assert_hidden(&format!("{arguments:?}"), &shown);
    }
    // Addresses on the command line that replace those in the file.
    for uri in two_hundred().iter().step_by(10) {
        let stream = format!("c0={uri}");
        for arguments in [
            &["graph", &file, "--format", "yaml", "--stream", &stream][..],
            &["graph", &file, "--stream", &stream],
            &["check", &file, "--stream", &stream],
        ] {
            let output = run(arguments);
            let shown = all_of(&output);
            assert!(output.status.success(), "{arguments:?}: {shown}");
            assert_hidden(&format!("{arguments:?}"), &shown);
        }
    }
}

/// Checks every file in a folder and its subfolders.
fn assert_all_hidden(folder: &Path) {
    for (path, bytes) in crate::support::contents(folder) {
        let text = String::from_utf8_lossy(&bytes);
        assert_hidden(&path.display().to_string(), &text);
    }
}

#[test]
fn runs_that_are_swept_and_measured_show_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i"])
        .args(["testsrc2=size=64x48:rate=25:duration=0.4", "-c:v", "mpeg4"])
        .arg(&clip)
        .status();
    assert!(made.unwrap().success());
    let server = servers::http(fs::read(clip).unwrap(), Http::Ranges);
    let host = format!("127.0.0.1:{}", server.port);
    // With a raw `/` in the password, some addresses have another part parsed as the host.
    let is_reached = |uri: &String| {
        uri.split('/')
            .nth(2)
            .is_some_and(|place| place.contains("127.0.0.1:9"))
    };
    let recordings = two_hundred().into_iter();
    let recordings: Vec<String> = recordings
        .filter(|uri| uri.starts_with("http:") && is_reached(uri))
        .take(20)
        .map(|uri| uri.replacen("127.0.0.1:9", &host, 1))
        .collect();
    assert_eq!(recordings.len(), 20);
    let file = folder.path().join("graph.yaml");
    let graph = graph_of(numbered(&recordings));
    let graph = graph.replace("timeout: 500ms", "timeout: 1m");
    fs::write(&file, graph.replace("drain: 2s", "clock: asap")).unwrap();
    let (file, out) = (file.display().to_string(), folder.path().join("swept"));
    let out_text = out.display().to_string();
    let vary = "nodes.d.every=1000,2000";
    let output = run(&["sweep", &file, "--vary", vary, "--out", &out_text]);
    let shown = all_of(&output);
    assert!(output.status.success(), "{shown}");
    assert_hidden("the sweep", &shown);
    let runs = [out.join("01"), out.join("02")].map(|run| run.display().to_string());
    let measured = folder.path().join("measured").display().to_string();
    let output = run(&["kpi", &runs[0], &runs[1], "--out", &measured]);
    let shown = all_of(&output);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("c19"), "{shown}");
    assert_hidden("the measures", &shown);
    fs::remove_file(file).unwrap();
    assert_all_hidden(folder.path());
    assert!(Path::new(&measured).join("kpi.html").is_file());
}
