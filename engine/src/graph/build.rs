//! Builds a graph from a merged file: streams, ports, connections, order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::ClockMode;
use crate::codec::Codecs;
use crate::ports::Ports;
use crate::registry::Registry;
use crate::units::HumanDuration;

use super::file::Merged;
use super::instance::quoted_in;
use super::load_options::LoadOptions;
use super::node::{self, Draft};
use super::place::Span;
use super::problem::{Problem, Problems};
use super::secrets::Secrets;
use super::settings::{Settings, SettingsError, read};
use super::spec::{
    ClockFile, Graph, InputSpec, NodeSpec, OutputRef, RestartSpec, RunFile, RunSpec, StreamSpec,
    StreamValues,
};
use super::tree::Tree;
use super::wired::Wired;
use super::{check, crossings, interpolate, machines, streams};

/// Builds and checks a graph; reports all problems at once.
pub(crate) fn build(
    merged: Merged,
    registry: &Registry,
    options: &LoadOptions,
    secrets: &Secrets,
) -> Result<Graph, Problems> {
    let mut problems = Problems::default();
    let tree = &merged.tree;
    let streams::Streams {
        listed,
        values,
        provider,
    } = streams::read(tree, registry, &mut problems);
    let run = problems.note(run(tree)).unwrap_or_default();
    let entries = tree.section("nodes");
    if entries.is_empty() {
        problems.push(Problem::at(&tree.span, "the graph has no nodes"));
    }
    let drafts = node::read_nodes(entries, registry, &mut problems);
    let known: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    let mut wired = Vec::new();
    for draft in drafts {
        let streams = (&*listed, &values);
        let read = ports(&draft, streams, registry.codecs(), secrets, &mut problems);
        if let Some((ports, writes)) = read {
            wired.push(Wired {
                inputs: Vec::new(),
                input_spans: Vec::new(),
                draft,
                ports,
                writes,
                on: None,
            });
        }
    }
    connect(&mut wired, &known, &mut problems);
    let Some(mut wired) = in_order(wired, &mut problems) else {
        return Err(problems);
    };
    let machines = machines::read(tree, &mut problems);
    machines::place(
        &mut wired,
        &machines,
        (&*listed, &values),
        provider.is_some(),
        &mut problems,
    );
    let world = check::World {
        machines: &machines,
        streams: &listed,
        provider: provider.as_ref(),
        clock: run.clock,
    };
    check::check(&mut wired, &world, &mut problems);
    let crossings =
        crossings::crossings(&wired, &machines, &listed, registry.codecs(), &mut problems);
    let values = Arc::new(values);
    let nodes = wired.into_iter();
    let nodes = nodes.map(|wired| finished(wired, &values)).collect();
    problems.or_ok(Graph {
        name: merged.name,
        streams: listed,
        provider: provider.map(|(provider, _)| provider),
        nodes,
        run,
        run_dir: options.run_dir.clone(),
        machines: machines.into_iter().map(|(name, _)| name).collect(),
        part_of: None,
        crossings,
        stream_order: Vec::new(),
        kept: Vec::new(),
        given: merged.given,
        resolved: merged.written,
        secrets: secrets.clone(),
    })
}

fn finished(wired: Wired, values: &Arc<StreamValues>) -> NodeSpec {
    let draft = wired.draft;
    NodeSpec {
        name: draft.name,
        actor: draft.actor.name.to_owned(),
        each_stream: draft.each_stream,
        inputs: wired.inputs,
        ports: wired.ports,
        queue: draft.queue,
        lane: draft.lane.map(|(lane, _)| lane),
        replicas: draft.replicas,
        batch: draft.batch,
        on_error: draft.on_error,
        require: draft.require,
        on: wired.on,
        of_streams: None,
        is_inlet: false,
        edge: None,
        settings: draft.settings,
        stream_values: Arc::clone(values),
    }
}

