//! Hints for a command line that cannot be run; the errors have been reported already.

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

/// Returns all hints that apply to the arguments, in which the problems `wrong` were found.
pub(super) fn hints(arguments: &GraphArguments, wrong: &[&str]) -> Vec<String> {
    let streams = arguments
        .streams
        .iter()
        .filter_map(|typed| of_stream(typed, wrong));
    let set = arguments.set.iter().filter_map(|typed| of_set(typed));
    let params = arguments.params.iter().filter_map(|typed| of_param(typed));
    streams.chain(set).chain(params).collect()
}

fn of_stream(typed: &str, wrong: &[&str]) -> Option<String> {
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
    // A number may not be an address at all but a seed.
    let refused = format!("cannot open `{uri}`");
    (is_number && wrong.iter().any(|told| told.contains(&refused)))
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
        of_wrong(
            streams,
            params,
            set,
            &["node `s`: cannot open `0`: it is not there"],
        )
    }

    fn of_wrong(streams: &[&str], params: &[&str], set: &[&str], wrong: &[&str]) -> Vec<String> {
        let texts = |given: &[&str]| given.iter().map(|&text| text.to_owned()).collect();
        let arguments = GraphArguments {
            graph: "graph.yaml".into(),
            streams: texts(streams),
            params: texts(params),
            set: texts(set),
            machine: None,
        };
        hints(&arguments, wrong)
    }

    #[test]
    fn a_number_is_a_camera_only_where_it_could_not_be_opened() {
        for (streams, wrong) in [
            (
                &["left=1", "left=2"][..],
                "`left` is given twice with --stream",
            ),
            (&["../x=1"], "`../x` cannot be the name of a stream"),
            (&["left=1"], "node `s`: cannot open `11`: it is not there"),
            (&["left=1"], "unknown key `emotion`"),
        ] {
            let hints = of_wrong(streams, &[], &[], &[wrong]);
            assert!(hints.is_empty(), "{wrong}: {hints:?}");
        }
        let both = [
            "node `s`: cannot open `0`: it is not there",
            "node `s`: cannot open `3`: it is busy",
        ];
        let hints = of_wrong(&["a=0", "b=film.mp4", "c=3"], &[], &[], &both);
        let ends = ["a=/dev/video0", "c=/dev/video3"];
        assert_eq!(hints.len(), 2, "{hints:?}");
        assert!(
            hints
                .iter()
                .zip(ends)
                .all(|(hint, end)| hint.ends_with(end)),
            "{hints:?}"
        );
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
