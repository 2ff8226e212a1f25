//! What can be wrong with a graph whose nodes are right each by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::actor::PortType;
use crate::clock::ClockMode;

use super::build::{Wired, carried};
use super::problem::{Problem, Problems};
use super::spec::{Require, RunSpec, StreamSpec, WhenFull};

/// Checks the connected nodes, and sizes the queues that must hold what a batch beside them holds back.
pub(crate) fn check(
    wired: &mut [Wired],
    streams: &[StreamSpec],
    run: &RunSpec,
    problems: &mut Problems,
) {
    types(wired, problems);
    placement(wired, problems);
    merges(wired, problems);
    joins(wired, problems);
    lanes(wired, problems);
    writers(wired, streams, problems);
    if run.clock == ClockMode::Asap {
        for node in wired.iter_mut() {
            // Whatever a policy would lose depends on timing.
            node.draft.queue.full = WhenFull::Block;
            node.draft.queue.max_age = None;
        }
        diamonds(wired, problems);
    }
}

fn types(wired: &[Wired], problems: &mut Problems) {
    for node in wired {
        for (input, span) in node.inputs.iter().zip(&node.input_spans) {
            let PortType::Of { id, name } = node.ports.inputs[input.port].carries else {
                continue;
            };
            for &from in &input.from {
                let PortType::Of {
                    id: from_id,
                    name: from_name,
                } = carried(wired, from)
                else {
                    continue;
                };
                if id != from_id {
                    problems.push(Problem::at(
                        span,
                        format!(
                            "`{}` takes {name}, but `{}` gives {from_name}",
                            node.draft.name, wired[from.node].draft.name
                        ),
                    ));
                }
            }
        }
        if let (Require::Ports(names), Some(span)) = (&node.draft.require, &node.draft.require_span)
        {
            let known: Vec<&str> = node
                .ports
                .inputs
                .iter()
                .map(|port| port.name.as_str())
                .collect();
            for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
                problems.push(
                    Problem::at(span, format!("`{}` has no input `{name}`", node.draft.name))
                        .did_you_mean(name, known.iter().copied()),
                );
            }
        }
    }
}

/// Whether each node may stand where it stands: per stream or shared, alone or with replicas.
fn placement(wired: &[Wired], problems: &mut Problems) {
    let mut source_of_streams: Option<&Wired> = None;
    for node in wired {
        let draft = &node.draft;
        if node.ports.per_stream && !draft.each_stream {
            problems.push(
                Problem::at(
                    &draft.name_span,
                    format!(
                        "`{}` keeps what it knows of one stream, so every stream needs its own",
                        draft.actor.name
                    ),
                )
                .help("add `each: stream`"),
            );
        }
        if draft.replicas > 1 && !node.ports.stateless {
            problems.push(Problem::at(
                draft.replicas_span.as_ref().unwrap_or(&draft.name_span),
                format!(
                    "`{}` keeps state between packets, so it cannot have replicas",
                    draft.actor.name
                ),
            ));
        }
        if draft.actor.source && draft.each_stream {
            match source_of_streams {
                Some(other) => problems.push(Problem::at(
                    &draft.name_span,
                    format!(
                        "a stream comes from one source, but `{}` and `{}` are both `each: stream`",
                        other.draft.name, draft.name
                    ),
                )),
                None => source_of_streams = Some(node),
            }
        }
    }
}

/// By node: the sources whose streams reach it. All streams of an `each: stream` source count as one.
fn origins(wired: &[Wired]) -> Vec<BTreeSet<usize>> {
    let mut origins: Vec<BTreeSet<usize>> = Vec::with_capacity(wired.len());
    for (index, node) in wired.iter().enumerate() {
        let fed = node.inputs.iter().flat_map(|input| &input.from);
        let mut from: BTreeSet<usize> = fed.flat_map(|from| origins[from.node].clone()).collect();
        if node.draft.actor.source {
            from.insert(index);
        }
        origins.push(from);
    }
    origins
}

