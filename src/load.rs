//! From a graph file and arguments to a graph, with its problems shown as people like them.

use std::path::Path;

use fermata_engine::{Graph, LoadOptions, Overrides, Problems, Registry};
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::cli::GraphArguments;

/// The actors of this program.
pub(crate) fn registry() -> Registry {
    #[allow(unused_mut)]
    let mut registry = Registry::builtin();
    #[cfg(feature = "live")]
    fermata_actors::register(&mut registry);
    registry
}

/// Reads a graph and checks it and what it names; none if it has problems, which have been shown then.
pub(crate) fn checked(
    arguments: &GraphArguments,
    registry: &Registry,
    run_dir: &Path,
) -> Option<Graph> {
    let graph = parsed(arguments, registry, run_dir)?;
    match graph.check(registry) {
        Ok(()) => Some(graph),
        Err(problems) => {
            show(&problems);
            None
        }
    }
}

/// Reads a graph without looking for what it names.
pub(crate) fn parsed(
    arguments: &GraphArguments,
    registry: &Registry,
    run_dir: &Path,
) -> Option<Graph> {
    let mut options = LoadOptions::new(run_dir);
    options.overrides = Overrides {
        params: arguments.params.clone(),
        streams: arguments.streams.clone(),
        set: arguments.set.clone(),
    };
    Graph::load(&arguments.graph, registry, &options)
        .map_err(|problems| show(&problems))
        .ok()
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
