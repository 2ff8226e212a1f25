//! Consistency checks across the nodes of a graph, which no actor can do by itself. Owns the rules and their messages.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fermata_engine::graph::{NodeSpec, StreamSpec};
use fermata_engine::{Actor, Graph, Source};
use fermata_files::is_same_folder;
use serde::de::DeserializeOwned;

use crate::faces::detect_faces::{DetectFaces, DetectFacesSettings, is_cascade};
use crate::overlay::draw_overlay::NAME;
use crate::privacy::blurs_any;
use crate::sinks::write_images::{WriteImages, WriteImagesSettings};
use crate::sinks::write_snapshots::{WriteSnapshots, WriteSnapshotsSettings};
use crate::sources::image_source::{ImageSource, ImageSourceSettings};
use crate::sources::video_source::VideoSourceSettings;
use crate::temporal::smooth_labels::SmoothLabelsSettings;
use crate::temporal::track_faces::TrackFacesSettings;

/// Returns every contradiction between nodes, each as a sentence that says what to do; settings that cannot be read are
/// reported elsewhere.
pub fn disagreements(graph: &Graph) -> Vec<String> {
    let mut said = forgetting_before_losing(graph);
    said.extend(recording_what_is_hidden(graph));
    said.extend(writing_among_images(graph));
    said.extend(writing_the_same_images(graph));
    said
}

/// Returns everything that runs but does not do what it seems to, each as a sentence that says what to do.
pub fn doubts(graph: &Graph) -> Vec<String> {
    let mut said = BTreeSet::new();
    for (index, hide) in nodes(graph, NAME).filter(|(_, node)| blurs_any(graph, node)) {
        for detect in upstream(graph, index).filter(|node| node.actor == DetectFaces::NAME) {
            let mut settings = streams(graph, detect)
                .into_iter()
                .filter_map(|stream| settings::<DetectFacesSettings>(detect, &stream));
            if settings.any(|own| is_cascade(&own.model)) {
                said.insert(format!(
                    "node `{}` hides what node `{}` finds (`blur`), and the Haar cascade leaves many faces visible: name a better detector (`model`), such as \
                     the one that `fermata models pull yunet` brings",
                    hide.name, detect.name
                ));
            }
        }
    }
    said.into_iter().collect()
}

/// Reports sinks whose pictures could replace images that a source reads.
fn writing_among_images(graph: &Graph) -> Vec<String> {
    let mut said = BTreeSet::new();
    let folders = picture_folders(graph);
    if folders.is_empty() {
        return Vec::new();
    }
    let mut read = Vec::new();
    for (_, node) in nodes(graph, ImageSource::NAME) {
        for stream in streams(graph, node) {
            let own = settings::<ImageSourceSettings>(node, &stream);
            let images = own.map(|own| ImageSource::reads(&own)).unwrap_or_default();
            read.extend(images.into_iter().map(|image| (node, image)));
        }
    }
    for (_, sink, dir) in folders {
        let among = read.iter().find(|(_, image)| {
            let ending = image.extension().unwrap_or_default();
            let real = image.canonicalize().ok();
            let folder = real.as_deref().and_then(Path::parent);
            ending.eq_ignore_ascii_case("jpg")
                && folder.is_some_and(|folder| is_same_folder(folder, &dir))
        });
        if let Some((source, image)) = among {
            said.insert(format!(
                "node `{}` writes pictures into {}, from which node `{}` reads {}, and could replace it: choose another folder (`dir`)",
                sink.name,
                dir.display(),
                source.name,
                image.display()
            ));
        }
    }
    said.into_iter().collect()
}

