//! The page open over sixteen streams: the run loses no row, and a browser that reads one byte per second does not
//! affect another. With `FERMATA_SOAK` it runs for five minutes at a pace that takes about half of the machine, and
//! also checks rates and memory.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, client};

use crate::browser::{Browser, memory};
use crate::served_run::{CAMERAS, ServedRun, sequence};
use crate::skipped::skip;
use crate::support::{fermata, wait_until};

/// The cameras of a soak.
const STREAMS: usize = 16;
/// Parts of a soak; the slow browser runs in every other one, so that other load on the machine affects both kinds.
const PARTS: usize = 6;
/// The length of a part of a soak.
const PART: Duration = Duration::from_secs(50);
/// Share of the machine that the streams should take.
const SHARE: f64 = 0.5;

fn names() -> Vec<String> {
    (1..=STREAMS).map(|n| format!("camera-{n:02}")).collect()
}

fn streams() -> String {
    let names = names();
    let streams = names.iter().enumerate();
    let streams: Vec<String> = streams.map(|(n, name)| format!("{name}: {n}")).collect();
    format!("{{{}}}", streams.join(", "))
}

/// A browser that requests every picture and reads one byte per second. It reconnects when the server disconnects it.
struct SlowBrowser {
    over: Arc<AtomicBool>,
    bytes: JoinHandle<u64>,
}

