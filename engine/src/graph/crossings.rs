//! Edges from one machine of a site to another: which exist, what they carry, and which are impossible.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::codec::Codecs;

use super::place::Span;
use super::problem::{Problem, Problems, listed};
use super::spec::{Crossing, OutputRef, Placement, QueueSpec, StreamSpec, WhenFull};
use super::types::{Carried, carried};
use super::wired::{Wired, origins};

/// One stream on an edge of the graph, between its instances on two machines.
struct Way<'a> {
    from: OutputRef,
    to: usize,
    span: &'a Span,
    stream: &'a str,
    there: &'a str,
    here: &'a str,
}

/// Finds the edges between machines. Each node must come after the nodes that feed it.
pub(crate) fn crossings(
    wired: &[Wired],
    machines: &[(String, Span)],
    streams: &[StreamSpec],
    codecs: &Codecs,
    problems: &mut Problems,
) -> Vec<Crossing> {
    if machines.is_empty() {
        qualities(wired, &[], problems);
        return Vec::new();
    }
    if wired.iter().any(|node| node.on.is_none()) {
        return Vec::new();
    }
    // A graph whose streams come later is checked with a placeholder.
    let made_up = [StreamSpec {
        name: "stream".to_owned(),
        uri: "stream".to_owned(),
    }];
    let streams = if streams.is_empty() {
        &made_up
    } else {
        streams
    };
    let reaching = reaching(wired, streams);
    let ways = ways(wired, &reaching, problems);
    together(wired, &reaching, &ways, problems);
    let crossing: Vec<&Way> = ways.iter().filter(|way| way.there != way.here).collect();
    once(wired, &reaching, &crossing, problems);
    qualities(wired, &crossing, problems);
    let mut found: BTreeMap<(OutputRef, &str), Vec<&Way>> = BTreeMap::new();
    for &way in &crossing {
        found.entry((way.from, way.here)).or_default().push(way);
    }
    let carried = carried(wired);
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut crossings = Vec::new();
    for ((from, machine), ways) in found {
        let name = format!("{}-{machine}", wired[from.node].draft.name);
        let is_taken = wired.iter().any(|other| other.draft.name == name);
        if is_taken || name.len() > MOST_NAME || !names.insert(name.clone()) {
            problems.push(misnamed(wired, ways[0], &name));
        }
        let form = form(&carried[from.node][from.output], codecs);
        let form = form.map_err(|what| uncarried(wired, ways[0], &what));
        if let Some(carries) = problems.note(form) {
            crossings.push(crossing_of(wired, &ways, name, carries));
        }
    }
    crossings
}

/// Returns the edge that streams use together, of at least one.
fn crossing_of(
    wired: &[Wired],
    ways: &[&Way<'_>],
    name: String,
    carries: &'static str,
) -> Crossing {
    let first = ways[0];
    let consumers: BTreeSet<usize> = ways.iter().map(|way| way.to).collect();
    let queues: Vec<&QueueSpec> = consumers
        .iter()
        .map(|&consumer| &wired[consumer].draft.queue)
        .collect();
    let mut queue = queue(&queues);
    if queue.full == WhenFull::Block {
        let held = held_behind(wired, &consumers, first.here);
        queue.capacity = queue.capacity.max(held);
    }
    Crossing {
        from: first.from,
        to: first.here.to_owned(),
        name,
        carries,
        streams: ways
            .iter()
            .map(|way| (way.stream.to_owned(), way.there.to_owned()))
            .collect(),
        queue,
        consumers,
    }
}

/// Maximum length of an edge's name.
const MOST_NAME: usize = 64;

/// Returns, by node, the streams that reach it, in the order in which the run lists them.
fn reaching<'a>(wired: &'a [Wired], streams: &'a [StreamSpec]) -> Vec<Vec<&'a str>> {
    let origins = origins(wired);
    let of = |source: &usize| {
        let draft = &wired[*source].draft;
        if draft.each_stream {
            streams.iter().map(|stream| stream.name.as_str()).collect()
        } else {
            vec![draft.name.as_str()]
        }
    };
    let shared_first = |source: &usize| (wired[*source].draft.each_stream, *source);
    origins
        .into_iter()
        .map(|origins| {
            let mut origins: Vec<usize> = origins.into_iter().collect();
            origins.sort_by_key(shared_first);
            origins.iter().flat_map(of).collect()
        })
        .collect()
}

/// Returns every edge, once per stream that uses it.
fn ways<'a>(
    wired: &'a [Wired],
    reaching: &[Vec<&'a str>],
    problems: &mut Problems,
) -> Vec<Way<'a>> {
    let mut ways = Vec::new();
    let mut told = BTreeSet::new();
    for (to, node) in wired.iter().enumerate() {
        for (input, span) in node.inputs.iter().zip(&node.input_spans) {
            for &from in &input.from {
                for &stream in &reaching[from.node] {
                    let there = on(&wired[from.node], stream);
                    let here = on(node, stream);
                    let (Some(there), Some(here)) = (there, here) else {
                        if here.is_none() && told.insert((to, stream)) {
                            problems.push(unplaced(node, stream));
                        }
                        continue;
                    };
                    ways.push(Way {
                        from,
                        to,
                        span,
                        stream,
                        there,
                        here,
                    });
                }
            }
        }
    }
    ways
}

