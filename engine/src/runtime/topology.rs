//! Queries on the shape of a graph, for wiring and reports.

use std::collections::BTreeSet;

use crate::clock::{ClockMode, nanoseconds};
use crate::graph::{Graph, NodeSpec, Require};
use crate::runtime::queued::Policy;

/// Returns the source of a stream. A stream that no source names comes from the source on this machine, not from an
/// inlet.
pub(crate) fn per_stream_source(graph: &Graph, stream: &str) -> Option<usize> {
    let sources = graph.nodes.iter().enumerate();
    let mut sources = sources.filter(|(_, node)| node.each_stream && node.inputs.is_empty());
    let gives = |node: &NodeSpec| {
        let streams = node.of_streams.as_ref();
        streams.is_some_and(|streams| streams.contains(stream))
    };
    let known = sources.clone().find(|(_, node)| gives(node));
    let source = known.or_else(|| sources.find(|(_, node)| !node.is_inlet));
    source.map(|(index, _)| index)
}

/// Returns the source of the packets that arrive over an edge from another machine.
pub(crate) fn inlet_of(graph: &Graph, edge: &str) -> Option<usize> {
    let is_it = |node: &NodeSpec| node.is_inlet && node.edge.as_deref() == Some(edge);
    graph.nodes.iter().position(is_it)
}

/// Returns the nodes that packets of a source can reach, in declared order.
pub(crate) fn reached_from(graph: &Graph, source: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([source]);
    loop {
        let before = reached.len();
        for (index, node) in graph.nodes.iter().enumerate() {
            let fed = node
                .inputs
                .iter()
                .flat_map(|input| &input.from)
                .any(|from| reached.contains(&from.node));
            if fed {
                reached.insert(index);
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}

pub(crate) fn is_leaf(graph: &Graph, index: usize) -> bool {
    !graph
        .nodes
        .iter()
        .flat_map(|node| &node.inputs)
        .flat_map(|input| &input.from)
        .any(|from| from.node == index)
}

/// Returns the inputs that a join requires, as a bit set; a set of packets that lacks one is unmatched.
pub(crate) fn required(node: &NodeSpec) -> u64 {
    let names: Option<&Vec<String>> = match &node.require {
        Require::All => None,
        Require::Ports(names) => Some(names),
    };
    let mut bits = 0;
    for (port, input) in node.ports.inputs.iter().enumerate() {
        if names.is_none_or(|names| names.contains(&input.name)) {
            bits |= 1 << port;
        }
    }
    bits
}

/// Returns the policy of the edges from one node to another. Under `asap`, and before a join, a waiting producer is
/// woken at the first free place.
pub(crate) fn policy(graph: &Graph, producer: &NodeSpec, consumer: &NodeSpec) -> Policy {
    let queue = &consumer.queue;
    let is_join = consumer.ports.inputs.len() > 1;
    Policy {
        capacity: queue.capacity,
        bytes: queue.bytes,
        full: queue.full,
        max_age_ns: queue.max_age.map(nanoseconds),
        wake_at: if is_join || graph.run.clock == ClockMode::Asap {
            queue.capacity - 1
        } else {
            queue.capacity / 2
        },
        in_hand: most_in_hand(producer),
    }
}

/// Returns how many packets of one stream a node may have taken and not published yet: those of the batch that it forms
/// and those of its open calls.
fn most_in_hand(node: &NodeSpec) -> usize {
    let in_a_call = node.batch.as_ref().map_or(1, |batch| batch.max);
    let under_way = match node.replicas {
        1 => node.ports.open_calls,
        replicas => 2 * replicas,
    };
    in_a_call.saturating_mul(under_way.saturating_add(1))
}

/// Returns whether a queue that a node feeds counts the bytes of payloads.
pub(crate) fn counts_bytes(graph: &Graph, index: usize) -> bool {
    let consumers = graph.nodes.iter().filter(|node| node.queue.bytes.is_some());
    let mut feeds = consumers
        .flat_map(|node| &node.inputs)
        .flat_map(|input| &input.from);
    feeds.any(|from| from.node == index)
}