/// Reports sinks that could replace each other's pictures, since a sink knows only the names that it has given itself.
/// The instances of one `each: stream` node give distinct names, except to images that keep their own.
fn writing_the_same_images(graph: &Graph) -> Vec<String> {
    let mut said = BTreeSet::new();
    let mut first: BTreeMap<Result<(u64, u64), PathBuf>, &NodeSpec> = BTreeMap::new();
    for (index, node, dir) in picture_folders(graph) {
        // A folder that does not exist yet has no other name.
        let found = dir.metadata().map(|found| (found.dev(), found.ino()));
        let place = found.map_err(|_| dir.clone());
        let Some(other) = first.get(&place) else {
            first.insert(place, node);
            continue;
        };
        let dir = dir.display();
        if other.name != node.name {
            said.insert(format!(
                "nodes `{}` and `{}` both write pictures into {dir}, where those of the same name would replace each other: choose a separate folder for each \
                 (`dir`)",
                other.name, node.name
            ));
        } else if upstream(graph, index).any(|node| node.actor == ImageSource::NAME) {
            said.insert(format!(
                "node `{}` writes the pictures of each stream into {dir}, where images of the same name would replace each other: choose a folder for \
                 each stream (`dir`), or leave out `each: stream`",
                node.name
            ));
        }
    }
    said.into_iter().collect()
}

/// Returns the folders that pictures are written to, with the writing nodes and their positions, one entry for each
/// stream.
fn picture_folders(graph: &Graph) -> Vec<(usize, &NodeSpec, PathBuf)> {
    let dir = |node: &NodeSpec, stream: &Option<StreamSpec>| match node.actor.as_str() {
        WriteImages::NAME => Some(settings::<WriteImagesSettings>(node, stream)?.dir),
        WriteSnapshots::NAME => Some(settings::<WriteSnapshotsSettings>(node, stream)?.dir),
        _ => None,
    };
    let mut found = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let own = streams(graph, node).into_iter();
        found.extend(own.filter_map(|stream| Some((index, node, dir(node, &stream)?))));
    }
    found
}

/// Reports recordings that show faces which the graph blurs elsewhere: whoever blurs them may not be aware of that.
fn recording_what_is_hidden(graph: &Graph) -> Vec<String> {
    let hiding =
        nodes(graph, NAME).find_map(|(_, node)| blurs_any(graph, node).then_some(&node.name));
    let Some(hiding) = hiding else {
        return Vec::new();
    };
    let records = |node: &NodeSpec| {
        let mut settings = streams(graph, node)
            .into_iter()
            .filter_map(|stream| settings::<VideoSourceSettings>(node, &stream));
        settings.any(|own| own.record.is_some() && !own.unblurred)
    };
    let recording = nodes(graph, "video_source").filter(|(_, node)| records(node));
    let say = |(_, node): (usize, &NodeSpec)| {
        format!(
            "node `{}` records what it receives, with all faces (`record`), but node `{hiding}` hides them (`blur`): \
             leave out `record`, or add `unblurred: true`",
            node.name
        )
    };
    recording.map(say).collect()
}

/// Reports smoothing that forgets a track too early: a face that is found again within `max_lost` keeps its track, so
/// its smoothing state must still exist.
fn forgetting_before_losing(graph: &Graph) -> Vec<String> {
    let mut said = BTreeSet::new();
    for (index, smooth) in nodes(graph, "smooth_labels") {
        for stream in streams(graph, smooth) {
            let Some(own) = settings::<SmoothLabelsSettings>(smooth, &stream) else {
                continue;
            };
            for track in upstream(graph, index).filter(|node| node.actor == "track_faces") {
                let Some(its) = settings::<TrackFacesSettings>(track, &stream) else {
                    continue;
                };
                let (forget, max_lost) = (own.forget, its.max_lost);
                if forget.0 < max_lost.0 {
                    said.insert(format!(
                        "node `{}` forgets a face after {forget} (`forget`), but node `{}` can find a lost face again for {max_lost} (`max_lost`): \
                         its smoothing would start anew; set `forget` to {max_lost} or more",
                        smooth.name, track.name
                    ));
                }
            }
        }
    }
    said.into_iter().collect()
}

/// Returns the nodes of one actor, with their positions.
fn nodes<'a>(graph: &'a Graph, actor: &str) -> impl Iterator<Item = (usize, &'a NodeSpec)> {
    let nodes = graph.nodes.iter().enumerate();
    nodes.filter(move |(_, node)| node.actor == actor)
}

