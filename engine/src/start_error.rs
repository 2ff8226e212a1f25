//! Why a graph or a stream did not start.

use crate::graph::Problems;
use crate::report::FaultReport;

/// Why a graph or a stream did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The graph file, interpolated for this stream, is invalid.
    #[error(transparent)]
    Graph(#[from] Problems),
    /// Nodes could not be created; all of them are listed.
    #[error("{}", join_faults(.0))]
    Create(Vec<FaultReport>),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The graph has no source with `each: stream`.
    #[error("the graph has no source with `each: stream`, so it takes no streams")]
    TakesNoStreams,
    /// No edge of this name comes from another machine.
    #[error("no edge `{0}` comes here from another machine")]
    NoEdge(String),
    /// The provider of the graph's streams could not be created.
    #[error("the provider `{name}` could not be created: {message}")]
    Provider {
        /// Its name.
        name: String,
        /// Its error message.
        message: String,
    },
    /// The run is draining, stopping or over.
    #[error("the run is ending and takes no more streams")]
    Ending,
}

fn join_faults(faults: &[FaultReport]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| match &fault.node {
            Some(node) => format!("node `{node}`: {}", fault.message),
            None => fault.message.clone(),
        })
        .collect();
    lines.join("\n")
}