/// An input may be fed by several outputs only if they carry different streams: otherwise a packet would come twice.
fn merges(wired: &[Wired], problems: &mut Problems) {
    let origins = origins(wired);
    for node in wired {
        for (input, span) in node.inputs.iter().zip(&node.input_spans) {
            let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
            for from in &input.from {
                for &origin in &origins[from.node] {
                    let Some(other) = seen.insert(origin, from.node) else {
                        continue;
                    };
                    problems.push(
                        Problem::at(
                            span,
                            format!(
                                "`{}` and `{}` carry the same streams, so `{}` would get every packet twice",
                                wired[other].draft.name,
                                wired[from.node].draft.name,
                                node.draft.name
                            ),
                        )
                        .help("outputs that meet again are joined: use an actor with an input for each"),
                    );
                }
            }
        }
    }
}

/// A stream that reaches a join on some input, but never on one that the join requires, would be lost there as a whole.
fn joins(wired: &[Wired], problems: &mut Problems) {
    let origins = origins(wired);
    for node in wired.iter().filter(|node| node.inputs.len() > 1) {
        let reaching = |port: usize| -> BTreeSet<usize> {
            let input = node.inputs.iter().find(|input| input.port == port);
            let fed = input.into_iter().flat_map(|input| &input.from);
            fed.flat_map(|from| &origins[from.node]).copied().collect()
        };
        let all: BTreeSet<usize> = (0..node.ports.inputs.len()).flat_map(reaching).collect();
        for (port, input) in node.ports.inputs.iter().enumerate() {
            let is_required = match &node.draft.require {
                Require::All => true,
                Require::Ports(names) => names.contains(&input.name),
            };
            let reached = reaching(port);
            if let (true, Some(&lost)) = (is_required, all.difference(&reached).next()) {
                let span = node.draft.require_span.as_ref();
                let problem = Problem::at(
                    span.unwrap_or(&node.draft.name_span),
                    format!(
                        "the packets of `{}` reach `{}`, but never its input `{}`, which it requires: all of them would be unmatched",
                        wired[lost].draft.name, node.draft.name, input.name
                    ),
                );
                problems.push(problem.help("feed that input too, or leave it out of `require`"));
            }
        }
    }
}

fn lanes(wired: &[Wired], problems: &mut Problems) {
    let mut first: BTreeMap<&str, &Wired> = BTreeMap::new();
    for node in wired {
        let draft = &node.draft;
        let Some((lane, span)) = &draft.lane else {
            continue;
        };
        let head = first.entry(lane).or_insert(node);
        if head.draft.each_stream != draft.each_stream {
            problems.push(
                Problem::at(
                    span,
                    format!(
                        "lane `{lane}` holds `{}` and `{}`, of which one is `each: stream` and the other is shared",
                        head.draft.name, draft.name
                    ),
                )
                .help("a lane is one thread for each stream, or one thread for all"),
            );
        }
        if draft.replicas > 1 {
            problems.push(Problem::at(
                draft.replicas_span.as_ref().unwrap_or(span),
                "replicas have threads of their own, so they cannot stand in a lane",
            ));
        }
        let in_lane = |from: usize| {
            let other = &wired[from].draft;
            let same = other.lane.as_ref().is_some_and(|(name, _)| name == lane);
            same && other.each_stream == draft.each_stream
        };
        let feeders: Vec<usize> = node
            .inputs
            .iter()
            .flat_map(|input| input.from.iter().map(|from| from.node))
            .collect();
        let inside = feeders.iter().filter(|&&from| in_lane(from)).count();
        if let (true, Some(span)) = (inside > 0 && inside == feeders.len(), &draft.queue_span) {
            problems.push(Problem::at(
                span,
                format!("inside lane `{lane}` packets are handed over without a queue"),
            ));
        }
        if inside > 0 && inside < feeders.len() && node.ports.inputs.len() > 1 {
            problems.push(Problem::at(
                &draft.name_span,
                format!(
                    "the join `{}` has inputs from inside and from outside lane `{lane}`; give it a lane of its own",
                    draft.name
                ),
            ));
        }
    }
}