fn on<'a>(node: &'a Wired, stream: &str) -> Option<&'a str> {
    node.on.as_ref().and_then(|on: &Placement| on.of(stream))
}

fn unplaced(node: &Wired, stream: &str) -> Problem {
    let draft = &node.draft;
    let span = draft.on.as_ref().map_or(&draft.name_span, |on| &on.span);
    let message = format!(
        "the stream `{stream}` reaches `{}`, which runs on the machine that each stream names, but this one names none",
        draft.name
    );
    Problem::at(span, message).help("name one machine")
}

/// Checks that streams that meet at an output, on its node's machine or on one that they travel to, continue together:
/// all streams of a part have the same nodes.
fn together(wired: &[Wired], reaching: &[Vec<&str>], ways: &[Way<'_>], problems: &mut Problems) {
    let mut told = BTreeSet::new();
    for way in ways {
        let from = &wired[way.from.node];
        let begin = reaching[way.from.node].iter().copied();
        let begin = begin.filter(|stream| on(from, stream) == Some(way.there));
        let arrive = ways.iter().filter(|other| {
            way.there != way.here
                && other.there != other.here
                && (other.from, other.here) == (way.from, way.here)
        });
        let meeting = begin.chain(arrive.map(|other| other.stream));
        for other in meeting {
            let is_apart = on(&wired[way.to], other) != Some(way.here);
            if is_apart && told.insert((way.from.node, way.to)) {
                let message = format!(
                    "`{}` gives the streams `{}` and `{other}` to `{}` together, but there they would run on different machines",
                    from.draft.name, way.stream, wired[way.to].draft.name
                );
                let problem = Problem::at(way.span, message);
                problems.push(problem.help("streams that have met stay together"));
            }
        }
    }
}

/// Checks that a stream arrives at a machine in one place: its source, or one edge.
fn once(wired: &[Wired], reaching: &[Vec<&str>], crossing: &[&Way<'_>], problems: &mut Problems) {
    let mut places: BTreeMap<(&str, &str), BTreeSet<usize>> = BTreeMap::new();
    for (index, node) in wired.iter().enumerate() {
        if node.draft.actor.source {
            for &stream in &reaching[index] {
                if let Some(machine) = on(node, stream) {
                    let known = places.entry((machine, stream)).or_default();
                    known.insert(index);
                }
            }
        }
    }
    let mut outputs: BTreeMap<(&str, &str, usize), usize> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for way in crossing {
        let place = (way.here, way.stream);
        let known = places.entry(place).or_default();
        known.insert(way.from.node);
        let first = outputs.entry((way.here, way.stream, way.from.node));
        let is_other_output = *first.or_insert(way.from.output) != way.from.output;
        if (known.len() > 1 || is_other_output) && told.insert(way.from.node) {
            let names = known.iter().map(|&node| wired[node].draft.name.as_str());
            let names: Vec<&str> = names.collect();
            let message = format!(
                "the stream `{}` would come to machine `{}` in several places: from {}",
                way.stream,
                way.here,
                names.join(", ")
            );
            let problem = Problem::at(way.span, message);
            problems.push(problem.help(
                "a stream comes to a machine once: let the nodes there take from one output, whose packets carry what the earlier ones found",
            ));
        }
    }
}

/// Refuses `quality` where nothing travels between machines.
fn qualities(wired: &[Wired], crossing: &[&Way<'_>], problems: &mut Problems) {
    for (index, node) in wired.iter().enumerate() {
        let is_fed_from_elsewhere = crossing.iter().any(|way| way.to == index);
        if node.draft.queue.quality.is_some() && !is_fed_from_elsewhere {
            problems.push(unused_quality(node));
        }
    }
}

/// Creates the problem of a `quality` where nothing comes from another machine.
fn unused_quality(node: &Wired) -> Problem {
    let draft = &node.draft;
    let span = draft.queue_span.as_ref().unwrap_or(&draft.name_span);
    let message = format!(
        "`quality` applies to pictures from another machine, but what feeds `{}` is on the same one",
        draft.name
    );
    Problem::at(span, message).help("leave it out")
}

/// Returns the codec for what an output carries, or why there is none.
fn form(carried: &[Carried], codecs: &Codecs) -> Result<&'static str, String> {
    match carried {
        [one] => codecs.name_of(one.id).ok_or_else(|| {
            let names: Vec<&str> = codecs.names().collect();
            format!(
                "{}, which has no codec; known: {}",
                one.name,
                listed(&names)
            )
        }),
        several => {
            let names: Vec<&str> = several.iter().map(|carried| carried.name).collect();
            Err(format!("of several kinds ({})", listed(&names)))
        }
    }
}

fn misnamed(wired: &[Wired], way: &Way<'_>, name: &str) -> Problem {
    let message = format!(
        "the edge from `{}` to machine `{}` would be called `{name}`, which is taken or longer than {MOST_NAME} characters",
        wired[way.from.node].draft.name, way.here
    );
    Problem::at(way.span, message).help("give the node another name")
}

fn uncarried(wired: &[Wired], way: &Way<'_>, what: &str) -> Problem {
    let message = format!(
        "the packets from `{}` on machine `{}` to `{}` on `{}` cannot travel: they are {what}",
        wired[way.from.node].draft.name, way.there, wired[way.to].draft.name, way.here
    );
    let problem = Problem::at(way.span, message);
    problem.help("run both on one machine, so that packets travel before or after them")
}

/// Returns how many packets batches after an edge may hold on the receiving machine. A lossless edge must hold as many:
/// none of them is settled before its batch is full, and a full edge delivers no more.
fn held_behind(wired: &[Wired], consumers: &BTreeSet<usize>, machine: &str) -> usize {
    let mut behind = consumers.clone();
    let mut held: usize = 0;
    for (index, node) in wired.iter().enumerate() {
        let mut from = node.inputs.iter().flat_map(|input| &input.from);
        let is_here = node.on.as_ref().is_some_and(|on| on.is_on(machine));
        if is_here && from.any(|from| behind.contains(&from.node)) {
            behind.insert(index);
        }
        let batch = node.draft.batch.as_ref();
        if let Some(batch) = batch.filter(|_| behind.contains(&index)) {
            held = held.saturating_add(batch.max);
        }
    }
    held.min(MOST_CAPACITY)
}

/// Maximum capacity of an edge, in packets.
const MOST_CAPACITY: usize = 100_000;

/// Combines the policies of several consumers' queues: the edge must lose nothing that any of them needs.
fn queue(queues: &[&QueueSpec]) -> QueueSpec {
    let full = match queues {
        [one] => one.full,
        _ if queues.iter().any(|queue| queue.full == WhenFull::Block) => WhenFull::Block,
        [first, rest @ ..] if rest.iter().all(|queue| queue.full == first.full) => first.full,
        _ => WhenFull::DropOldest,
    };
    let capacity = queues.iter().map(|queue| queue.capacity).max();
    let bytes: Option<Vec<u64>> = queues.iter().map(|queue| queue.bytes).collect();
    let ages: Option<Vec<Duration>> = queues.iter().map(|queue| queue.max_age).collect();
    let qualities: Option<Vec<u8>> = queues.iter().map(|queue| queue.quality).collect();
    QueueSpec {
        capacity: capacity.unwrap_or_default(),
        bytes: bytes.and_then(|bytes| bytes.into_iter().max()),
        full,
        // Packets that are too old are dropped where they would be handled; only lossy edges drop them before sending.
        max_age: ages
            .filter(|_| full != WhenFull::Block)
            .and_then(|ages| ages.into_iter().max()),
        quality: qualities.and_then(|qualities| qualities.into_iter().max()),
    }
}
