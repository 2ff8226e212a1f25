//! The contents of `/metrics`, as promtool and Prometheus read them.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fermata_engine::{
    Actor, ActorError, Graph, Input, LoadOptions, Outputs, Ports, Registry, RunOptions,
    RunningGraph, Setup,
};
use fermata_serve::{Listening, ServeOptions, Server, Tap, WatchedRun};
use schemars::JsonSchema;
use serde::Deserialize;

/// Longer than anything that is waited for takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A slow sink, so that queues before it drop.
struct Slow;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Actor for Slow {
    const NAME: &'static str = "slow";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new().any_input("in").same_output("out").stateless()
    }

    fn create(_: Nothing, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        std::thread::sleep(Duration::from_millis(20));
        if let Some(payload) = input.take_any(0) {
            out.emit_any(0, input.envelope, payload);
        }
        Ok(())
    }
}

/// A graph in which everything that can be measured happens.
const GRAPH: &str = "
fermata: 1
streams: {left: x, right: y}
nodes:
  source: {use: test_source, each: stream, rate: 100}
  flawed: {use: inject_faults, in: source, fail_every: 20}
  groups: {use: identity, in: flawed, batch: {max: 4, wait: 5ms}}
  slow:   {use: slow, in: source, queue: {capacity: 1, full: drop_oldest}}
  one:    {use: discard, in: groups}
  other:  {use: discard, each: stream, in: slow}
";

struct Run {
    running: RunningGraph,
    _server: Server,
    address: SocketAddr,
}

fn start() -> Run {
    let mut registry = Registry::builtin();
    registry.register::<Slow>();
    let graph = Graph::parse("measured", GRAPH, &registry, &LoadOptions::new("/tmp/out")).unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let listening = Listening::on(ServeOptions {
        address,
        hosts: Vec::new(),
        token: None,
        identity: None,
    })
    .unwrap();
    let address = listening.address();
    let options = RunOptions::default();
    let running = RunningGraph::start(graph.clone(), Arc::new(registry), options).unwrap();
    let tap = Arc::new(Tap::new(|_| None));
    let run = WatchedRun::new(running.handle(), &graph, None, tap);
    let server = listening.start(run).unwrap();
    server.ready();
    Run {
        running,
        _server: server,
        address,
    }
}

/// Returns the body of an answer.
fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(body.to_owned())
}

/// Polls until `found` returns a value.
fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn names(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// Returns the metrics in the guide's tables that each run has.
fn documented() -> BTreeSet<String> {
    let guide = include_str!("../../docs/metrics.md");
    let (guide, _) = guide
        .split_once("## A site")
        .expect("what sites have besides");
    let cells = guide.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = cells.filter_map(|cell| cell.split('`').next());
    names
        .filter(|name| name.starts_with("fermata_"))
        .map(str::to_owned)
        .collect()
}

/// Returns the value of a series.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|rest| rest.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {series} in\n{text}"))
}

#[test]
fn promtool_accepts_it_every_name_is_documented_and_the_numbers_are_the_books() {
    let run = start();
    let documented = documented();
    let text = wait_for("all metrics", || {
        let text = get(run.address, "/metrics").unwrap();
        // Times are merged once a second.
        let all = names(&text).is_superset(&documented)
            && !text
                .contains("fermata_sink_latency_seconds_count{node=\"one\",stream=\"left\"} 0\n");
        all.then_some(text)
    });
    assert_eq!(names(&text), documented);
    assert_eq!(value(&text, "fermata_stream_up{stream=\"left\"}"), 1.0);
    assert_eq!(
        value(&text, "fermata_node_up{node=\"slow\",stream=\"\"}"),
        1.0
    );
    assert_eq!(
        value(&text, "fermata_node_up{node=\"source\",stream=\"right\"}"),
        1.0
    );

    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: run `make setup-test`");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );

    // Ended streams stay in the sums, and nothing is counted twice.
    let Run {
        running,
        _server,
        address,
    } = run;
    running.handle().drain();
    let report = running.wait();
    assert!(report.balanced, "{:?}", report.imbalances);
    let text = get(address, "/metrics").unwrap();
    let captured: u64 = report.streams.values().map(|stream| stream.captured).sum();
    assert_eq!(
        value(&text, "fermata_run_captured_packets_total"),
        captured as f64
    );
    let node = &report.nodes["flawed"];
    for (outcome, count) in [("processed", node.processed), ("failed", node.failed)] {
        let series = format!(
            "fermata_node_packets_total{{node=\"flawed\",stream=\"\",outcome=\"{outcome}\"}}"
        );
        assert_eq!(value(&text, &series), count as f64);
    }
    let waits = "fermata_node_queue_wait_seconds_count{node=\"flawed\",stream=\"\"}";
    assert_eq!(value(&text, waits), node.received as f64);
}

/// Debian's Prometheus; it ends with the test.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn prometheus(folder: &Path, scraped: SocketAddr) -> (Prometheus, SocketAddr) {
    let config = folder.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\nscrape_configs:\n  - job_name: fermata\n    static_configs: [{{targets: ['{scraped}']}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    // Free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("prometheus: run `make setup-test`");
    (Prometheus(child), address)
}

/// Returns every query of the dashboard, as Grafana would send it.
fn queries() -> Vec<String> {
    let dashboard = include_str!("../grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap());
    targets
        .map(|target| {
            let query = target["expr"].as_str().unwrap();
            query
                .replace("$__rate_interval", "5s")
                .replace("$stream", ".*")
        })
        .collect()
}

fn encoded(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn every_query_of_the_dashboard_returns_a_series() {
    let run = start();
    let folder = tempfile::tempdir().unwrap();
    let (_prometheus, address) = prometheus(folder.path(), run.address);
    let queries = queries();
    assert!(queries.len() > 15);
    for query in queries {
        let path = format!("/api/v1/query?query={}", encoded(&query));
        wait_for(&query, || {
            let answer = get(address, &path).ok()?;
            let answer: serde_json::Value = serde_json::from_str(&answer).ok()?;
            assert_eq!(answer["status"], "success", "{query}: {answer}");
            let series = answer["data"]["result"].as_array()?;
            (!series.is_empty()).then_some(())
        });
    }
}
