//! Measures what watching costs a run: `cargo bench --bench watching`.
//!
//! The program runs a graph as fast as it can: alone, served with its metrics scraped every second, and traced. Each
//! round runs all three, rotating the order, and each is compared with the run alone of the same round, because other
//! load on the machine changes slowly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Rounds per graph.
const ROUNDS: usize = 9;

/// A graph and the parameters that set its length.
struct Case {
    name: &'static str,
    graph: &'static str,
    arguments: &'static [&'static str],
}

const CASES: [Case; 2] = [
    Case {
        name: "two drawn cameras to annotated video",
        graph: "graphs/demo.yaml",
        arguments: &[
            "--set",
            "run.clock=asap",
            "--set",
            "nodes.capture.count=600",
        ],
    },
    Case {
        name: "nothing but hops between five nodes",
        graph: "graphs/bench/hop5.yaml",
        arguments: &[],
    },
];

/// The way a run is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Alone,
    Scraped,
    Traced,
}

const WAYS: [Way; 3] = [Way::Alone, Way::Scraped, Way::Traced];

/// Scrapes the metrics every second until the run is over and counts the answers.
fn scrape(address: &str, over: &AtomicBool, answers: &AtomicU64) {
    while !over.load(Ordering::Relaxed) {
        if let Ok(mut connection) = TcpStream::connect(address) {
            let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
            let mut answer = String::new();
            let asked = connection.write_all(request.as_bytes());
            if asked
                .and_then(|()| connection.read_to_string(&mut answer))
                .is_ok()
            {
                answers.fetch_add(1, Ordering::Relaxed);
            }
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Runs a graph once; returns its frames per second and how often its metrics were scraped.
fn run(case: &Case, way: Way, folder: &Path) -> (f64, u64) {
    let out = folder.join("out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fermata"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", case.graph, "--quiet", "--out"])
        .arg(&out)
        .args(case.arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    match way {
        Way::Alone => {}
        Way::Scraped => drop(command.args(["--serve", "127.0.0.1:0"])),
        Way::Traced => drop(command.arg("--trace").arg(folder.join("run.pftrace"))),
    }
    let mut process = command.spawn().expect("the program");
    let stderr = process.stderr.take().expect("it is piped");
    let (over, answers) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        match line.strip_prefix("live page: http://") {
            Some(address) => {
                let address = address.trim_end_matches('/').to_owned();
                let (over, answers) = (Arc::clone(&over), Arc::clone(&answers));
                std::thread::spawn(move || scrape(&address, &over, &answers));
            }
            None => eprintln!("{line}"),
        }
    }
    let status = process.wait().expect("a process that was started");
    over.store(true, Ordering::Relaxed);
    assert!(status.success(), "{way:?}: {status}");
    let report = std::fs::read_to_string(out.join("report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let streams = report["streams"].as_object().expect("streams").values();
    let captured: u64 = streams
        .filter_map(|stream| stream["captured"].as_u64())
        .sum();
    let wall_s = report["wall_s"].as_f64().expect("a time");
    std::fs::remove_dir_all(&out).expect("a folder of ours");
    (captured as f64 / wall_s, answers.load(Ordering::Relaxed))
}

/// Returns the value below which this share of the values lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn main() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("watching");
    std::fs::create_dir_all(&folder).expect("a folder");
    println!(
        "{ROUNDS} rounds; packets captured a second, and what watching changes of it in the same round"
    );
    for case in &CASES {
        let mut rates = [const { Vec::new() }; WAYS.len()];
        let mut answers = 0;
        for round in 0..ROUNDS {
            for turn in 0..WAYS.len() {
                let way = (round + turn) % WAYS.len();
                let (rate, asked) = run(case, WAYS[way], &folder);
                rates[way].push(rate);
                answers += asked;
            }
        }
        println!("{}", case.name);
        for (way, own) in WAYS.iter().zip(&rates) {
            let mut changes: Vec<f64> = own
                .iter()
                .zip(&rates[0])
                .map(|(own, alone)| 100.0 * (own / alone - 1.0))
                .collect();
            changes.sort_by(f64::total_cmp);
            let mut sorted = own.clone();
            sorted.sort_by(f64::total_cmp);
            println!(
                "  {:8} {:10.1}/s   median {:+5.2} %, half of the rounds from {:+5.2} to {:+5.2} %",
                format!("{way:?}").to_lowercase(),
                quantile(&sorted, 0.5),
                quantile(&changes, 0.5),
                quantile(&changes, 0.25),
                quantile(&changes, 0.75)
            );
        }
        println!("  ({:.1} scrapes a run)", answers as f64 / ROUNDS as f64);
    }
    std::fs::remove_dir_all(&folder).expect("a folder of ours");
}