fn run(tree: &Tree) -> Result<RunSpec, Problem> {
    let Some(entry) = tree.get("run").filter(|entry| !entry.value.is_null()) else {
        return Ok(RunSpec::default());
    };
    let file: RunFile = read(&entry.value).map_err(SettingsError::into_problem)?;
    let default = RunSpec::default();
    let clock = match file.clock {
        None | Some(ClockFile::Live) => ClockMode::Live,
        Some(ClockFile::Asap) => ClockMode::Asap,
        Some(ClockFile::Replay(speed)) if speed.is_finite() && speed > 0.0 => {
            ClockMode::Replay(speed)
        }
        Some(ClockFile::Replay(_)) => {
            let clock = entry.value.get("clock");
            let span = clock.map_or(&entry.value.span, |clock| &clock.value.span);
            return Err(Problem::at(
                span,
                "the speed of a replay must be a positive number",
            ));
        }
    };
    let restart = match file.restart {
        None => default.restart,
        Some(file) => RestartSpec {
            most: file.most.unwrap_or(default.restart.most),
            within: file.within.map_or(default.restart.within, |time| time.0),
        },
    };
    let least = restart.least_time();
    if least > restart.within {
        let span = entry.value.get("restart");
        let span = span.map_or(&entry.value.span, |restart| &restart.value.span);
        return Err(Problem::at(
            span,
            format!(
                "{} restarts take {} including the delays between them, so they cannot happen within {}, and no node would ever be given up",
                restart.most,
                HumanDuration(least),
                HumanDuration(restart.within)
            ),
        )
        .help("set a longer `within` or a smaller `most`"));
    }
    Ok(RunSpec {
        clock,
        drain: file.drain.map_or(default.drain, |time| time.0),
        restart,
        call_deadline: file
            .call_deadline
            .map_or(default.call_deadline, |time| time.0),
    })
}

/// Reads a node's settings for every known stream and returns the actor's ports for them.
fn ports(
    draft: &Draft,
    (streams, values): (&[StreamSpec], &StreamValues),
    codecs: &Codecs,
    secrets: &Secrets,
    problems: &mut Problems,
) -> Option<(Ports, Vec<Vec<PathBuf>>)> {
    // A graph whose streams come later is checked with a placeholder.
    let made_up = [StreamSpec {
        name: "stream".to_owned(),
        uri: "stream".to_owned(),
    }];
    let instances: Vec<Option<&StreamSpec>> = if !draft.each_stream {
        vec![None]
    } else if streams.is_empty() {
        made_up.iter().map(Some).collect()
    } else {
        streams.iter().map(Some).collect()
    };
    let mut first = None;
    let mut writes = Vec::new();
    for stream in instances {
        let settings = match interpolate::stream_values(&draft.settings, stream, values) {
            Ok(settings) => {
                secrets.learn(&settings);
                Settings(Arc::new(settings))
            }
            Err(found) => {
                problems.extend(found);
                return None;
            }
        };
        let mut ports = problems.note(
            draft
                .actor
                .ports(&settings)
                .map_err(SettingsError::into_problem),
        )?;
        name_payloads(&mut ports, &settings, codecs, problems)?;
        writes.push(ports.writes.clone());
        first.get_or_insert(ports);
    }
    first.map(|ports| (ports, writes))
}

/// Resolves the types of outputs that are given by the names of their codecs.
fn name_payloads(
    ports: &mut Ports,
    settings: &Settings,
    codecs: &Codecs,
    problems: &mut Problems,
) -> Option<()> {
    for (output, name) in &ports.named_payloads {
        let Some(carries) = codecs.port_type(name) else {
            let place = quoted_in(&settings.0, name);
            let problem = Problem::at(
                &place.unwrap_or(&settings.0).span,
                format!("there is no codec for payloads called `{name}`"),
            );
            problems.push(problem.did_you_mean(name, codecs.names()));
            return None;
        };
        ports.outputs[*output].carries = carries;
    }
    Some(())
}

