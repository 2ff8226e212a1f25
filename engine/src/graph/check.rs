//! Checks of a graph as a whole, once each node is valid by itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::ClockMode;

use super::place::Span;
use super::problem::{Problem, Problems};
use super::sizes;
use super::spec::{ProviderSpec, Require, StreamSpec, WhenFull};
use super::types::types;
use super::wired::{Wired, origins};
use super::writes::{Writer, Writers};

/// The content of the file besides its nodes.
pub(crate) struct World<'a> {
    pub(crate) streams: &'a [StreamSpec],
    /// Provider, and the place of its name.
    pub(crate) provider: Option<&'a (ProviderSpec, Span)>,
    pub(crate) clock: ClockMode,
    /// Machines, with the places of their names.
    pub(crate) machines: &'a [(String, Span)],
}

/// Checks the connected nodes, and sizes queues that must hold as much as a batch beside them holds back.
pub(crate) fn check(wired: &mut [Wired], world: &World<'_>, problems: &mut Problems) {
    if !few_ports(wired, problems) {
        return;
    }
    types(wired, problems);
    placement(wired, problems);
    if let Some((provider, span)) = world.provider {
        units(wired, provider, span, problems);
    }
    merges(wired, problems);
    joins(wired, problems);
    lanes(wired, problems);
    writers(wired, world, problems);
    if world.clock == ClockMode::Asap {
        for node in wired.iter_mut() {
            // What a lossy policy drops depends on timing.
            node.draft.queue.full = WhenFull::Block;
            node.draft.queue.max_age = None;
        }
        sizes::joins(wired, problems);
        sizes::turns(wired, world.provider.is_some(), problems);
    }
}

/// Checks that no actor has more ports than a word has bits, since sets of ports are words.
fn few_ports(wired: &[Wired], problems: &mut Problems) -> bool {
    const MOST: usize = u64::BITS as usize;
    let before = problems.len();
    for Wired { draft, ports, .. } in wired {
        for (count, kind) in [
            (ports.inputs.len(), "inputs"),
            (ports.outputs.len(), "outputs"),
        ] {
            if count > MOST {
                let message = format!(
                    "`{}` has {count} {kind}, but at most {MOST} are allowed",
                    draft.name
                );
                problems.push(Problem::at(&draft.name_span, message));
            }
        }
    }
    problems.len() == before
}

/// Checks whether each node's placement is allowed: per stream or shared, with or without replicas.
fn placement(wired: &[Wired], problems: &mut Problems) {
    let mut source_of_streams: Option<&Wired> = None;
    for node in wired {
        let draft = &node.draft;
        if node.ports.per_stream && !draft.each_stream {
            problems.push(
                Problem::at(
                    &draft.name_span,
                    format!(
                        "`{}` keeps state of one stream, so every stream needs its own instance",
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
        if draft.replicas > 1 && node.ports.open_calls > 0 {
            problems.push(Problem::at(
                draft.replicas_span.as_ref().unwrap_or(&draft.name_span),
                format!(
                    "`{}` finishes calls later, up to {} at a time, so it has no use for replicas",
                    draft.actor.name, node.ports.open_calls
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

/// Checks graphs whose streams are units of work: results for one must not depend on others, since a unit may be
/// replayed.
fn units(wired: &[Wired], provider: &ProviderSpec, span: &Span, problems: &mut Problems) {
    let of_streams = |node: &Wired| node.draft.actor.source && node.draft.each_stream;
    if !wired.iter().any(of_streams) {
        let message = format!(
            "`{}` provides streams, but no source of the graph reads them",
            provider.name
        );
        problems.push(Problem::at(span, message).help("add `each: stream` to a source"));
    }
    for node in wired.iter().filter(|node| !node.draft.each_stream) {
        let draft = &node.draft;
        let kept_apart = node.ports.stateless || node.ports.streams_apart;
        if !draft.actor.source && !kept_apart {
            problems.push(
                Problem::at(
                    &draft.name_span,
                    format!(
                        "`{}` keeps state across streams, but each stream that `{}` provides is a unit of work by itself",
                        draft.actor.name, provider.name
                    ),
                )
                .help("add `each: stream`"),
            );
        }
        if draft.batch.as_ref().is_some_and(|batch| !batch.each_stream) {
            problems.push(
                Problem::at(
                    draft.batch_span.as_ref().unwrap_or(&draft.name_span),
                    format!(
                        "a batch of `{}` would mix streams, but each stream that `{}` provides is a unit of work by itself",
                        draft.name, provider.name
                    ),
                )
                .help("add `each: stream` to the batch"),
            );
        }
    }
}

/// Checks that outputs which feed one input carry different streams; otherwise a packet would arrive twice.
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
                        .help("join them instead: use an actor with an input for each"),
                    );
                }
            }
        }
    }
}

/// Checks that every stream that reaches a join reaches all its required inputs; otherwise the whole stream would be
/// unmatched.
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
        if head.on != node.on {
            let message = format!(
                "lane `{lane}` holds `{}` and `{}`, which run on different machines",
                head.draft.name, draft.name
            );
            problems.push(Problem::at(span, message).help("a lane is one thread"));
        }
        if draft.replicas > 1 {
            problems.push(Problem::at(
                draft.replicas_span.as_ref().unwrap_or(span),
                "replicas have threads of their own, so they cannot share a lane",
            ));
        }
    }
}

/// Checks that no two instances on one machine write the same path, which would destroy the file.
fn writers(wired: &[Wired], world: &World<'_>, problems: &mut Problems) {
    if world.machines.is_empty() {
        return writers_on(None, wired, world.streams, problems);
    }
    for (machine, _) in world.machines {
        writers_on(Some(machine), wired, world.streams, problems);
    }
}

fn writers_on(
    machine: Option<&str>,
    wired: &[Wired],
    streams: &[StreamSpec],
    problems: &mut Problems,
) {
    let mut writers = Writers::default();
    for stream in streams {
        writers.keep(stream);
    }
    for node in wired {
        for (index, paths) in node.writes.iter().enumerate() {
            let stream = streams.get(index).filter(|_| node.draft.each_stream);
            let name = stream.map(|stream| stream.name.as_str());
            let is_here = match (machine, &node.on) {
                (Some(machine), Some(on)) => on.of(name.unwrap_or_default()) == Some(machine),
                _ => true,
            };
            let writer = Writer {
                node: &node.draft.name,
                stream: name,
                settings: &node.draft.settings,
            };
            if is_here {
                writers.add(writer, paths, problems);
            }
        }
    }
}
