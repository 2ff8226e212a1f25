//! Instances of a graph's nodes, as far as they are known before it runs.

use std::collections::BTreeSet;

use super::spec::{Graph, NodeSpec, StreamSpec};

impl Graph {
    /// Returns the instances of a node: one per stream that reaches it, those of shared sources first, or a single
    /// `None` if the node is shared itself.
    pub fn instances_of(&self, node: &NodeSpec) -> Vec<Option<StreamSpec>> {
        if !node.each_stream {
            return vec![None];
        }
        let is_here = |stream: &StreamSpec| {
            let of_streams = node.of_streams.as_ref();
            of_streams.is_none_or(|streams| streams.contains(&stream.name))
        };
        let reaching = self.streams_reaching(node).into_iter();
        reaching.filter(is_here).map(Some).collect()
    }

    /// Returns the streams whose packets can reach a node, wherever it runs: those of shared sources, which have the
    /// names of the sources, and then the listed ones.
    pub(super) fn streams_reaching(&self, node: &NodeSpec) -> Vec<StreamSpec> {
        let sources = self.sources_of(node);
        let shared = sources.iter().filter(|source| !source.each_stream);
        let shared = shared.map(|source| StreamSpec {
            name: source.name.clone(),
            uri: String::new(),
        });
        let has_listed = sources.iter().any(|source| source.each_stream);
        let listed = self.streams.iter().filter(|_| has_listed).cloned();
        shared.chain(listed).collect()
    }

    /// Returns the sources whose packets can reach a node, in the order of the graph; a source reaches itself.
    fn sources_of<'a>(&'a self, node: &'a NodeSpec) -> Vec<&'a NodeSpec> {
        if node.inputs.is_empty() {
            return vec![node];
        }
        let feeding = |node: &'a NodeSpec| {
            let from = node.inputs.iter().flat_map(|input| &input.from);
            from.map(|from| from.node)
        };
        let mut open: Vec<usize> = feeding(node).collect();
        let mut seen = BTreeSet::new();
        while let Some(index) = open.pop() {
            if seen.insert(index) {
                open.extend(feeding(&self.nodes[index]));
            }
        }
        let seen = seen.into_iter().map(|index| &self.nodes[index]);
        seen.filter(|node| node.inputs.is_empty()).collect()
    }
}
