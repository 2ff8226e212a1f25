//! The program with a page, as several test modules run it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use serde_json::Value;

use crate::support::{fermata, wait_until};

/// A graph of cameras that draws and writes a table; its streams are to be filled in.
pub(crate) const CAMERAS: &str = "\
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
pub(crate) struct ServedRun {
    pub(crate) process: Child,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) url: String,
    /// Lines of its standard error after the page's address.
    pub(crate) lines: mpsc::Receiver<String>,
}

impl ServedRun {
    pub(crate) fn start(streams: &str, address: &str, more: &[&str]) -> Self {
        Self::of_graph(CAMERAS, streams, address, more)
    }

    pub(crate) fn of_graph(graph_text: &str, streams: &str, address: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let graph = folder.path().join("cameras.yaml");
        std::fs::write(&graph, graph_text.replace("{STREAMS}", streams)).unwrap();
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
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)))
        });
        Self {
            process,
            folder,
            url: url.unwrap_or_else(|| panic!("no page: {said:?}")),
            lines: receiver,
        }
    }

    pub(crate) fn address(&self) -> &str {
        let (_, address) = self.url.split_once("://").unwrap();
        address.trim_end_matches('/')
    }

    /// Interrupts the run, like Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let process = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &process]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn report(self) -> Value {
        self.report_and(|| ()).0
    }

    /// Waits for the run's end; returns the report and what `read` then returns.
    pub(crate) fn report_and<T>(mut self, read: impl FnOnce() -> T) -> (Value, T) {
        self.process.wait().unwrap();
        let path = self.folder.path().join("out/report.json");
        let report = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        (report, read())
    }
}

impl Drop for ServedRun {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs `fermata top`.
pub(crate) fn top(arguments: &[&str]) -> Output {
    Command::new(fermata())
        .arg("top")
        .args(arguments)
        .output()
        .unwrap()
}

/// Waits until `fermata top` shows a run in a state.
pub(crate) fn wait_for_top(arguments: &[&str], state: &str) {
    wait_until(&format!("top {arguments:?}: {state}"), || {
        let shown = top(arguments);
        String::from_utf8_lossy(&shown.stdout).starts_with(&format!("cameras  {state}"))
    });
}

/// Returns an expression for the sequence number of the picture that a tile shows.
pub(crate) fn sequence(stream: &str) -> String {
    format!(
        "Number(document.querySelector('[aria-label=\"stream {stream}\"] canvas').dataset.sequence)"
    )
}

pub(crate) fn state(stream: &str, state: &str) -> String {
    format!(
        "document.querySelector('[aria-label=\"stream {stream}\"] .badge').textContent === '{state}'"
    )
}
