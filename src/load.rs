//! Loads a graph from a graph file and arguments, and shows its problems in readable form.

mod hints;

use std::collections::BTreeMap;
use std::path::Path;

use fermata_engine::graph::redact;
use fermata_engine::{Graph, LoadOptions, Overrides, Problem, Problems, Registry};
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::cli::GraphArguments;
use crate::hand_over;
use crate::print::{complain, complain_as_it_is, print_error};
use crate::program::Program;
use crate::remote;
use crate::run_folder::OWN_FILES;
use crate::watched::{is_watched, to_analyse};

/// Maximum number of problems shown.
const MOST_SHOWN: usize = 100;

/// Maximum number of characters shown of a line.
const MOST_WIDE: usize = 400;

/// The character that starts terminal control sequences.
const ESCAPE: char = '\x1b';

/// Loads a graph and checks it and everything it names; returns none if it has problems, which have then been shown.
pub(crate) fn checked(
    arguments: &GraphArguments,
    program: &Program,
    registry: &Registry,
    run_dir: &Path,
) -> Option<Graph> {
    let graph = parsed(arguments, program, registry, run_dir)?;
    let checked = graph.check_replaced(registry, None);
    if let Err(problems) = checked.and_then(|()| graph.check(registry)) {
        show(&problems);
        show_hints(arguments, &problems);
        return None;
    }
    if !agrees(graph.whole()) {
        show_hints(arguments, &Problems::default());
        return None;
    }
    doubt(graph.whole());
    Some(graph)
}

/// Returns whether no sink and no trace overwrites what the run reads, the graph file, or the run's own files; shows
/// problems.
pub(crate) fn spares_files(graph: &Graph, registry: &Registry, trace: Option<&Path>) -> bool {
    let checked = graph.check_replaced(registry, trace);
    checked.map_err(|problems| show(&problems)).is_ok()
}

/// Tries out what the graph names, and returns whether it works; shows problems.
pub(crate) fn works(graph: &Graph, registry: &Registry) -> bool {
    let tried = graph.try_out(registry).map_err(|problems| show(&problems));
    tried.is_ok()
}

/// Returns whether what the graph names exists and its nodes agree with each other; shows problems.
pub(crate) fn is_runnable(graph: &Graph, registry: &Registry) -> bool {
    let checked = graph.check(registry).map_err(|problems| show(&problems));
    checked.is_ok() && agrees(graph.whole())
}

#[cfg(feature = "live")]
fn agrees(graph: &Graph) -> bool {
    let said = fermata_actors::agreement::disagreements(graph);
    for message in &said {
        complain(&format!("error: {message}"));
    }
    said.is_empty()
}

/// Warns about settings that may not do what they seem to.
#[cfg(feature = "live")]
fn doubt(graph: &Graph) {
    for message in fermata_actors::agreement::doubts(graph) {
        complain(&format!("warning: {message}"));
    }
}

#[cfg(not(feature = "live"))]
fn doubt(_: &Graph) {}

#[cfg(not(feature = "live"))]
fn agrees(_: &Graph) -> bool {
    true
}

/// Loads a graph, or a machine's part of it, without checking what it names. If it names actors that this program
/// lacks, the process is replaced by the program that may have them.
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
    let named = arguments.graph.to_string_lossy();
    if is_watched(&named) {
        complain(&format!(
            "error: {} is not a graph file; nothing was started",
            redact(&named)
        ));
        complain(&to_analyse(&named));
        return None;
    }
    let loaded = Graph::load(&arguments.graph, registry, &options);
    let loaded = loaded.map_err(|problems| {
        refuse(&problems, program);
        show_hints(arguments, &problems);
    });
    let mut graph = loaded.ok()?;
    for name in OWN_FILES {
        let path = run_dir.join(name);
        for path in [fermata_files::part_path(&path), path] {
            graph.keep(path, "the run itself writes");
        }
    }
    let Some(machine) = &arguments.machine else {
        return Some(graph);
    };
    let part = remote::part(&graph, machine, registry);
    part.map_err(|error| print_error(&error)).ok()
}

/// Shows hints for the arguments in which these problems were found.
fn show_hints(arguments: &GraphArguments, problems: &Problems) {
    let told: Vec<&str> = problems.iter().map(Problem::message).collect();
    for hint in hints::hints(arguments, &told) {
        complain(&hint);
    }
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

/// Shows problems on standard error.
pub(crate) fn show(problems: &Problems) {
    use std::io::IsTerminal;
    let theme = if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_context_lines(1);
    let told = once_each(problems);
    for (problem, others) in told.iter().take(MOST_SHOWN) {
        let mut shown = String::new();
        match handler.render_report(&mut shown, *problem) {
            Ok(()) => complain_as_it_is(&in_short_lines(shown.trim_end_matches('\n'))),
            Err(_) => complain(&problem.to_string()),
        }
        if !others.is_empty() {
            complain(&format!("  the same holds for {}", others.join(", ")));
        }
    }
    let count = told.len();
    if count > MOST_SHOWN {
        complain(&format!("… and {} more", count - MOST_SHOWN));
    }
    let plural = if count == 1 { "" } else { "s" };
    complain(&format!(
        "error: {count} problem{plural}; nothing was started"
    ));
}

/// Cuts over-long lines: a file may be a single line of megabytes.
fn in_short_lines(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let Some((end, _)) = line.char_indices().nth(MOST_WIDE) else {
            return line.to_owned();
        };
        let shown = &line[..end];
        // Do not cut inside a control sequence, and reset colours after the cut.
        let is_whole = |at: &usize| shown[*at..].contains('m');
        let end = shown
            .rfind(ESCAPE)
            .filter(|at| !is_whole(at))
            .unwrap_or(end);
        let reset = if line.contains(ESCAPE) { "\x1b[0m" } else { "" };
        format!("{}…{reset}", &line[..end])
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Groups problems by cause: the first of each, and the other nodes that have it.
fn once_each(problems: &Problems) -> Vec<(&Problem, Vec<&str>)> {
    let mut told: Vec<(&Problem, Vec<&str>)> = Vec::new();
    let mut by_cause = BTreeMap::new();
    for problem in problems.iter() {
        let Some((node, cause)) = of_node(problem.message()) else {
            told.push((problem, Vec::new()));
            continue;
        };
        let place = *by_cause.entry(cause).or_insert(told.len());
        match told.get_mut(place) {
            None => told.push((problem, Vec::new())),
            Some((_, others)) => others.push(node),
        }
    }
    told
}

/// Splits a message into the node and its problem.
fn of_node(message: &str) -> Option<(&str, &str)> {
    let (node, cause) = message.split_once(": ")?;
    node.starts_with("node `").then_some((node, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_is_shown_up_to_where_somebody_reads() {
        let text = format!("short\n{}\nlast", "ä".repeat(1_000));
        let shown = in_short_lines(&text);
        assert_eq!(shown, format!("short\n{}…\nlast", "ä".repeat(MOST_WIDE)));
        let coloured = format!("\x1b[1m{}\x1b[0m", "[".repeat(1_000));
        let shown = in_short_lines(&coloured);
        assert_eq!(
            shown,
            format!("\x1b[1m{}…\x1b[0m", "[".repeat(MOST_WIDE - 4))
        );
        let within = format!("{}\x1b[31mred{}", "a".repeat(MOST_WIDE - 2), "b".repeat(9));
        let shown = in_short_lines(&within);
        assert_eq!(shown, format!("{}…\x1b[0m", "a".repeat(MOST_WIDE - 2)));
    }
}
