//! Sizes queues that must hold as much as a batch beside them holds back. Under `asap` a batch is closed by count
//! alone, so anything that waits for its content waits until enough packets have come, and packets on other paths need
//! room until then.
//!
//! How many packets reach a batch cannot be known here: if an actor before it filters packets, no size is enough, and
//! the watchdog reports the deadlock.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::{Problem, Problems};
use super::wired::{Wired, origins};

/// Sizes joins. Where two paths between the same nodes meet again, the path beside a batch must be able to hold as many
/// packets as the batch holds back, or both would wait for each other.
pub(crate) fn joins(wired: &mut [Wired], problems: &mut Problems) {
    let held = held_back(wired);
    for node in wired.iter_mut().filter(|node| node.ports.inputs.len() > 1) {
        // Outputs that are merged into one input carry different sources.
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
        let meeting = Meeting {
            what: "the ways into the join",
            why: "one holds back",
        };
        size(node, needed, &meeting, problems);
    }
}

/// Returns, by node and source, the most packets that batches on a path from the source to the node (inclusive) hold
/// back.
fn held_back(wired: &[Wired]) -> Vec<BTreeMap<usize, usize>> {
    let mut held: Vec<BTreeMap<usize, usize>> = Vec::with_capacity(wired.len());
    for (index, node) in wired.iter().enumerate() {
        let own = most_held(node);
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

/// Sizes shared nodes, which take the streams that meet there strictly in turn. A node that waits for a stream whose
/// packets a batch holds back takes none of the others. If the streams also meet at another node, before it or beside
/// it, that node waits for room at the first and takes nothing of the held-back stream either, so the batch never fills
/// up.
///
/// `provided`: the graph's streams are units of work, of which a node takes any that has a packet.
pub(crate) fn turns(wired: &mut [Wired], provided: bool, problems: &mut Problems) {
    // Without batches nothing is held back.
    if wired.iter().all(|node| most_held(node) == 0) {
        return;
    }
    let origins = origins(wired);
    let in_turn = |source: usize| {
        let draft = &wired[source].draft;
        draft.actor.source && !(provided && draft.each_stream)
    };
    let sources: Vec<usize> = (0..wired.len()).filter(|&node| in_turn(node)).collect();
    let mut needed = vec![0; wired.len()];
    for (index, node) in wired.iter().enumerate() {
        if node.draft.each_stream || node.draft.actor.source {
            continue;
        }
        let elsewhere = Elsewhere::than(index, wired, &sources);
        for &waits in &sources {
            for &held in &sources {
                let meet = |node: usize| {
                    let met = &origins[node];
                    !wired[node].draft.each_stream && met.contains(&waits) && met.contains(&held)
                };
                if meet(index) && elsewhere.meet(waits, held, wired[held].draft.each_stream) {
                    let behind = held_since_both(wired, held, &meet);
                    let fed = node.inputs.iter().flat_map(|input| &input.from);
                    let most = fed.filter_map(|from| behind[from.node]).max();
                    needed[index] = needed[index].max(most.unwrap_or(0));
                }
            }
        }
    }
    let meeting = Meeting {
        what: "the streams that meet in",
        why: "it takes them in turn, one of them is held back",
    };
    for (node, needed) in wired.iter_mut().zip(needed) {
        size(node, needed, &meeting, problems);
    }
}

/// Streams that meet at other shared nodes, on paths that do not lead through a certain node.
struct Elsewhere {
    /// By source: a number shared by all sources that meet, directly or through others.
    together: BTreeMap<usize, usize>,
    /// Sources whose own streams meet, if there are several.
    alone: BTreeSet<usize>,
}

impl Elsewhere {
    fn than(left_out: usize, wired: &[Wired], sources: &[usize]) -> Self {
        let mut found = Self {
            together: sources.iter().map(|&source| (source, source)).collect(),
            alone: BTreeSet::new(),
        };
        let mut reaching: Vec<BTreeSet<usize>> = Vec::with_capacity(wired.len());
        for (index, node) in wired.iter().enumerate() {
            let mut here = BTreeSet::new();
            if sources.contains(&index) {
                here.insert(index);
            } else if index != left_out {
                let fed = node.inputs.iter().flat_map(|input| &input.from);
                here.extend(fed.flat_map(|from| &reaching[from.node]));
                if !node.draft.each_stream {
                    found.join(&here);
                }
            }
            reaching.push(here);
        }
        found
    }

    fn join(&mut self, met: &BTreeSet<usize>) {
        self.alone.extend(met);
        let numbers: BTreeSet<usize> = met.iter().map(|source| self.together[source]).collect();
        let Some(&first) = numbers.first() else {
            return;
        };
        for number in self.together.values_mut() {
            if numbers.contains(number) {
                *number = first;
            }
        }
    }

    /// Returns whether streams of two sources meet or, for one source, whether `several` of its own streams meet.
    fn meet(&self, one: usize, other: usize, several: bool) -> bool {
        if one == other {
            several && self.alone.contains(&one)
        } else {
            self.together[&one] == self.together[&other]
        }
    }
}

/// Returns, by node, the most packets of a source's stream that batches hold back between the last earlier node where
/// both streams meet (or the source, if there is none) and the node (inclusive). None where the stream does not arrive.
fn held_since_both(
    wired: &[Wired],
    source: usize,
    meet: &impl Fn(usize) -> bool,
) -> Vec<Option<usize>> {
    let mut held: Vec<Option<usize>> = Vec::with_capacity(wired.len());
    for (index, node) in wired.iter().enumerate() {
        let fed = node.inputs.iter().flat_map(|input| &input.from);
        let before = fed.filter_map(|from| held[from.node]).max();
        let each = node
            .draft
            .batch
            .as_ref()
            .is_some_and(|batch| batch.each_stream);
        held.push(match meet(index) {
            true if each => Some(most_held(node)),
            // Its batch holds both streams.
            true => Some(0),
            false if index == source => Some(0),
            false => before.map(|before| before + most_held(node)),
        });
    }
    held
}

/// Returns the most packets that a node's batch holds back.
fn most_held(node: &Wired) -> usize {
    node.draft.batch.as_ref().map_or(0, |batch| batch.max)
}

/// What would block each other, and why, for messages.
struct Meeting {
    what: &'static str,
    why: &'static str,
}

/// Sizes the queues of a node to hold this many packets, or reports why that is impossible.
fn size(node: &mut Wired, needed: usize, meeting: &Meeting, problems: &mut Problems) {
    let draft = &mut node.draft;
    let span = draft.queue_span.as_ref().unwrap_or(&draft.name_span);
    let Meeting { what, why } = meeting;
    if needed > 1 && draft.queue.bytes.is_some() {
        let message = format!(
            "{what} `{}` could block each other: {why} up to {needed} packets in a batch, and whether the queue of the other takes as many depends on their bytes",
            draft.name
        );
        let help = format!("give `{}` a queue capacity instead of `bytes`", draft.name);
        problems.push(Problem::at(span, message).help(help));
    }
    if needed <= draft.queue.capacity {
        return;
    }
    if draft.sized {
        let message = format!(
            "{what} `{}` would block each other: {why} up to {needed} packets in a batch, and the queue of the other takes {}",
            draft.name, draft.queue.capacity
        );
        let help = format!(
            "give `{}` a queue capacity of at least {needed}",
            draft.name
        );
        problems.push(Problem::at(span, message).help(help));
    } else {
        draft.queue.capacity = needed;
    }
}
