//! Hints for a command line that cannot be run. Looks only at the command line; the errors have been reported already.

use std::path::Path;

use fermata_engine::graph::redact;

use crate::cli::GraphArguments;
use crate::watched::is_watched;

/// The sections of a graph file.
const SECTIONS: [&str; 8] = [
    "fermata", "name", "include", "params", "machines", "streams", "nodes", "run",
];
/// Well-known detectors, all of which are files here.
const DETECTORS: [&str; 8] = [
    "yunet",
    "ultraface",
    "retinaface",
    "scrfd",
    "mtcnn",
    "blazeface",
    "yolo",
    "mediapipe",
];

/// Returns all hints that apply to the arguments.
pub(super) fn hints(arguments: &GraphArguments) -> Vec<String> {
    let streams = arguments
        .streams
        .iter()
        .filter_map(|typed| of_stream(typed));
    let set = arguments.set.iter().filter_map(|typed| of_set(typed));
    let params = arguments.params.iter().filter_map(|typed| of_param(typed));
    streams.chain(set).chain(params).collect()
}

fn of_stream(typed: &str) -> Option<String> {
    let Some((name, uri)) = typed.split_once('=') else {
        let is_place = is_watched(typed) || Path::new(typed).exists();
        return is_place.then(|| {
            format!(
                "help: give the stream a name: --stream cam={}",
                redact(typed)
            )
        });
    };
    let is_number = !uri.is_empty() && uri.chars().all(|digit| digit.is_ascii_digit());
    (is_number && !Path::new(uri).exists())
        .then(|| format!("help: a camera is named by its device: --stream {name}=/dev/video{uri}"))
}

fn of_set(typed: &str) -> Option<String> {
    let (path, _) = typed.split_once('=')?;
    let first = path.split('.').next()?;
    (!SECTIONS.contains(&first))
        .then(|| format!("help: the settings of nodes are below `nodes`: --set nodes.{path}=…"))
}

fn of_param(typed: &str) -> Option<String> {
    let (name, value) = typed.split_once('=')?;
    let lower = value.to_lowercase();
    let is_name = DETECTORS.iter().any(|known| lower.starts_with(known));
    (name == "detector" && is_name && !Path::new(value).exists()).then(|| {
        format!("help: a detector is a file or folder, such as {name}=models/yunet/model.onnx, which `fermata models pull yunet` downloads; only `haar` is a built-in name")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(streams: &[&str], params: &[&str], set: &[&str]) -> Vec<String> {
        let texts = |given: &[&str]| given.iter().map(|&text| text.to_owned()).collect();
        hints(&GraphArguments {
            graph: "graph.yaml".into(),
            streams: texts(streams),
            params: texts(params),
            set: texts(set),
            machine: None,
        })
    }

    #[test]
    fn what_people_mean_is_said_and_what_is_right_is_left_alone() {
        for (hints, words) in [
            (said(&["cam=0"], &[], &[]), "--stream cam=/dev/video0"),
            (said(&["door.mp4"], &[], &[]), "--stream cam=door.mp4"),
            (
                said(&[], &[], &["emotion.batch.max=4"]),
                "--set nodes.emotion.batch.max=…",
            ),
            (
                said(&[], &["detector=YuNet"], &[]),
                "detector=models/yunet/model.onnx",
            ),
        ] {
            assert!(hints.len() == 1 && hints[0].contains(words), "{hints:?}");
        }
        let right = said(
            &["door=door.mp4"],
            &["detector=haar", "model=yunet"],
            &["nodes.emotion.batch.max=4", "run.clock=asap"],
        );
        assert!(right.is_empty(), "{right:?}");
    }
}
