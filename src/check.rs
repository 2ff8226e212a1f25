//! `fermata check`: whether a graph could run.

use std::path::Path;

use crate::cli::{GraphArguments, REFUSED, SUCCESS};
use crate::print::{counted, print_line};
use crate::program::Program;
use crate::{load, logging};

/// Loads the graph and checks everything it names.
///
/// # Errors
/// Fails if nothing can be printed. Problems with the graph are reported and set the exit code.
pub(crate) fn check(arguments: &GraphArguments, program: &Program) -> anyhow::Result<u8> {
    let registry = (program.registry)();
    let Some(graph) = load::checked(arguments, program, &registry, Path::new("runs/check")) else {
        return Ok(REFUSED);
    };
    // The device and provider of each model are known only once it has been loaded.
    let works = || load::works(&graph, &registry);
    if !logging::telling("fermata_onnx", graph.secrets(), works) {
        return Ok(REFUSED);
    }
    let (nodes, streams) = (graph.nodes.len(), graph.streams.len());
    let on = match (graph.machine(), graph.machines.len()) {
        (Some(machine), _) => format!(" on machine {machine}"),
        (None, 0) => String::new(),
        (None, machines) => format!(" on {}", counted(machines, "machine")),
    };
    print_line(&format!(
        "{}: nothing wrong with {} and {}{on}",
        arguments.graph.display(),
        counted(nodes, "node"),
        counted(streams, "stream")
    ))?;
    if graph.takes_streams() && graph.streams.is_empty() {
        print_line("it has no streams yet: give them with --stream NAME=URI")?;
    }
    Ok(SUCCESS)
}