/// Resolves the outputs that the inputs refer to.
fn connect(wired: &mut [Wired], known: &[&str], problems: &mut Problems) {
    let by_name: HashMap<String, usize> = wired
        .iter()
        .enumerate()
        .map(|(index, wired)| (wired.draft.name.clone(), index))
        .collect();
    let outputs: Vec<Vec<String>> = wired
        .iter()
        .map(|wired| {
            let outputs = wired.ports.outputs.iter();
            outputs.map(|port| port.name.clone()).collect()
        })
        .collect();
    for wired in wired.iter_mut() {
        let mut by_port: BTreeMap<usize, (Vec<OutputRef>, Span)> = BTreeMap::new();
        for input in &wired.draft.inputs {
            let Some(port) = problems.note(port_index(&wired.draft, &wired.ports, &input.port))
            else {
                continue;
            };
            for (reference, span) in &input.from {
                let from = output(reference, span, &by_name, &outputs, known);
                // None if the node could not be read, which has been reported.
                if let Some(Some(from)) = problems.note(from) {
                    let (all, _) = by_port.entry(port).or_insert((Vec::new(), span.clone()));
                    if all.contains(&from) {
                        problems.push(Problem::at(
                            span,
                            format!("`{reference}` feeds this input twice"),
                        ));
                    } else {
                        all.push(from);
                    }
                }
            }
        }
        let resolved: usize = by_port.values().map(|(from, _)| from.len()).sum();
        let written: usize = wired
            .draft
            .inputs
            .iter()
            .map(|input| input.from.len())
            .sum();
        // References that are wrong have been reported already.
        if resolved == written {
            missing_inputs(wired, &by_port, problems);
        }
        wired.inputs = by_port
            .iter()
            .map(|(&port, (from, _))| InputSpec {
                port,
                from: from.clone(),
            })
            .collect();
        wired.input_spans = by_port.into_values().map(|(_, span)| span).collect();
    }
}

fn port_index(
    draft: &Draft,
    ports: &Ports,
    port: &Option<(String, Span)>,
) -> Result<usize, Problem> {
    let names = || ports.inputs.iter().map(|port| port.name.as_str());
    match port {
        Some((name, span)) => names().position(|known| known == name).ok_or_else(|| {
            let message = format!("`{}` has no input `{name}`", draft.actor.name);
            Problem::at(span, message).did_you_mean(name, names())
        }),
        None if ports.inputs.len() > 1 => {
            let place = draft.inputs.iter().flat_map(|input| &input.from).next();
            let span = place.map_or(&draft.name_span, |(_, span)| span);
            let names: Vec<&str> = names().collect();
            Err(Problem::at(
                span,
                format!("`{}` has several inputs: name them", draft.actor.name),
            )
            .help(format!("`in: {{{}: …}}`", names.join(": …, "))))
        }
        None => Ok(0),
    }
}

/// Returns the output that a reference names; none if its node could not be read.
fn output(
    reference: &str,
    span: &Span,
    by_name: &HashMap<String, usize>,
    outputs: &[Vec<String>],
    known: &[&str],
) -> Result<Option<OutputRef>, Problem> {
    let (node, port) = match reference.split_once('.') {
        Some((node, port)) => (node, Some(port)),
        None => (reference, None),
    };
    let Some(&index) = by_name.get(node) else {
        if known.contains(&node) {
            return Ok(None);
        }
        return Err(Problem::at(span, format!("there is no node `{node}`"))
            .did_you_mean(node, known.iter().copied()));
    };
    let names = &outputs[index];
    let output = match port {
        _ if names.is_empty() => {
            return Err(Problem::at(
                span,
                format!("`{node}` is a sink: it has no output to take packets from"),
            ));
        }
        Some(port) => names.iter().position(|name| name == port).ok_or_else(|| {
            Problem::at(span, format!("`{node}` has no output `{port}`"))
                .did_you_mean(port, names.iter().map(String::as_str))
        })?,
        None if names.len() > 1 => {
            return Err(
                Problem::at(span, format!("`{node}` has several outputs: name one")).help(format!(
                    "one of {node}.{}",
                    names.join(&format!(", {node}."))
                )),
            );
        }
        None => 0,
    };
    Ok(Some(OutputRef {
        node: index,
        output,
    }))
}

