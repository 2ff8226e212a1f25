//! Sinks that a packet can reach from each node: a packet has one flow towards each of them.

use std::collections::HashMap;

use fermata_engine::Graph;
use fermata_engine::observer::PacketId;

/// The ways from a node of the graph file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// Numbers of the sinks that packets reach from here, including the node itself if it is one.
    sinks: Vec<u64>,
    /// Whether the node is a sink.
    pub(crate) is_sink: bool,
}

impl Way {
    /// Returns the flows of a packet that pass through here.
    pub(crate) fn flows(&self, packet: PacketId) -> impl Iterator<Item = u64> + '_ {
        let packet = (u64::from(packet.stream) & 0xff_ffff) << 32 | packet.sequence & 0xffff_ffff;
        self.sinks.iter().map(move |sink| sink << 56 | packet)
    }
}

/// Returns the ways by node name in the graph file.
pub(crate) fn ways(graph: &Graph) -> HashMap<String, Way> {
    let mut feeds = vec![Vec::new(); graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for output in node.inputs.iter().flat_map(|input| &input.from) {
            feeds[output.node].push(index);
        }
    }
    let named = graph.nodes.iter().map(|node| node.name.clone());
    let mut ways: Vec<Way> = vec![Way::default(); graph.nodes.len()];
    // The number takes eight bits of a flow's id; 0 is not a valid flow.
    for (number, sink) in (1..=255).zip((0..feeds.len()).filter(|node| feeds[*node].is_empty())) {
        ways[sink].is_sink = true;
        let mut reaching = vec![sink];
        while let Some(node) = reaching.pop() {
            if ways[node].sinks.last() == Some(&number) {
                continue;
            }
            ways[node].sinks.push(number);
            let feeding = (0..feeds.len()).filter(|other| feeds[*other].contains(&node));
            reaching.extend(feeding);
        }
    }
    named.zip(ways).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fermata_engine::{LoadOptions, Registry};

    #[test]
    fn a_packet_has_a_flow_towards_each_sink_that_it_can_reach() {
        let text = "
fermata: 1
nodes:
  source: {use: test_source}
  both:   {use: identity, in: source}
  one:    {use: identity, in: both}
  left:   {use: discard, in: one}
  right:  {use: discard, in: both}
";
        let options = LoadOptions::new("/tmp/out");
        let graph = Graph::parse("test", text, &Registry::builtin(), &options).expect("a graph");
        let ways = ways(&graph);
        let packet = PacketId {
            stream: 3,
            sequence: 7,
        };
        let flows = |node: &str| ways[node].flows(packet).collect::<Vec<_>>();
        assert_eq!(flows("source").len(), 2);
        assert_eq!(flows("source"), flows("both"));
        assert_eq!(flows("one"), flows("left"));
        assert!(ways["left"].is_sink && !ways["one"].is_sink);
        assert_eq!([flows("left"), flows("right")].concat(), flows("source"));
    }
}
