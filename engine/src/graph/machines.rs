//! `machines:` of a graph file, and the placement of nodes on them.

use std::collections::BTreeMap;

use super::interpolate;
use super::place::Span;
use super::problem::{Problem, Problems};
use super::spec::{Placement, StreamSpec, StreamValues};
use super::tree::{Tree, Value};
use super::wired::Wired;

/// Returns the machines of a site, each with the place of its name; empty if one machine runs everything.
pub(crate) fn read(tree: &Tree, problems: &mut Problems) -> Vec<(String, Span)> {
    let mut machines = Vec::new();
    for entry in tree.section("machines") {
        let is_empty = entry.value.is_null() || entry.value.as_map().is_some_and(<[_]>::is_empty);
        if !is_empty {
            let message = format!("machine `{}` takes no settings", entry.key);
            problems.push(Problem::at(&entry.value.span, message).help("write `{}`"));
        }
        machines.push((entry.key.clone(), entry.key_span.clone()));
    }
    machines
}

/// Determines where each node runs; reports nodes without a valid placement.
pub(crate) fn place(
    wired: &mut [Wired],
    machines: &[(String, Span)],
    streams: (&[StreamSpec], &StreamValues),
    is_provided: bool,
    problems: &mut Problems,
) {
    if machines.is_empty() {
        for node in wired.iter() {
            if let Some(on) = &node.draft.on {
                let message = "`on` names a machine, but the graph has no `machines`";
                let problem = Problem::at(&on.span, message);
                let name = on.as_text().unwrap_or_default();
                problems.push(problem.help(format!("add `machines: {{{name}: {{}}}}`")));
            }
        }
        return;
    }
    if is_provided {
        let message = "streams that are units of work stay on one machine";
        let problem = Problem::at(&machines[0].1, message);
        problems.push(problem.help("leave out `machines`"));
        return;
    }
    // Nodes that could not be read are not in `wired`.
    let are_all_read = problems.is_empty();
    let known: Vec<&str> = machines.iter().map(|(name, _)| name.as_str()).collect();
    for node in wired.iter_mut() {
        node.on = problems.note(placement(node, &known, streams)).flatten();
    }
    for (machine, span) in machines {
        let mut placed = wired.iter().filter_map(|node| node.on.as_ref());
        // Nodes that could not be placed have been reported.
        let are_all = are_all_read && wired.iter().all(|node| node.on.is_some());
        if are_all && !placed.any(|on| on.is_on(machine)) {
            let message = format!("no node runs on machine `{machine}`");
            let problem = Problem::at(span, message);
            problems.push(problem.help(format!("leave it out, or write `on: {machine}`")));
        }
    }
}

fn placement(
    node: &Wired,
    machines: &[&str],
    (streams, values): (&[StreamSpec], &StreamValues),
) -> Result<Option<Placement>, Problem> {
    let draft = &node.draft;
    let Some(on) = &draft.on else {
        let message = format!("node `{}`: no machine is given", draft.name);
        let known = super::problem::listed(machines);
        let problem = Problem::at(&draft.name_span, message);
        return Err(problem.help(format!("add `on:`; known: {known}")));
    };
    let is_of_stream = on.as_text().is_some_and(|text| text.contains("${stream."));
    if !is_of_stream || !draft.each_stream {
        // A reference to a stream is refused by `machine`.
        return machine(on, None, machines, values).map(|name| name.map(Placement::Machine));
    }
    let mut of_stream = BTreeMap::new();
    for stream in streams {
        if let Some(machine) = machine(on, Some(stream), machines, values)? {
            of_stream.insert(stream.name.clone(), machine);
        }
    }
    Ok(Some(Placement::OfStream(of_stream)))
}

/// Returns the machine that a text names for a stream.
fn machine(
    on: &Tree,
    stream: Option<&StreamSpec>,
    machines: &[&str],
    values: &StreamValues,
) -> Result<Option<String>, Problem> {
    let replaced = interpolate::stream_values(on, stream, values);
    let replaced = replaced.map_err(|problems| first(&problems, on))?;
    let Value::Scalar { text, .. } = replaced.value else {
        return Ok(None);
    };
    if machines.contains(&text.as_str()) {
        return Ok(Some(text));
    }
    let of = stream.map_or(String::new(), |stream| {
        format!(", which stream `{}` names", stream.name)
    });
    let message = format!("there is no machine `{text}`{of}");
    let problem = Problem::at(&on.span, message);
    Err(problem.did_you_mean(&text, machines.iter().copied()))
}

fn first(problems: &Problems, on: &Tree) -> Problem {
    let mut problems = problems.iter();
    problems
        .next()
        .cloned()
        .unwrap_or_else(|| Problem::at(&on.span, "it names no machine"))
}
