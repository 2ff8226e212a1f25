//! Helpers for several test modules: loading graphs from text and running them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fermata_engine::statistics::Snapshot;
use fermata_engine::{
    Graph, LoadOptions, Overrides, Problems, Registry, Report, RunHandle, RunOptions, RunningGraph,
};

/// Longer than anything a test waits for takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until something has happened that the test itself cannot bring about. Sleeps between checks: a check may take
/// locks, and the core, that the awaited event needs.
pub(crate) fn wait_until(what: &str, happened: impl Fn() -> bool) {
    wait_until_or(|| what.to_owned(), happened);
}

/// Works like [`wait_until`], but computes the description of what it waits for, which may show how far it got.
pub(crate) fn wait_until_or(what: impl Fn() -> String, happened: impl Fn() -> bool) {
    let started = Instant::now();
    let mut pause = Duration::from_micros(200);
    while !happened() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {}", what());
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Returns options that do not depend on the machine.
pub(crate) fn options() -> LoadOptions {
    let mut options = LoadOptions::new("/tmp/out");
    options.env.clear();
    options
}

/// Reads a graph of the engine's own actors.
pub(crate) fn load(text: &str) -> Result<Graph, Problems> {
    load_with(text, &[])
}

/// Reads a graph with `--set` arguments.
pub(crate) fn load_with(text: &str, set: &[&str]) -> Result<Graph, Problems> {
    let mut options = options();
    options.overrides = Overrides {
        set: set.iter().map(|&argument| argument.to_owned()).collect(),
        ..Overrides::default()
    };
    Graph::parse("test.yaml", text, &Registry::builtin(), &options)
}

/// Runs a graph of the engine's own actors to its end.
pub(crate) fn run(text: &str) -> Report {
    start(text).wait()
}

/// Starts a graph of the engine's own actors.
pub(crate) fn start(text: &str) -> RunningGraph {
    start_with(text, Registry::builtin(), RunOptions::default())
}

/// Starts a graph.
pub(crate) fn start_with(text: &str, registry: Registry, run_options: RunOptions) -> RunningGraph {
    let graph = Graph::parse("test.yaml", text, &registry, &options()).expect("a correct graph");
    RunningGraph::start(graph, Arc::new(registry), run_options).expect("a graph that starts")
}

/// Asserts that the books of a run balance, and shows them if not.
pub(crate) fn assert_balanced(report: &Report) {
    assert!(
        report.balanced,
        "{:#?}\n{}",
        report.imbalances,
        serde_json::to_string_pretty(report).expect("a report is JSON")
    );
}

/// Returns the path of a file of this repository.
pub(crate) fn repository(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns all files of a folder with their contents, by their relative paths.
#[cfg(feature = "live")]
pub(crate) fn contents(
    folder: &std::path::Path,
) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let (mut contents, mut folders) = (std::collections::BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("what lies in it");
            contents.insert(name.to_owned(), std::fs::read(&path).expect("a file"));
        }
    }
    contents
}

/// Returns the path of the program.
#[cfg(feature = "live")]
pub(crate) fn fermata() -> &'static str {
    env!("CARGO_BIN_EXE_fermata")
}

/// Returns a registry with all actors of the program.
#[cfg(feature = "live")]
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::builtin();
    fermata_actors::register(&mut registry);
    registry
}

/// Makes a model folder with mini-XCEPTION and its card.
#[cfg(feature = "live")]
pub(crate) fn card_of_mini_xception(data: &std::path::Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = folder.path().join("model.onnx");
    let original = data.join("classify/fer2013_mini_XCEPTION.102-0.66.onnx");
    std::fs::copy(original, &weights).expect("the model");
    let sum = fermata_files::sha256_of_file(&weights).expect("a checksum");
    let card = format!(
        "\
input: {{name: input, size: 64, layout: nchw, colour: gray}}
interpolation: area
scaling: [{{divide: 255}}, {{multiply: 2}}, {{subtract: 1}}]
output: {{name: probs, kind: probabilities, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}}
licence: MIT
source: oarriaga/face_classification
sha256: {sum}
"
    );
    std::fs::write(folder.path().join("card.yaml"), card).expect("the card");
    folder
}

/// Waits for a snapshot that satisfies a condition, however busy the machine.
pub(crate) fn wait_for(handle: &RunHandle, holds: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let asked = Instant::now();
    loop {
        let snapshot = handle.snapshot();
        if holds(&snapshot) {
            return snapshot;
        }
        let waited = asked.elapsed() > PATIENCE;
        assert!(!waited, "waited in vain: {snapshot:#?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
