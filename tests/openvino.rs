//! Models run by OpenVINO, in f32 and bf16, compared with ONNX Runtime's own kernels: through the program, where its
//! build of ONNX Runtime is installed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use crate::skipped::{data, skip};
use crate::support::{card_of_mini_xception, fermata, repository};

fn program(arguments: &[&str]) -> Output {
    let started = Command::new(fermata())
        .args(arguments)
        .env("NO_COLOR", "1")
        .output();
    started.expect("the program")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns whether the ONNX Runtime that tests use supports OpenVINO.
fn is_installed() -> bool {
    let said = program(&["doctor"]).stdout;
    let said = String::from_utf8_lossy(&said);
    said.lines()
        .any(|line| line.starts_with("ok") && line.contains("OpenVINO provider"))
}

/// A row of the table with a detected box: box, score, smoothed label.
struct Found {
    rect: [f64; 4],
    score: f64,
    label: String,
}

type Faces = BTreeMap<(String, u64), Vec<Found>>;

fn faces(path: &Path) -> Faces {
    let mut faces = Faces::new();
    for row in csv::Reader::from_path(path).expect("a table").records() {
        let row = row.expect("a row");
        let number = |column: usize| row[column].parse::<f64>().ok();
        let frame = (row[0].to_owned(), row[2].parse().expect("a sequence"));
        let found = faces.entry(frame).or_default();
        if let (Some(x), Some(y), Some(w), Some(h), Some(score)) =
            (number(5), number(6), number(7), number(8), number(9))
        {
            let label = row[11].to_owned();
            found.push(Found {
                rect: [x, y, w, h],
                score,
                label,
            });
        }
    }
    faces
}

/// The differences between the faces of two runs.
#[derive(Debug, Default)]
struct Differences {
    faces: usize,
    labels: usize,
    /// Faces whose boxes differ by more than 2 pixels and more than 3 % of their width.
    moved: usize,
    /// The largest difference of a side of a box, as a share of the box's width.
    share: f64,
    score: f64,
}

/// Compares the faces of two runs. A face found in only one of them must have a score close to the threshold.
fn differences(one: &Faces, other: &Faces, least_score: f64) -> Differences {
    let mut differences = Differences::default();
    assert!(one.keys().eq(other.keys()), "the same frames");
    for (frame, found) in one {
        let mut others: Vec<&Found> = other[frame].iter().collect();
        for face in found {
            let apart = |other: &Found| {
                let sides = face.rect.iter().zip(&other.rect);
                sides.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
            };
            let nearest = (0..others.len())
                .min_by(|&a, &b| apart(others[a]).total_cmp(&apart(others[b])))
                .filter(|&index| apart(others[index]) < 0.3 * face.rect[2]);
            let Some(nearest) = nearest else {
                assert!(
                    face.score < least_score + 0.02,
                    "{frame:?}: {:?}",
                    face.rect
                );
                continue;
            };
            let other = others.swap_remove(nearest);
            differences.faces += 1;
            differences.labels += usize::from(face.label != other.label);
            let share = apart(other) / face.rect[2];
            differences.moved += usize::from(apart(other) > 2.0 && share > 0.03);
            differences.share = differences.share.max(share);
            differences.score = differences.score.max((face.score - other.score).abs());
        }
        for face in others {
            assert!(
                face.score < least_score + 0.02,
                "{frame:?}: {:?}",
                face.rect
            );
        }
    }
    differences
}

#[test]
fn a_device_or_precision_that_is_not_there_is_refused_with_what_to_do() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let model = card_of_mini_xception(&data);
    let clip = data.join("videos/pyfeat_single_face.mp4");
    let check = |set: &[&str]| {
        let graph = repository("graphs/live.yaml").display().to_string();
        let stream = format!("a={}", clip.display());
        let param = format!("model={}", model.path().display());
        let mut arguments = vec!["check", &graph, "--stream", &stream, "--param", &param];
        arguments.extend(set.iter().flat_map(|set| ["--set", set]));
        let output = Command::new(fermata())
            .args(arguments)
            .current_dir(folder.path())
            .env("NO_COLOR", "1")
            .output()
            .expect("the program");
        (output.status.code(), errors(&output))
    };
    let (code, said) = check(&["nodes.emotion.precision=bf16"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("`precision: bf16` needs `device: openvino`"),
        "{said}"
    );
    let (code, said) = check(&["nodes.emotion.device=openvino"]);
    if is_installed() {
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains("device=openvino") && said.contains("OpenVINO "),
            "{said}"
        );
    } else {
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("make setup-openvino"), "{said}");
    }
    let (code, said) = check(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("device=cpu precision=f32 providers=CPU "),
        "{said}"
    );
}

#[test]
fn what_openvino_finds_is_what_the_cpu_provider_finds_also_in_bf16() {
    let Some(data) = data() else { return };
    if !is_installed() {
        skip("this ONNX Runtime has no OpenVINO provider (make setup-openvino)");
        return;
    }
    #[cfg(target_arch = "x86_64")]
    let has_bf16 = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let has_bf16 = false;
    let folder = tempfile::tempdir().expect("a folder");
    let clips = [
        "intel_classroom.mp4",
        "intel_face-demographics-walking-and-pause.mp4",
        "pyfeat_single_face.mp4",
        "intel_head-pose-face-detection-female-and-male.mp4",
        "pyfeat_WolfgangLanger_Pexels.mp4",
    ];
    let run = |device: &str, precision: &str| {
        let out = folder.path().join(format!("{device}-{precision}"));
        let mut command = Command::new(fermata());
        command
            .args(["run", "--quiet"])
            .arg(repository("graphs/bench/fer.yaml"));
        command.arg("--out").arg(&out);
        let detector = data.join("detect/yunet_n_dynamic.onnx");
        for (name, value) in [
            (
                "model",
                repository("models/expression").display().to_string(),
            ),
            ("detector", detector.display().to_string()),
            ("device", device.to_owned()),
            ("precision", precision.to_owned()),
            ("every", "3".to_owned()),
        ] {
            command.arg("--param").arg(format!("{name}={value}"));
        }
        for (number, clip) in clips.iter().enumerate() {
            let clip = data.join("videos").join(clip);
            command
                .arg("--stream")
                .arg(format!("s{number}={}", clip.display()));
        }
        let output = command.output().expect("the program");
        assert!(output.status.success(), "{}", errors(&output));
        faces(&out.join("faces.csv"))
    };
    let reference = run("cpu", "f32");
    let plain = differences(&reference, &run("openvino", "f32"), 0.6);
    assert!(plain.faces > 150, "{plain:?}");
    assert!(plain.share < 0.001 && plain.score < 0.001, "{plain:?}");
    assert_eq!(plain.labels, 0);
    if !has_bf16 {
        skip("bf16: the processor has none");
        return;
    }
    let short = differences(&reference, &run("openvino", "bf16"), 0.6);
    println!("bf16 beside f32: {short:?}");
    assert!(short.faces > 150, "{short:?}");
    assert!(short.score < 0.02 && short.share < 0.15, "{short:?}");
    assert!(short.labels * 100 <= short.faces, "{short:?}");
    assert!(short.moved * 50 <= short.faces, "{short:?}");
}
