//! For whom the nodes of a graph are there, as far as that is known before it runs.

use super::spec::{Graph, NodeSpec, StreamSpec};

impl Graph {
    /// For whom a node is there: each stream that reaches it, those of shared sources first, or, if it is shared itself, nobody in
    /// particular.
    pub fn instances_of(&self, node: &NodeSpec) -> Vec<Option<StreamSpec>> {
        if !node.each_stream {
            return vec![None];
        }
        let sources = self.sources_of(node);
        let shared = sources.iter().filter(|source| !source.each_stream);
        let shared = shared.map(|source| StreamSpec {
            name: source.name.clone(),
            uri: String::new(),
        });
        let has_listed = sources.iter().any(|source| source.each_stream);
        let listed = self.streams.iter().filter(|_| has_listed).cloned();
        let is_here = |stream: &StreamSpec| {
            let of_streams = node.of_streams.as_ref();
            of_streams.is_none_or(|streams| streams.contains(&stream.name))
        };
        shared.chain(listed).filter(is_here).map(Some).collect()
    }

    /// The sources whose packets can reach a node; a source reaches itself.
    fn sources_of<'a>(&'a self, node: &'a NodeSpec) -> Vec<&'a NodeSpec> {
        let mut seen = vec![false; self.nodes.len()];
        let mut open = vec![node];
        let mut sources = Vec::new();
        while let Some(node) = open.pop() {
            if node.inputs.is_empty() {
                sources.push(node);
            }
            for from in node.inputs.iter().flat_map(|input| &input.from) {
                if !std::mem::replace(&mut seen[from.node], true) {
                    open.push(&self.nodes[from.node]);
                }
            }
        }
        sources.sort_by_key(|source| self.nodes.iter().position(|node| node.name == source.name));
        sources
    }
}
