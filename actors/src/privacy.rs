//! Which nodes of a graph make faces unrecognisable, and in which streams: the single source for everything else that
//! shows, writes or records pixels. When in doubt, a node counts as blurring.

use fermata_engine::Graph;
use fermata_engine::graph::{NodeSpec, StreamSpec};
use fermata_vision::blur::Blur;

use crate::overlay::draw_overlay::NAME;

/// How the graph blurs faces, if it does; a service that a program provides to its actors ([`GraphBlurs::of`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphBlurs(pub Option<Blur>);

impl GraphBlurs {
    /// Returns the first blur of any node for any stream.
    pub fn of(graph: &Graph) -> Self {
        let streams = streams(graph);
        let nodes = graph.nodes.iter();
        let mut blurs =
            nodes.flat_map(|node| streams.iter().filter_map(|stream| blur(node, stream)));
        Self(blurs.next())
    }
}

/// Returns the streams of the graph, plus one that stands for streams added while it runs.
pub(crate) fn streams(graph: &Graph) -> Vec<StreamSpec> {
    let added = StreamSpec {
        name: "added".to_owned(),
        uri: String::new(),
    };
    graph.streams.iter().cloned().chain([added]).collect()
}

/// Returns whether a node blurs any stream.
pub(crate) fn blurs_any(graph: &Graph, node: &NodeSpec) -> bool {
    let streams = streams(graph);
    streams.iter().any(|stream| blur(node, stream).is_some())
}

/// Returns how a node blurs a stream, if it does. A drawing node whose settings cannot be read (a value that only some
/// streams have) counts as blurring.
pub(crate) fn blur(node: &NodeSpec, stream: &StreamSpec) -> Option<Blur> {
    let settings = node.settings(node.each_stream.then_some(stream)).ok();
    let settings = settings.and_then(|settings| settings.parse::<serde_json::Value>().ok());
    let Some(settings) = settings else {
        return (node.actor == NAME).then_some(Blur::Pixelate);
    };
    match settings.get("blur")?.as_str() {
        Some("none") => None,
        Some("blur" | "gaussian") => Some(Blur::Soft),
        Some("solid") => Some(Blur::Solid),
        _ => Some(Blur::Pixelate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fermata_engine::{LoadOptions, Registry};

    fn of(nodes: &str) -> GraphBlurs {
        let mut registry = Registry::builtin();
        crate::register(&mut registry);
        let text = format!(
            "fermata: 1\nstreams: {{a: '1'}}\nnodes:\n  source: {{use: synthetic_faces, each: stream, count: 1}}\n  detect: {{use: detect_faces, in: source, model: haar}}\n{nodes}"
        );
        let options = LoadOptions::new("/tmp/out");
        GraphBlurs::of(&Graph::parse("test", &text, &registry, &options).unwrap())
    }

    #[test]
    fn any_node_that_blurs_makes_the_graph_one_that_blurs() {
        let plain = "  plain: {use: draw_overlay, in: detect}\n  none: {use: draw_overlay, in: detect, blur: none}\n";
        assert_eq!(of(plain), GraphBlurs(None));
        let blurred = "  blurred: {use: draw_overlay, each: stream, in: detect, blur: gaussian}\n";
        assert_eq!(
            of(&format!("{blurred}{plain}")),
            GraphBlurs(Some(Blur::Soft))
        );
    }
}
