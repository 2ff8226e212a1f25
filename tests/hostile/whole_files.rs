//! Files that a command reads to their end but that have no end.

use std::process::Command;

use crate::abuse::{Ended, Place, ended};
use crate::support::fermata;

/// Runs a command in the place and ends it if it hangs.
fn command(place: &Place, arguments: &str) -> Ended {
    let mut command = Command::new("bash");
    let script = format!(
        "ulimit -v 16000000; exec timeout 120 '{}' {arguments}",
        fermata()
    );
    command.args(["-c", &script]).env("NO_COLOR", "1");
    command.current_dir(place.path(""));
    ended(command)
}

#[track_caller]
fn assert_refused(place: &Place, arguments: &str) {
    let ended = command(place, arguments);
    assert!(
        matches!(ended.code, Some(1 | 2)),
        "`{arguments}`: {:?} {}",
        ended.code,
        ended.said
    );
    assert!(
        ended.said.contains("regular file"),
        "`{arguments}`: {}",
        ended.said
    );
}

const GRAPH: &str = "\
fermata: 1
params: {model: pipe.onnx}
nodes:
  s: {use: synthetic_faces, count: 5}
  d: {use: detect_faces, in: s, model: \"${model}\"}
  end: {use: discard, in: d}
";

/// Creates a place with pipes and devices where files should be.
fn place() -> Place {
    let place = Place::new(GRAPH);
    let made = place.script(
        "mkdir run; printf 'stream,sequence,pts_ms,track,label\\nx,0,0,,\\n' > run/faces.csv; mkfifo run/report.json
for ending in onnx xml csv yaml npy npz; do mkfifo pipe.$ending && ln -s /dev/zero device.$ending || exit 1; done",
    );
    assert_eq!(made.code, Some(0), "{}", made.said);
    place
}

#[test]
fn runs_and_their_measures_refuse_pipes_and_devices() {
    let place = place();
    for arguments in [
        "kpi pipe.csv",
        "kpi device.csv",
        "kpi run",
        "check g.yaml",
        "run g.yaml --out o",
        "run g.yaml --out o --param model=device.onnx",
        "run g.yaml --out o --param model=pipe.xml",
        "check pipe.yaml",
        "check device.yaml",
    ] {
        assert_refused(&place, arguments);
    }
}

#[cfg(feature = "learn")]
#[test]
fn what_learns_refuses_pipes_and_devices() {
    let place = place();
    for arguments in [
        "inspect device.yaml",
        "infer --model none --input pipe.npy --output o.npy",
        "evaluate --predictions pipe.npz --out o",
        "manifest validate pipe.csv",
        "train --config device.yaml --manifest pipe.csv --card pipe.yaml --out o",
    ] {
        assert_refused(&place, arguments);
    }
}
