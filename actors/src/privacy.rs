//! Whether a graph makes faces unrecognisable, for what shows or writes pixels elsewhere in it.

use fermata_engine::Graph;
use fermata_engine::graph::StreamSpec;
use fermata_vision::blur::Blur;

/// How the graph blurs faces, if it does; a service that a program gives its actors ([`GraphBlurs::of`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphBlurs(pub Option<Blur>);

impl GraphBlurs {
    /// Looks through all nodes. One whose `blur` cannot be read counts as one that blurs.
    pub fn of(graph: &Graph) -> Self {
        let any = StreamSpec {
            name: "stream".to_owned(),
            uri: String::new(),
        };
        let mut blurs = graph.nodes.iter().filter_map(|node| {
            let settings = node.settings(node.each_stream.then_some(&any)).ok()?;
            let settings: serde_json::Value = settings.parse().ok()?;
            match settings.get("blur")?.as_str() {
                Some("none") => None,
                Some("blur" | "gaussian") => Some(Blur::Soft),
                Some("solid") => Some(Blur::Solid),
                _ => Some(Blur::Pixelate),
            }
        });
        Self(blurs.next_back())
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