fn missing_inputs(
    wired: &Wired,
    by_port: &BTreeMap<usize, (Vec<OutputRef>, Span)>,
    problems: &mut Problems,
) {
    let draft = &wired.draft;
    let inputs = wired.ports.inputs.iter().enumerate();
    for (_, port) in inputs.filter(|(index, _)| !by_port.contains_key(index)) {
        problems.push(
            Problem::at(
                &draft.name_span,
                format!(
                    "nothing feeds the input `{}` of `{}`",
                    port.name, draft.name
                ),
            )
            .help(match wired.ports.inputs.len() {
                1 => "add `in: NODE`".to_owned(),
                _ => format!("add `{}: NODE` to `in`", port.name),
            }),
        );
    }
}

/// Sorts the nodes topologically; reports a cycle.
fn in_order(wired: Vec<Wired>, problems: &mut Problems) -> Option<Vec<Wired>> {
    let feeders: Vec<Vec<usize>> = wired
        .iter()
        .map(|wired| {
            let inputs = wired.inputs.iter();
            inputs
                .flat_map(|input| input.from.iter().map(|from| from.node))
                .collect()
        })
        .collect();
    let mut fed = vec![Vec::new(); wired.len()];
    let mut open: Vec<usize> = feeders.iter().map(Vec::len).collect();
    for (index, feeders) in feeders.iter().enumerate() {
        for &from in feeders {
            fed[from].push(index);
        }
    }
    // Among the nodes that are ready, the first in the file comes first.
    let nodes = 0..wired.len();
    let mut ready: BTreeSet<usize> = nodes.filter(|&index| open[index] == 0).collect();
    let mut order: Vec<usize> = Vec::new();
    let mut placed = vec![false; wired.len()];
    while let Some(next) = ready.pop_first() {
        placed[next] = true;
        order.push(next);
        for &index in &fed[next] {
            open[index] -= 1;
            if open[index] == 0 {
                ready.insert(index);
            }
        }
    }
    if order.len() < wired.len() {
        problems.push(cycle(&wired, &feeders, &placed));
        return None;
    }
    let mut place = vec![0; wired.len()];
    for (new, &old) in order.iter().enumerate() {
        place[old] = new;
    }
    let mut slots: Vec<Option<Wired>> = wired.into_iter().map(Some).collect();
    let sorted = order.iter().filter_map(|&old| slots[old].take());
    let sorted = sorted.map(|mut wired| {
        for input in &mut wired.inputs {
            for from in &mut input.from {
                from.node = place[from.node];
            }
        }
        wired
    });
    Some(sorted.collect())
}

/// Names the nodes of a cycle: walking against the edges from any node that could not be placed leads into one.
fn cycle(wired: &[Wired], feeders: &[Vec<usize>], placed: &[bool]) -> Problem {
    let mut path = vec![(0..wired.len()).find(|&index| !placed[index]).unwrap_or(0)];
    loop {
        let here = path[path.len() - 1];
        let before = feeders[here].iter().copied().find(|&from| !placed[from]);
        let before = before.unwrap_or(here);
        if let Some(at) = path.iter().position(|&node| node == before) {
            let mut names: Vec<&str> = path[at..]
                .iter()
                .rev()
                .map(|&node| wired[node].draft.name.as_str())
                .collect();
            names.push(names[0]);
            let node = &wired[path[path.len() - 1]];
            let span = node.input_spans.first().unwrap_or(&node.draft.name_span);
            return Problem::at(
                span,
                format!(
                    "the nodes feed each other in a circle: {}",
                    names.join(" → ")
                ),
            );
        }
        path.push(before);
    }
}