/// Returns the streams for which a node's settings are read.
fn streams(graph: &Graph, node: &NodeSpec) -> Vec<Option<StreamSpec>> {
    graph.instances_of(node)
}

fn settings<T: DeserializeOwned>(node: &NodeSpec, stream: &Option<StreamSpec>) -> Option<T> {
    let stream = stream.as_ref().filter(|_| node.each_stream);
    node.settings(stream).ok()?.parse().ok()
}

/// Returns the nodes from which a node receives packets, directly or indirectly.
fn upstream(graph: &Graph, index: usize) -> impl Iterator<Item = &NodeSpec> {
    let mut found = BTreeSet::new();
    let mut open = vec![index];
    while let Some(index) = open.pop() {
        let inputs = graph.nodes[index].inputs.iter();
        for from in inputs.flat_map(|input| &input.from) {
            if found.insert(from.node) {
                open.push(from.node);
            }
        }
    }
    found.into_iter().map(|index| &graph.nodes[index])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fermata_engine::{LoadOptions, Registry, RunOptions, RunningGraph};
    use fermata_vision::{Frame, jpeg};

    use super::*;

    fn graph(nodes: &str) -> Graph {
        let mut registry = Registry::builtin();
        crate::register(&mut registry);
        let text = format!("fermata: 1\nstreams: {{door: door.mp4}}\nnodes:\n{nodes}");
        let options = LoadOptions::new("out");
        Graph::parse("test.yaml", &text, &registry, &options)
            .unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    const FACES: &str = "  capture: {use: video_source, each: stream, uri: \"${stream.uri}\"}
  detect: {use: detect_faces, in: capture}
";

    #[test]
    fn a_graph_that_hides_faces_records_them_only_if_it_says_so() {
        for (each, more, blur, words) in [
            ("each: stream,", "record: a.mkv", "pixelate", 1),
            ("", "record: a.mkv", "pixelate", 1),
            (
                "each: stream,",
                "record: a.mkv, unblurred: true",
                "pixelate",
                0,
            ),
            ("each: stream,", "record: a.mkv", "none", 0),
            ("each: stream,", "fps: 5", "solid", 0),
        ] {
            let graph = graph(&format!(
                "  capture: {{use: video_source, each: stream, uri: \"${{stream.uri}}\", {more}}}
  detect: {{use: detect_faces, in: capture}}
  draw: {{use: draw_overlay, {each} in: detect, blur: {blur}}}
  end: {{use: discard, in: draw}}
"
            ));
            let said = disagreements(&graph);
            assert_eq!(said.len(), words, "{said:?}");
            assert!(
                said.iter()
                    .all(|message| message.contains("`unblurred: true`"))
            );
        }
    }

    #[test]
    fn a_cascade_that_finds_what_is_hidden_is_doubted() {
        for (model, blur, words) in [
            ("", "solid", 1),
            (", model: haar", "solid", 1),
            (", model: a/cascade.xml", "pixelate", 1),
            (", model: yunet.onnx", "solid", 0),
            (", model: haar", "none", 0),
        ] {
            let graph = graph(&format!(
                "  capture: {{use: video_source, each: stream, uri: \"${{stream.uri}}\"}}
  detect: {{use: detect_faces, in: capture{model}}}
  track: {{use: track_faces, each: stream, in: detect}}
  draw: {{use: draw_overlay, each: stream, in: track, blur: {blur}}}
  end: {{use: discard, in: draw}}
"
            ));
            let said = doubts(&graph);
            assert_eq!(said.len(), words, "{model}, {blur}: {said:?}");
            assert!(said.iter().all(|message| message.contains("pull yunet")));
        }
    }

    #[test]
    fn pictures_of_one_name_never_meet_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(path("a")).unwrap();
        std::os::unix::fs::symlink("a", path("link")).unwrap();
        let (a, link, b) = (path("a"), path("link"), path("b"));
        let frames = "video_source, each: stream, uri: \"${stream.uri}\"";
        let images = "image_source, each: stream, path: \"${stream.uri}\"";
        let each = "each: stream,";
        for (source, first, second, words) in [
            (frames, ("", &a), Some(&b), None),
            (frames, ("", &a), Some(&a), Some("both write")),
            (frames, (each, &a), Some(&link), Some("both write")),
            (images, ("", &a), None, None),
            (frames, (each, &a), None, None),
            (images, (each, &a), None, Some("of each stream")),
            (images, (each, &path("${stream.name}")), None, None),
        ] {
            let (each, dir) = first;
            let second = second.map_or_else(String::new, |dir| {
                format!("  v: {{use: write_images, in: s, dir: \"{dir}\"}}\n")
            });
            let mut graph = graph(&format!(
                "  s: {{use: {source}}}\n  w: {{use: write_images, {each} in: s, dir: \"{dir}\"}}\n{second}"
            ));
            let more = StreamSpec {
                name: "yard".to_owned(),
                uri: "yard.mp4".to_owned(),
            };
            graph.streams.push(more);
            let said = disagreements(&graph);
            assert_eq!(said.len(), usize::from(words.is_some()), "{said:?}");
            assert!(
                words.is_none_or(|words| said[0].contains(words)),
                "{said:?}"
            );
        }
    }

    /// Runs a graph that copies a folder of pictures, and adds another folder; returns why it may not be added.
    fn added(nodes: &str, first: &Path, second: &Path) -> Option<String> {
        let mut registry = Registry::builtin();
        crate::register(&mut registry);
        let text = format!(
            "fermata: 1\nstreams: {{first: {:?}}}\nnodes:\n{nodes}",
            first.display().to_string()
        );
        let options = LoadOptions::new("out");
        let graph = Graph::parse("test.yaml", &text, &registry, &options).unwrap();
        assert!(disagreements(&graph).is_empty());
        let options = RunOptions {
            hold_open: true,
            ..RunOptions::default()
        };
        let running = RunningGraph::start(graph, Arc::new(registry), options).unwrap();
        let uri = second.display().to_string();
        let added = running.handle().add_stream("second", &uri);
        running.handle().drain();
        running.wait();
        added.err().map(|error| error.to_string())
    }

    #[test]
    fn no_added_stream_replaces_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["one", "two", "out", "first", "second", "new"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        for path in ["one/1.jpg", "two/1.jpg", "out/2.jpg", "second/3.jpg"] {
            let frame = Frame::from_bgr(16, 16, vec![90; 16 * 16 * 3]);
            let bytes = jpeg::encode(&frame, 90).unwrap();
            std::fs::write(at(path), bytes).unwrap();
        }
        let source = "  s: {use: image_source, each: stream, path: \"${stream.uri}\"}\n";
        let here = folder.path().display();
        for (each, dir, second, words) in [
            ("each: stream,", "new", "two", Some("of the same name")),
            ("", "new", "two", None),
            ("", "out", "out", Some("could replace it")),
            ("each: stream,", "${stream.name}", "two", None),
            (
                "each: stream,",
                "${stream.name}",
                "second",
                Some("could replace it"),
            ),
        ] {
            let nodes = format!(
                "{source}  w: {{use: write_images, {each} in: s, dir: \"{here}/{dir}\"}}\n"
            );
            let refused = added(&nodes, &at("one"), &at(second));
            assert_eq!(refused.is_some(), words.is_some(), "{dir}: {refused:?}");
            let said = refused.unwrap_or_default();
            assert!(said.contains(words.unwrap_or_default()), "{dir}: {said}");
        }
    }

    #[test]
    fn smoothing_must_not_forget_before_a_track_ends() {
        for (max_lost, forget, words) in [("1s", "1s", 0), ("2s", "1s", 1), ("500ms", "1s", 0)] {
            let graph = graph(&format!(
                "{FACES}  track: {{use: track_faces, each: stream, in: detect, max_lost: {max_lost}}}
  smooth: {{use: smooth_labels, each: stream, in: track, forget: {forget}}}
  end: {{use: write_csv, in: smooth, path: faces.csv}}
"
            ));
            let said = disagreements(&graph);
            assert_eq!(said.len(), words, "{said:?}");
            assert!(
                said.iter()
                    .all(|message| message.contains("`forget` to 2s"))
            );
        }
    }
}
