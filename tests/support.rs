//! What several test modules use: loading graphs from texts and running them.

use std::sync::Arc;

use fermata_engine::{
    Graph, LoadOptions, Overrides, Problems, Registry, Report, RunOptions, RunningGraph,
};

/// Options that do not depend on the machine.
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

/// The books of a run balance; shows them if not.
pub(crate) fn assert_balanced(report: &Report) {
    assert!(
        report.balanced,
        "{:#?}\n{}",
        report.imbalances,
        serde_json::to_string_pretty(report).expect("a report is JSON")
    );
}
