//! From a graph file and arguments to a graph, with its problems shown as people like them.

use std::path::Path;

use fermata_engine::{Graph, LoadOptions, Overrides, Problem, Problems, Registry};
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::cli::GraphArguments;
use crate::hand_over;
use crate::print::print_error;
use crate::program::Program;

/// Reads a graph and checks it and what it names; none if it has problems, which have been shown then.
pub(crate) fn checked(
    arguments: &GraphArguments,
    program: &Program,
    registry: &Registry,
    run_dir: &Path,
) -> Option<Graph> {
    let graph = parsed(arguments, program, registry, run_dir)?;
    is_runnable(&graph, registry).then_some(graph)
}

/// Whether what the graph names is there and its nodes agree with each other; problems are shown.
pub(crate) fn is_runnable(graph: &Graph, registry: &Registry) -> bool {
    let checked = graph.check(registry).map_err(|problems| show(&problems));
    checked.is_ok() && agrees(graph)
}

#[cfg(feature = "live")]
fn agrees(graph: &Graph) -> bool {
    let said = fermata_actors::agreement::disagreements(graph);
    for message in &said {
        eprintln!("error: {message}");
    }
    said.is_empty()
}

#[cfg(not(feature = "live"))]
fn agrees(_: &Graph) -> bool {
    true
}

/// Reads a graph without looking for what it names. If it names actors that this program does not have, the process becomes the one
/// that may have them.
pub(crate) fn parsed(
    arguments: &GraphArguments,
    program: &Program,
    registry: &Registry,
    run_dir: &Path,
) -> Option<Graph> {
    let mut options = LoadOptions::new(run_dir);
    options.overrides = Overrides {
        params: arguments.params.clone(),
        streams: arguments.streams.clone(),
        set: arguments.set.clone(),
    };
    let loaded = Graph::load(&arguments.graph, registry, &options);
    loaded.map_err(|problems| refuse(&problems, program)).ok()
}

fn refuse(problems: &Problems, program: &Program) {
    let is_for_another = problems.iter().any(Problem::is_of_unknown_name);
    if is_for_another
        && program.may_hand_over
        && hand_over::is_possible()
        && let Err(error) = hand_over::hand_over()
    {
        print_error(&error);
    }
    show(problems);
}

/// Shows problems on the error output.
pub(crate) fn show(problems: &Problems) {
    use std::io::IsTerminal;
    let theme = match std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => GraphicalTheme::unicode(),
        false => GraphicalTheme::unicode_nocolor(),
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_context_lines(1);
    for problem in problems.iter() {
        let mut shown = String::new();
        match handler.render_report(&mut shown, problem) {
            Ok(()) => eprint!("{shown}"),
            Err(_) => eprintln!("{problem}"),
        }
    }
    let count = problems.len();
    let plural = if count == 1 { "" } else { "s" };
    eprintln!("error: {count} problem{plural}; nothing was started");
}
