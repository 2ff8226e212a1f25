//! What a live page may show of a graph: which node's pictures, and the one-line description of a packet.

use fermata_engine::graph::{NodeSpec, StreamSpec};
use fermata_engine::packet::downcast_ref;
use fermata_engine::{Graph, Payload};

use crate::overlay::draw_overlay::NAME;
use crate::payload::{Faces, VideoFrame};
use crate::privacy::{blur, streams};

/// Returns the `draw_overlay` node whose pictures are shown: the last one of the graph that blurs every stream that any
/// of them blurs, so that no unblurred picture leaves the process.
pub fn shown_node(graph: &Graph) -> Option<String> {
    // For part of a graph: what another machine blurs is blurred here too.
    let whole = graph.whole();
    let streams = streams(whole);
    let everywhere = whole.nodes.iter().filter(|node| node.actor == NAME);
    let drawing = graph.nodes.iter().filter(|node| node.actor == NAME);
    let blurs = |node: &NodeSpec, stream: &StreamSpec| blur(node, stream).is_some();
    let hidden: Vec<&StreamSpec> = streams
        .iter()
        .filter(|stream| everywhere.clone().any(|node| blurs(node, stream)))
        .collect();
    let mut fitting = drawing.filter(|node| hidden.iter().all(|stream| blurs(node, stream)));
    fitting.next_back().map(|node| node.name.clone())
}

/// Describes a packet of this crate without its pixels: `640×360, 2 faces: #1 happy 0.91, #2`.
pub fn describe(payload: &dyn Payload) -> Option<String> {
    if let Some(video) = downcast_ref::<VideoFrame>(payload) {
        return Some(size(video));
    }
    let faces = downcast_ref::<Faces>(payload)?;
    let each = faces.faces.iter().map(|face| {
        let track = face
            .track
            .map_or("?".to_owned(), |track| format!("#{track}"));
        let Some(label) = face.label.or(face.raw_label) else {
            return track;
        };
        let share = face.smoothed.or(face.probabilities);
        let share = share.map_or(0.0, |shares| shares[label.index()]);
        format!("{track} {label} {share:.2}")
    });
    let each: Vec<String> = each.collect();
    let noun = if each.len() == 1 { "face" } else { "faces" };
    let looked = if faces.detected { "" } else { " (predicted)" };
    let colon = if each.is_empty() { "" } else { ": " };
    Some(format!(
        "{}, {} {noun}{looked}{colon}{}",
        size(&faces.video),
        each.len(),
        each.join(", ")
    ))
}

fn size(video: &VideoFrame) -> String {
    format!("{}×{}", video.frame.width(), video.frame.height())
}

#[cfg(test)]
mod tests {
    use fermata_engine::{LoadOptions, Registry};
    use fermata_vision::{Expression, Face, Frame};

    use super::*;

    fn shown(nodes: &str) -> Option<String> {
        shown_of("{door: 1}", nodes)
    }

    fn shown_of(streams: &str, nodes: &str) -> Option<String> {
        let mut registry = Registry::builtin();
        crate::register(&mut registry);
        let text = format!(
            "\
fermata: 1
streams: {streams}
nodes:
  capture: {{use: synthetic_faces, each: stream, seed: 1}}
  detect:  {{use: detect_faces, in: capture, model: haar}}
{nodes}"
        );
        let graph = Graph::parse("t.yaml", &text, &registry, &LoadOptions::new("/out"));
        shown_node(&graph.unwrap())
    }

    #[test]
    fn where_a_node_blurs_only_what_is_blurred_is_shown() {
        assert_eq!(shown(""), None);
        let plain = "  plain: {use: draw_overlay, in: detect}\n";
        let other = "  other: {use: draw_overlay, each: stream, in: detect}\n";
        let blurred = "  blurred: {use: draw_overlay, in: detect, blur: pixelate}\n";
        assert_eq!(shown(&format!("{plain}{other}")).as_deref(), Some("other"));
        for nodes in [format!("{plain}{blurred}"), format!("{blurred}{plain}")] {
            assert_eq!(shown(&nodes).as_deref(), Some("blurred"));
        }
    }

    #[test]
    fn a_stream_that_is_blurred_is_shown_by_nobody_who_does_not() {
        let plain = "  plain: {use: draw_overlay, in: detect}\n";
        // The setting of a stream added later is unknown: it may blur.
        let by_stream = "  by_stream: {use: draw_overlay, each: stream, in: detect, blur: \"${stream.blur}\"}\n";
        let nodes = [format!("{by_stream}{plain}"), format!("{plain}{by_stream}")];
        for nodes in nodes {
            let shown = shown_of(
                "{door: {uri: 1, blur: none}, hall: {uri: 2, blur: solid}}",
                &nodes,
            );
            assert_eq!(shown.as_deref(), Some("by_stream"));
        }
        // Two nodes, each of which blurs a different stream: no picture is shown at all.
        let here =
            "  here: {use: draw_overlay, each: stream, in: detect, blur: \"${stream.here}\"}\n";
        let there =
            "  there: {use: draw_overlay, each: stream, in: detect, blur: \"${stream.there}\"}\n";
        let streams =
            "{door: {uri: 1, here: none, there: solid}, hall: {uri: 2, here: solid, there: none}}";
        assert_eq!(shown_of(streams, &format!("{here}{there}")), None);
    }

    #[test]
    fn a_packet_is_described_without_its_pixels() {
        let video = VideoFrame::of(Frame::from_bgr(2, 1, vec![0; 6]));
        assert_eq!(describe(&video).unwrap(), "2×1");
        let mut shares = [0.0; 7];
        shares[Expression::Happy.index()] = 0.914;
        let face = Face {
            track: Some(3),
            raw_label: Some(Expression::Happy),
            probabilities: Some(shares),
            ..Face::default()
        };
        let faces = Faces::found(video, vec![face, Face::default()]);
        assert_eq!(describe(&faces).unwrap(), "2×1, 2 faces: #3 happy 0.91, ?");
    }
}
