//! The graph as drawn by the page: nodes and edges of the file, not their instances.

use std::collections::BTreeMap;

use fermata_engine::Graph;
use fermata_engine::statistics::{EdgeNow, Place};
use serde::Serialize;

/// A graph's nodes and edges.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct GraphView {
    pub(crate) name: String,
    pub(crate) nodes: Vec<NodeView>,
    pub(crate) edges: Vec<EdgeView>,
    /// Whether streams may be added.
    pub(crate) takes_streams: bool,
}

/// A node of the file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeView {
    pub(crate) name: String,
    pub(crate) actor: String,
    /// Whether each stream has an instance of its own.
    pub(crate) each_stream: bool,
    pub(crate) replicas: usize,
    pub(crate) is_source: bool,
}

/// An edge from an output to an input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct EdgeView {
    pub(crate) from: String,
    pub(crate) output: String,
    /// Index of the output, as observers see it.
    #[serde(skip)]
    pub(crate) output_index: usize,
    pub(crate) to: String,
    pub(crate) input: String,
}

impl GraphView {
    pub(crate) fn new(graph: &Graph) -> Self {
        let nodes = graph.nodes.iter().map(|node| NodeView {
            name: node.name.clone(),
            actor: node.actor.clone(),
            each_stream: node.each_stream,
            replicas: node.replicas,
            is_source: node.inputs.is_empty(),
        });
        let edges = graph.nodes.iter().flat_map(|node| {
            node.inputs.iter().flat_map(move |input| {
                input.from.iter().map(move |from| {
                    let producer = &graph.nodes[from.node];
                    EdgeView {
                        from: producer.name.clone(),
                        output: producer.ports.outputs[from.output].name.clone(),
                        output_index: from.output,
                        to: node.name.clone(),
                        input: node.ports.inputs[input.port].name.clone(),
                    }
                })
            })
        });
        Self {
            name: graph.name.clone(),
            nodes: nodes.collect(),
            edges: edges.collect(),
            takes_streams: graph.takes_streams(),
        }
    }

    /// Returns the indices of edges in [`GraphView::edges`] by nodes and ports.
    pub(crate) fn edge_numbers(&self) -> BTreeMap<[&str; 4], usize> {
        let edges = self.edges.iter().enumerate();
        edges
            .map(|(number, edge)| ([&*edge.from, &edge.output, &edge.to, &edge.input], number))
            .collect()
    }

    /// Returns whether an instance belongs to a source.
    pub(crate) fn is_source(&self, place: &Place) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|node| node.is_source && node.name == place.node)
    }
}

/// Returns the key of an edge in [`GraphView::edge_numbers`].
pub(crate) fn edge_key(edge: &EdgeNow) -> [&str; 4] {
    [&edge.from.node, &edge.output, &edge.to.node, &edge.input]
}
