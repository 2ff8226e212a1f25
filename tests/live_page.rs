//! The live page in a real browser, over the real program. With `FERMATA_SCREENSHOTS=DIR` it leaves pictures of itself there.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::browser::Browser;
use crate::support::fermata;

const GRAPH: &str = "\
fermata: 1
name: cameras
streams: {STREAMS}
nodes:
  capture: {use: synthetic_faces, each: stream, seed: \"${stream.uri}\", width: 320, height: 240, fps: 5, faces: 1}
  detect:  {use: detect_faces, in: capture, model: haar, min_size: 60, every: 5}
  track:   {use: track_faces, each: stream, in: detect}
  log:     {use: write_csv, in: track, path: \"${run.dir}/faces.csv\"}
  draw:    {use: draw_overlay, each: stream, in: track, queue: {capacity: 1, full: drop_oldest}}
";

/// The program with a page.
struct Run {
    process: Child,
    folder: tempfile::TempDir,
    url: String,
}

impl Run {
    fn start(streams: &str, address: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let graph = folder.path().join("cameras.yaml");
        std::fs::write(&graph, GRAPH.replace("{STREAMS}", streams)).unwrap();
        let mut process = Command::new(fermata())
            .arg("run")
            .arg(&graph)
            .arg("--out")
            .arg(folder.path().join("out"))
            .args(["--quiet", "--serve", address])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let url = lines.find_map(|line| {
            let line = line.ok()?;
            said.push(line.clone());
            line.strip_prefix("live page: ").map(str::to_owned)
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            folder,
            url: url.unwrap_or_else(|| panic!("no page: {said:?}")),
        }
    }

    fn address(&self) -> &str {
        let address = self.url.trim_start_matches("http://");
        address.trim_end_matches('/')
    }

    fn report(self) -> Value {
        self.report_and(|| ()).0
    }

    /// Waits for the run's end; the report, and what is read of its folder then.
    fn report_and<T>(mut self, read: impl FnOnce() -> T) -> (Value, T) {
        self.process.wait().unwrap();
        let path = self.folder.path().join("out/report.json");
        let report = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        (report, read())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn screenshot(browser: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("FERMATA_SCREENSHOTS") {
        std::fs::create_dir_all(&folder).unwrap();
        browser.screenshot(&PathBuf::from(folder).join(format!("{name}.png")));
    }
}

/// The sequence of the picture that a tile shows.
fn sequence(stream: &str) -> String {
    format!(
        "Number(document.querySelector('[aria-label=\"stream {stream}\"] canvas').dataset.sequence)"
    )
}

fn state(stream: &str, state: &str) -> String {
    format!(
        "document.querySelector('[aria-label=\"stream {stream}\"] .badge').textContent === '{state}'"
    )
}

#[test]
fn frames_move_streams_come_and_the_numbers_are_those_of_the_report() {
    let Some(mut browser) = Browser::open() else {
        return;
    };
    let run = Run::start("{lobby: 1, door: 2}", "127.0.0.1:0", &[]);
    browser.go(&run.url);
    browser.wait_for(&format!("{} > 3", sequence("lobby")));
    browser.wait_for(&format!("{} > 3", sequence("door")));
    let first = browser.value(&sequence("door")).as_f64().unwrap();
    browser.wait_for(&format!("{} > {first} + 3", sequence("door")));
    assert_eq!(
        browser.value("document.querySelectorAll('#graph .node').length"),
        5
    );
    assert_eq!(
        browser.value("document.querySelectorAll('#graph .edge').length"),
        4
    );

    browser.value(
        "document.getElementById('add-name').value = 'yard';
         document.getElementById('add-uri').value = '3';
         document.querySelector('#add button').click();",
    );
    browser.wait_for(&format!("{} > 1", sequence("yard")));
    browser.wait_for("document.getElementById('answer').textContent === 'yard begins'");

    // An edge is chosen with the keyboard and tells of its packets.
    browser.value(
        "document.querySelectorAll('#graph .edge')[3].dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}));",
    );
    browser.wait_for("document.querySelectorAll('#tapped tr').length > 2");
    let carries = browser.value("document.querySelector('#tapped tr td:last-child').textContent");
    assert!(
        carries.as_str().unwrap().starts_with("320×240, "),
        "{carries}"
    );
    screenshot(&mut browser, "desktop");

    // The same numbers in the terminal's words.
    let top = Command::new(fermata())
        .args(["top", run.address()])
        .output()
        .unwrap();
    let top = String::from_utf8_lossy(&top.stdout).into_owned();
    assert!(top.starts_with("cameras  running"), "{top}");
    assert!(
        top.contains("capture → detect") && top.contains("yard"),
        "{top}"
    );

    browser.value("window.confirm = () => true; document.getElementById('drain').click();");
    for stream in ["lobby", "door", "yard"] {
        browser.wait_for(&state(stream, "over"));
    }
    browser.wait_for("document.getElementById('summary').textContent.startsWith('over')");
    let shown = browser.value(
        "Object.fromEntries([...document.querySelectorAll('.tile')].map((tile) =>
           [tile.querySelector('h3').textContent, tile.querySelector('.quiet').textContent]))",
    );
    let report = run.report();
    assert_eq!(report["balanced"], true);
    for stream in ["lobby", "door", "yard"] {
        let books = &report["streams"][stream];
        let words = format!(
            "{} of {} frames delivered",
            books["delivered"], books["captured"]
        );
        let shown = shown[stream].as_str().unwrap();
        assert!(shown.starts_with(&words), "{shown} is not {words}");
    }
}

#[test]
fn the_page_asks_for_the_token_and_comes_back_when_its_server_does() {
    let Some(mut browser) = Browser::open() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "correct-horse-battery\n").unwrap();
    let options = ["--serve-token-file", file.to_str().unwrap()];
    let run = Run::start("{lobby: 1}", "127.0.0.1:0", &options);
    let (url, address) = (run.url.clone(), run.address().to_owned());
    browser.go(&url);
    browser.wait_for("!document.getElementById('sign-in').hidden");
    assert_eq!(
        browser.value("document.getElementById('main').hidden"),
        true
    );
    browser.value(
        "document.getElementById('token').value = 'wrong';
         document.querySelector('#sign-in button').click();",
    );
    browser.wait_for("document.getElementById('sign-in-error').textContent !== ''");
    screenshot(&mut browser, "sign-in");
    // A fragment alone loads nothing anew.
    browser.go("about:blank");
    browser.go(&format!("{url}#token=correct-horse-battery"));
    browser.wait_for(&format!("{} > 1", sequence("lobby")));
    assert_eq!(browser.value("location.hash"), "");
    assert_eq!(browser.value("document.cookie"), "", "no script reads it");

    let log = std::fs::read_to_string(run.folder.path().join("out/run.log")).unwrap();
    assert!(!log.contains("correct-horse"), "{log}");
    drop(run);
    browser.wait_for("document.getElementById('connection').dataset.state === 'lost'");
    let again = Run::start("{lobby: 1, hall: 2}", &address, &options);
    browser.wait_for("document.getElementById('connection').dataset.state === 'open'");
    browser.wait_for(&format!("{} > 1", sequence("hall")));
    drop(again);
}

#[test]
fn sixteen_streams_on_a_telephone_cost_what_is_on_its_screen() {
    let Some(mut browser) = Browser::open() else {
        return;
    };
    let names: Vec<String> = (1..=16).map(|n| format!("camera-{n:02}: {n}")).collect();
    let run = Run::start(&format!("{{{}}}", names.join(", ")), "127.0.0.1:0", &[]);
    browser.resize(400, 850);
    browser.go(&run.url);
    browser.wait_for("document.querySelectorAll('.tile').length === 16");
    browser.wait_for(&format!("{} > 2", sequence("camera-01")));
    assert!(
        browser.value(&sequence("camera-16")).is_null(),
        "it is off the screen"
    );
    // Nothing hangs over the side.
    browser.wait_for("document.documentElement.scrollWidth <= 400");
    screenshot(&mut browser, "telephone");
    browser.value("document.querySelector('[aria-label=\"stream camera-16\"]').scrollIntoView();");
    browser.wait_for(&format!("{} > 2", sequence("camera-16")));
    browser.value("document.getElementById('graph').scrollIntoView();");
    screenshot(&mut browser, "telephone-graph");
    let nameless = browser.value(
        "[...document.querySelectorAll('button, input, canvas, [role=button]')]
           .filter((part) => !(part.textContent || part.labels?.length || part.getAttribute('aria-label'))).length",
    );
    assert_eq!(nameless, 0, "what a screen reader cannot name");
    browser.resize(1440, 1000);
    browser.value("scrollTo(0, 0);");
    browser.wait_for(&format!("{} > 2", sequence("camera-08")));
    screenshot(&mut browser, "sixteen");
    drop(run);
}

/// Resident memory of a process, bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_page_that_is_open_for_minutes_takes_no_more_memory_and_costs_no_row() {
    let seconds: u64 = match std::env::var_os("FERMATA_SOAK") {
        Some(_) => 300,
        None => {
            println!("skipped: it takes minutes (FERMATA_SOAK=1)");
            return;
        }
    };
    let Some(mut browser) = Browser::open() else {
        return;
    };
    let names: Vec<String> = (1..=16).map(|n| format!("camera-{n:02}: {n}")).collect();
    let run = Run::start(&format!("{{{}}}", names.join(", ")), "127.0.0.1:0", &[]);
    browser.resize(1440, 3000);
    browser.go(&run.url);
    browser.wait_for(&format!("{} > 2", sequence("camera-16")));
    let process = run.process.id();
    let mut measured = Vec::new();
    for part in 0..6 {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(seconds / 6);
        while std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        measured.push((resident(process), browser.heap()));
        println!(
            "part {part}: program and page hold {:?} bytes",
            measured[part]
        );
    }
    // The first part is for pools, caches and compilers to fill.
    let ((early, early_page), (late, late_page)) = (measured[1], measured[5]);
    assert!(late < early + early / 10 + 8_000_000, "{measured:?}");
    assert!(
        late_page < early_page + early_page / 10 + 2_000_000,
        "{measured:?}"
    );
    browser.value("window.confirm = () => true; document.getElementById('drain').click();");
    let table = run.folder.path().join("out/faces.csv");
    let (report, rows) = run.report_and(|| std::fs::read_to_string(table).unwrap());
    let frames: std::collections::BTreeSet<&str> = rows
        .lines()
        .skip(1)
        .map(|row| {
            row.match_indices(',')
                .nth(1)
                .map_or(row, |(at, _)| &row[..at])
        })
        .collect();
    let streams = report["streams"].as_object().unwrap();
    let captured: u64 = streams
        .values()
        .map(|stream| stream["captured"].as_u64().unwrap())
        .sum();
    assert_eq!(frames.len() as u64, captured, "the table has every frame");
}

#[test]
fn an_address_that_others_reach_needs_a_token_and_a_terminal_to_show_it_on() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("cameras.yaml");
    std::fs::write(&graph, GRAPH.replace("{STREAMS}", "{lobby: 1}")).unwrap();
    let refused = |more: &[&str], words: &str| {
        let output = Command::new(fermata())
            .arg("run")
            .arg(&graph)
            .arg("--out")
            .arg(folder.path().join("out"))
            .args(more)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(words), "{errors}");
        assert!(!folder.path().join("out").exists());
    };
    refused(&["--serve", "0.0.0.0:0"], "--serve-token-file");
    refused(&["--serve-token-file", "x"], "--serve");
    refused(
        &["--serve", "0.0.0.0:0", "--serve-token-file", "/nowhere"],
        "cannot read the token file /nowhere",
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    refused(&["--serve", &taken], &format!("cannot listen on {taken}"));
}
