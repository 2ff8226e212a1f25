//! Nodes that are connected, before the graph as a whole has been checked.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::ports::Ports;

use super::node::Draft;
use super::place::Span;
use super::spec::{InputSpec, Placement};

/// A draft with its ports and connections.
pub(crate) struct Wired {
    pub(crate) draft: Draft,
    pub(crate) ports: Ports,
    pub(crate) inputs: Vec<InputSpec>,
    /// Place in the file, by input.
    pub(crate) input_spans: Vec<Span>,
    /// Files that its instances write, one entry per known stream (or one for a shared node).
    pub(crate) writes: Vec<Vec<PathBuf>>,
    /// Placement on the machines of a site, if the graph is for several.
    pub(crate) on: Option<Placement>,
}

/// Returns, by node, the sources whose streams reach it. All streams of an `each: stream` source count as one.
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
