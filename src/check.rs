//! `fermata check`: whether a graph could run.

use std::path::Path;

use crate::cli::{GraphArguments, REFUSED, SUCCESS};
use crate::load;
use crate::print::print_line;
use crate::program::Program;

/// Reads the graph and looks for everything that it names.
pub fn check(arguments: &GraphArguments, program: &Program) -> anyhow::Result<u8> {
    let registry = (program.registry)();
    let Some(graph) = load::checked(arguments, program, &registry, Path::new("runs/check")) else {
        return Ok(REFUSED);
    };
    if !load::works(&graph, &registry) {
        return Ok(REFUSED);
    }
    let (nodes, streams) = (graph.nodes.len(), graph.streams.len());
    let on = match (graph.machine(), graph.machines.len()) {
        (Some(machine), _) => format!(" on machine {machine}"),
        (None, 0) => String::new(),
        (None, machines) => format!(" on {machines} machines"),
    };
    print_line(&format!(
        "{}: nothing wrong with {nodes} nodes and {streams} streams{on}",
        arguments.graph.display()
    ))?;
    if graph.takes_streams() && graph.streams.is_empty() {
        print_line("it has no streams yet: give them with --stream NAME=URI")?;
    }
    Ok(SUCCESS)
}