/// Two instances that write one path would destroy each other's file.
fn writers(wired: &[Wired], streams: &[StreamSpec], problems: &mut Problems) {
    let mut writers: BTreeMap<PathBuf, (&Wired, String)> = BTreeMap::new();
    let read: BTreeSet<PathBuf> = streams
        .iter()
        .map(|stream| plain(Path::new(&stream.uri)))
        .collect();
    for node in wired {
        for (index, paths) in node.writes.iter().enumerate() {
            let instance = match streams.get(index) {
                Some(stream) if node.draft.each_stream => {
                    format!("{}@{}", node.draft.name, stream.name)
                }
                _ => node.draft.name.clone(),
            };
            for path in paths {
                let key = plain(path);
                let span = place_of(node, path);
                if read.contains(&key) {
                    problems.push(Problem::at(
                        &span,
                        format!(
                            "`{instance}` would write over {}, which a stream reads",
                            path.display()
                        ),
                    ));
                }
                if let Some((other, other_instance)) = writers.get(&key) {
                    let problem = Problem::at(
                        &span,
                        format!(
                            "`{other_instance}` and `{instance}` both write {}",
                            path.display()
                        ),
                    )
                    .also(&place_of(other, path), "the other one");
                    problems.push(if std::ptr::eq(*other, node) {
                        problem.help("put `${stream.name}` into the path")
                    } else {
                        problem
                    });
                    continue;
                }
                writers.insert(key, (node, instance.clone()));
            }
        }
    }
}

/// Where the file names a path: the setting that ends like it, or the node.
fn place_of(node: &Wired, path: &Path) -> super::tree::Span {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let settings = node.draft.settings.as_map().unwrap_or_default();
    settings
        .iter()
        .find(|entry| {
            let text = entry.value.as_text();
            text.is_some_and(|text| text.ends_with(&*name) || text.contains("${stream."))
        })
        .map_or_else(
            || node.draft.name_span.clone(),
            |entry| entry.value.span.clone(),
        )
}

/// An absolute path without `.` and `..`, as far as that can be said without looking at the disk.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            component => plain.push(component),
        }
    }
    plain
}

/// Under `asap` a batch is closed by count alone. Where two ways between the same nodes meet again in a join, the way
/// beside a batch must be able to hold as many packets as the batch holds back, or both would wait for each other.
fn diamonds(wired: &mut [Wired], problems: &mut Problems) {
    let held = held_back(wired);
    for node in wired.iter_mut().filter(|node| node.ports.inputs.len() > 1) {
        // What is merged into one input is of different sources.
        let ways: Vec<BTreeMap<usize, usize>> = node
            .inputs
            .iter()
            .map(|input| {
                let merged = input.from.iter().flat_map(|from| &held[from.node]);
                merged.map(|(&source, &held)| (source, held)).collect()
            })
            .collect();
        let meets = |source: &usize| ways.iter().filter(|way| way.contains_key(source)).count() > 1;
        let needed = ways
            .iter()
            .flat_map(|way| way.iter())
            .filter(|(source, _)| meets(source))
            .map(|(_, &held)| held)
            .max()
            .unwrap_or(0);
        let draft = &mut node.draft;
        if needed > 1 && draft.queue.bytes.is_some() {
            problems.push(
                Problem::at(
                    draft.queue_span.as_ref().unwrap_or(&draft.name_span),
                    format!(
                        "the ways into the join `{}` could block each other: one holds back up to {needed} packets in a batch, and whether the queue of the other takes as many depends on their bytes",
                        draft.name
                    ),
                )
                .help(format!("give `{}` a queue capacity instead of `bytes`", draft.name)),
            );
        }
        if needed <= draft.queue.capacity {
            continue;
        }
        if draft.sized {
            problems.push(
                Problem::at(
                    draft.queue_span.as_ref().unwrap_or(&draft.name_span),
                    format!(
                        "the ways into the join `{}` would block each other: one holds back up to {needed} packets in a batch, and the queue of the other takes {}",
                        draft.name, draft.queue.capacity
                    ),
                )
                .help(format!("give `{}` a queue capacity of at least {needed}", draft.name)),
            );
        } else {
            draft.queue.capacity = needed;
        }
    }
}

/// By node, by source: the most packets that the batches on a way from the source to the node (inclusive) hold back.
fn held_back(wired: &[Wired]) -> Vec<BTreeMap<usize, usize>> {
    let mut held: Vec<BTreeMap<usize, usize>> = Vec::with_capacity(wired.len());
    for (index, node) in wired.iter().enumerate() {
        let own = node.draft.batch.as_ref().map_or(0, |batch| batch.max);
        let mut here = BTreeMap::new();
        if node.draft.actor.source {
            here.insert(index, 0);
        }
        for from in node.inputs.iter().flat_map(|input| &input.from) {
            for (&source, &before) in &held[from.node] {
                let most = here.entry(source).or_insert(0);
                *most = (*most).max(before + own);
            }
        }
        held.push(here);
    }
    held
}
