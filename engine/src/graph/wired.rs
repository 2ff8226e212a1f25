//! Nodes that know what feeds them, before the graph as a whole has been checked.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::ports::Ports;

use super::node::Draft;
use super::place::Span;
use super::spec::{InputSpec, Placement};

/// A draft with its ports and what feeds them.
pub(crate) struct Wired {
    pub(crate) draft: Draft,
    pub(crate) ports: Ports,
    pub(crate) inputs: Vec<InputSpec>,
    /// By input: where the file says so.
    pub(crate) input_spans: Vec<Span>,
    /// Files that its instances write, one entry for each stream that is known (or one for a shared node).
    pub(crate) writes: Vec<Vec<PathBuf>>,
    /// On which machine it runs, if the graph is for several.
    pub(crate) on: Option<Placement>,
}

/// By node: the sources whose streams reach it. All streams of an `each: stream` source count as one.
pub(crate) fn origins(wired: &[Wired]) -> Vec<BTreeSet<usize>> {
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