impl SlowBrowser {
    fn open(address: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (address, is_over) = (address.to_owned(), Arc::clone(&over));
        let connected = Arc::new(AtomicBool::new(false));
        let has_connected = Arc::clone(&connected);
        let bytes = std::thread::spawn(move || {
            let mut bytes = 0;
            while !is_over.load(Ordering::Relaxed) {
                let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
                let origin = format!("http://{address}").parse().unwrap();
                request.headers_mut().insert("origin", origin);
                let Ok(stream) = TcpStream::connect(&address) else {
                    break;
                };
                stream
                    .set_read_timeout(Some(Duration::from_secs(1)))
                    .unwrap();
                let Ok((mut socket, _)) = client(request, stream) else {
                    continue;
                };
                has_connected.store(true, Ordering::Relaxed);
                let credit = json!({ "credit": names() }).to_string();
                while !is_over.load(Ordering::Relaxed) {
                    if socket.send(Message::text(credit.clone())).is_err() {
                        break;
                    }
                    // Bypasses the WebSocket, which would read everything available.
                    match socket.get_mut().read(&mut [0]) {
                        Ok(0) => break,
                        Ok(read) => bytes += read as u64,
                        Err(_) => {}
                    }
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            bytes
        });
        wait_until("the slow browser is there", || {
            connected.load(Ordering::Relaxed)
        });
        Self { over, bytes }
    }

    fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.bytes.join().unwrap()
    }
}

/// Opens the page with every tile on the screen, and starts counting what it paints.
fn open_page(browser: &mut Browser, run: &ServedRun) {
    browser.resize(1440, 3000);
    browser.go(&run.url);
    for name in names() {
        browser.wait_for(&format!("{} >= 0", sequence(&name)));
    }
    browser.value(
        "window.painted = 0;
         const draw = CanvasRenderingContext2D.prototype.drawImage;
         CanvasRenderingContext2D.prototype.drawImage = function (...given) {
           window.painted += 1;
           return draw.apply(this, given);
         };",
    );
}

/// Ends a run by its page, and compares its table with its report.
fn end(browser: &mut Browser, run: ServedRun) -> Value {
    browser.value("window.confirm = () => true; document.getElementById('drain').click();");
    let table = run.folder.path().join("out/faces.csv");
    let (report, rows) = run.report_and(|| std::fs::read_to_string(table).unwrap());
    assert_eq!(report["balanced"], true);
    // Stream, segment and sequence.
    let frame = |row: &str| row.splitn(4, ',').take(3).collect::<Vec<_>>().join(",");
    let frames: BTreeSet<String> = rows.lines().skip(1).map(frame).collect();
    assert_eq!(
        frames.len() as u64,
        sum(&report, "captured"),
        "the table has every frame"
    );
    report
}

fn sum(report: &Value, what: &str) -> u64 {
    let streams = report["streams"].as_object().unwrap().values();
    streams.map(|stream| stream[what].as_u64().unwrap()).sum()
}

#[test]
fn sixteen_streams_lose_no_row_beside_a_page_and_a_browser_that_reads_a_byte_a_second() {
    let mut browser = Browser::open();
    let run = ServedRun::start(&streams(), "127.0.0.1:0", &[]);
    open_page(&mut browser, &run);
    let slow = SlowBrowser::open(run.address());
    for name in names() {
        let shown = browser.value(&sequence(&name)).as_f64().unwrap();
        browser.wait_for(&format!("{} > {shown} + 2", sequence(&name)));
    }
    end(&mut browser, run);
    slow.end();
}

/// Runs the cameras without a page; returns the report and the processor time used, in seconds.
fn without_page(settings: &[String]) -> (Value, f64) {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("cameras.yaml");
    std::fs::write(&graph, CAMERAS.replace("{STREAMS}", &streams())).unwrap();
    let out = folder.path().join("out");
    let output = Command::new("bash")
        .args([
            "-c",
            "TIMEFORMAT='%U %S'; time \"$0\" \"$@\" 2>/dev/null >&2",
        ])
        .args([fermata(), "run"])
        .arg(&graph)
        .arg("--out")
        .arg(&out)
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let times = said.split_whitespace().map(|time| time.parse::<f64>());
    let times: Result<Vec<f64>, _> = times.collect();
    let report = std::fs::read_to_string(out.join("report.json")).unwrap();
    (
        serde_json::from_str(&report).unwrap(),
        times.unwrap_or_else(|_| panic!("{said}")).iter().sum(),
    )
}

/// Returns packets per second.
fn rate(report: &Value) -> f64 {
    sum(report, "captured") as f64 / report["wall_s"].as_f64().unwrap()
}

#[test]
fn a_page_that_is_open_for_minutes_takes_no_more_memory_and_costs_no_row_and_no_pace() {
    if std::env::var_os("FERMATA_SOAK").is_none() {
        skip("a soak: it takes minutes (FERMATA_SOAK=1)");
        return;
    }
    let mut browser = Browser::open();
    let cores = std::thread::available_parallelism().unwrap().get() as f64;
    let as_fast_as_possible = ["run.clock=asap", "nodes.capture.count=50"].map(str::to_owned);
    let (report, processor_s) = without_page(&as_fast_as_possible);
    let per_frame_s = processor_s / sum(&report, "captured") as f64;
    let fps = (SHARE * cores / per_frame_s / STREAMS as f64).clamp(1.0, 60.0);
    let pace = format!("nodes.capture.fps={fps:.2}");
    let minute = format!("nodes.capture.count={:.0}", fps * 60.0);
    let (alone, processor_s) = without_page(&[pace.clone(), minute]);
    println!(
        "{:.2} ms of processor time a frame: {STREAMS} streams at {fps:.2} frames a second; without a page {:.2} frames/s, {:.0} % of {cores} cores",
        per_frame_s * 1e3,
        rate(&alone),
        100.0 * processor_s / alone["wall_s"].as_f64().unwrap() / cores
    );

    let run = ServedRun::start(&streams(), "127.0.0.1:0", &["--set", &pace]);
    open_page(&mut browser, &run);
    let process = run.process.id();
    let (mut read, mut measured) = (0, Vec::new());
    for part in 0..PARTS {
        let slow = (part % 2 == 1).then(|| SlowBrowser::open(run.address()));
        let painted = browser.value("window.painted").as_f64().unwrap();
        let began = Instant::now();
        while began.elapsed() < PART {
            std::thread::sleep(Duration::from_secs(1));
        }
        let painted = browser.value("window.painted").as_f64().unwrap() - painted;
        let part = Part {
            program: memory(process, "VmRSS:"),
            heap: browser.heap(),
            browser: browser.resident(),
            pictures_per_s: painted / began.elapsed().as_secs_f64(),
        };
        println!("{part:?}");
        measured.push(part);
        read += slow.map_or(0, SlowBrowser::end);
    }
    let report = end(&mut browser, run);
    println!(
        "with the page {:.2} frames/s, {} missed; the slow browser read {read} bytes",
        rate(&report),
        sum(&report, "missed")
    );
    // The first part is left out: pools, caches and compilers fill up in it.
    let (early, late) = (&measured[1], &measured[PARTS - 1]);
    for (what, early, late, slack) in [
        ("the program", early.program, late.program, 8_000_000),
        ("the page", early.heap, late.heap, 2_000_000),
        ("the browser", early.browser, late.browser, 30_000_000),
    ] {
        assert!(late < early + early / 10 + slack, "{what}: {measured:?}");
    }
    let (with, without) = (rate(&report), rate(&alone));
    assert!(
        with > 0.98 * without,
        "{with} frames/s, {without} without a page"
    );
    // The first part is left out here too: no part without the slow browser precedes it.
    let mean = |first: usize| {
        let parts = measured.iter().skip(first).step_by(2);
        let rates: Vec<f64> = parts.map(|part| part.pictures_per_s).collect();
        rates.iter().sum::<f64>() / rates.len() as f64
    };
    let (alone, beside) = (mean(2), mean(1));
    assert!(beside > 0.85 * alone, "{measured:?}");
}

/// What was measured in a part of a soak; memory in bytes.
#[derive(Debug)]
struct Part {
    program: u64,
    /// The page's objects.
    heap: u64,
    /// All of the browser's processes.
    browser: u64,
    pictures_per_s: f64,
}
