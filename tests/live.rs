//! The live graph on real video: eight streams, one shared classifier, every frame exactly once and in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skipped::data;
use crate::support::{card_of_mini_xception, fermata};

/// Frames of each video, as counted in their README.
const VIDEOS: [(&str, usize); 8] = [
    ("intel_asl_again.mkv", 77),
    ("intel_face-demographics-walking-and-pause.mp4", 41),
    ("intel_head-pose-face-detection-female-and-male.mp4", 56),
    ("intel_classroom.mp4", 45),
    ("pyfeat_WolfgangLanger_Pexels.mp4", 472),
    ("pyfeat_single_face.mp4", 72),
    ("pyfeat_no_face.mp4", 95),
    ("pyfeat_noface_face.mov", 169),
];

/// Returns a stream's name: a letter of the alphabet.
fn stream_name(index: usize) -> String {
    char::from(b'a' + index as u8).to_string()
}

/// Returns the presentation times that ffprobe reports, in milliseconds.
fn probe(video: &Path) -> Vec<f64> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(["-show_entries", "frame=best_effort_timestamp_time"])
        .arg(video)
        .output()
        .expect("ffprobe, from Debian's package ffmpeg");
    let text = String::from_utf8(output.stdout).expect("ffprobe writes text");
    text.lines()
        .filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok())
        .map(|seconds| seconds * 1e3)
        .collect()
}

fn run_all(videos: &Path, detector: &Path, model: &Path, out: &Path) {
    let mut command = Command::new(fermata());
    command.args([
        "run",
        "graphs/live.yaml",
        "--quiet",
        "--set",
        "run.clock=asap",
    ]);
    command
        .arg("--param")
        .arg(format!("detector={}", detector.display()));
    command
        .arg("--param")
        .arg(format!("model={}", model.display()));
    command.arg("--out").arg(out);
    for (index, (file, _)) in VIDEOS.iter().enumerate() {
        let uri = videos.join(file).display().to_string();
        command
            .arg("--stream")
            .arg(format!("{}={uri}", stream_name(index)));
    }
    let output = command.output().expect("the program");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns (sequence, pts) of each frame in the order of the rows, by stream.
fn frames(csv: &Path) -> BTreeMap<String, Vec<(u64, f64)>> {
    let mut frames: BTreeMap<String, Vec<(u64, f64)>> = BTreeMap::new();
    let mut reader = csv::Reader::from_path(csv).expect("a CSV");
    for row in reader.records() {
        let row = row.expect("a row");
        let frame = (row[2].parse().unwrap(), row[3].parse().unwrap());
        let stream = frames.entry(row[0].to_owned()).or_default();
        if stream.last() != Some(&frame) {
            stream.push(frame);
        }
    }
    frames
}

#[test]
fn eight_videos_in_one_graph_deliver_every_frame_once_and_reproducibly() {
    let Some(data) = data() else { return };
    let videos = data.join("videos");
    let detector = data.join("detect/yunet_n_dynamic.onnx");
    let model = card_of_mini_xception(&data);
    let out = tempfile::tempdir().unwrap();
    let runs: Vec<PathBuf> = ["first", "second"]
        .map(|name| out.path().join(name))
        .to_vec();
    for run in &runs {
        run_all(&videos, &detector, model.path(), run);
    }
    let csv = |run: &PathBuf| std::fs::read(run.join("faces.csv")).expect("faces.csv");
    assert_eq!(csv(&runs[0]), csv(&runs[1]), "two runs give the same bytes");

    let frames = frames(&runs[0].join("faces.csv"));
    for (index, (file, count)) in VIDEOS.iter().enumerate() {
        let stream = &frames[&stream_name(index)];
        let sequences: Vec<u64> = stream.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, (0..*count as u64).collect::<Vec<_>>(), "{file}");
        let times = probe(&videos.join(file));
        assert_eq!(times.len(), *count, "{file}");
        for ((_, pts), expected) in stream.iter().zip(&times) {
            assert!(
                (pts - expected).abs() < 0.002,
                "{file}: {pts} is not {expected}"
            );
        }
        let annotated = probe(&runs[0].join(format!("{}.mp4", stream_name(index))));
        assert_eq!(annotated.len(), *count, "annotated {file}");
        let offset = annotated[0] - times[0];
        for (pts, expected) in annotated.iter().zip(&times) {
            assert!(
                (pts - expected - offset).abs() < 0.02,
                "annotated {file}: {pts} is not {expected}"
            );
        }
    }
    let report = std::fs::read_to_string(runs[0].join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["balanced"], true);
    assert_eq!(report["clock"], "asap");
    assert_eq!(report["streams"]["e"]["delivered"], 472);
    assert!(report["batches"]["emotion"]["count"].as_u64().unwrap() > 0);
}
