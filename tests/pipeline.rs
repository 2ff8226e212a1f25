//! The whole way in small, on drawn people: pictures with labels, two teachers, softlabels, a student by each objective, an export, and a live
//! graph that says what people express whom no training has seen. Numbers are held against bounds that chance does not reach.

use std::fs;
use std::path::{Path, PathBuf};

use fermata_actors::payload::VideoFrame;
use fermata_actors::sources::synthetic_faces::SyntheticFaces;
use fermata_engine::testing::SourceDriver;
use fermata_learn::keyed_random::KeyedRandom;
use fermata_vision::{Frame, Rect};
use image::imageops::{FilterType, resize};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use crate::learning::run;

const SIDE: u32 = 32;
/// Scenes to train, to validate and to test; each has its own people.
const SCENES: [(&str, u64); 3] = [("train", 40), ("validation", 10), ("test", 16)];

const CARD: &str = "input: {name: input, size: 32, layout: nchw, colour: gray}
interpolation: area
scaling: [{divide: 127.5}, {subtract: 1}]
output: {name: logits, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}
licence: none
source: drawn people
";

/// What all trainings share.
const SETTINGS: &str = "epochs: 12
batch: 16
learning_rate: {base: 3e-3, least: 0, warm_up_epochs: 1}
augmentation: {flip: 0.5, shift: 0.03, scale: 0.05, rotate_degrees: 3, brightness: 0.1, contrast: 0, gamma: 0, erase: 0}
";

/// A square around a face, a little beside it and of a size a little off, as detectors find it.
fn cut_out(frame: &Frame, face: &Rect, random: &mut KeyedRandom) -> RgbImage {
    let width = f64::from(face.w);
    let side = (width * random.uniform(0.9, 1.25)).round();
    let mut shift = || width * random.uniform(-0.07, 0.07);
    let left = (f64::from(face.x + face.w / 2.0) - side / 2.0 + shift()).round() as i64;
    let top = (f64::from(face.y + face.h / 2.0) - side / 2.0 + shift()).round() as i64;
    let inside = |place: i64, most: usize| place.clamp(0, most as i64 - 1) as usize;
    let square = RgbImage::from_fn(side as u32, side as u32, |x, y| {
        let x = inside(left + i64::from(x), frame.width());
        let y = inside(top + i64::from(y), frame.height());
        let pixel = &frame.bgr()[3 * (y * frame.width() + x)..][..3];
        Rgb([pixel[2], pixel[1], pixel[0]])
    });
    resize(&square, SIDE, SIDE, FilterType::Triangle)
}

/// Draws people, one picture of each for each expression that they go through.
fn draw(folder: &Path) -> PathBuf {
    let mut csv = "image,label,source,split,group,sha256,width,height\n".to_owned();
    let mut seed = 1000;
    for (split, scenes) in SCENES {
        for _ in 0..scenes {
            seed += 1;
            let mut random = KeyedRandom::new(&[seed]);
            // An expression stays for two seconds: every other frame is in the middle of one.
            let settings = json!({
                "seed": seed, "faces": 1 + seed % 3, "fps": 1, "count": 14
            });
            let source = SourceDriver::<SyntheticFaces>::new(settings).unwrap();
            for (number, packet) in source.enumerate().filter(|(number, _)| number % 2 == 1) {
                let video = packet.unwrap().take::<VideoFrame>();
                let truth = video.truth.as_ref().unwrap();
                for (face, drawn) in truth.faces.iter().enumerate() {
                    let name = format!("{seed}-{number}-{face}.png");
                    let path = folder.join(&name);
                    cut_out(&video.frame, &drawn.rect, &mut random)
                        .save(&path)
                        .unwrap();
                    let sha256 = fermata_files::sha256_of_file(&path).unwrap();
                    csv += &format!(
                        "{name},{},drawn,{split},scene{seed},{sha256},{SIDE},{SIDE}\n",
                        drawn.expression
                    );
                }
            }
        }
    }
    let manifest = folder.join("manifest.csv");
    fs::write(&manifest, csv).unwrap();
    manifest
}

struct Pipeline {
    folder: tempfile::TempDir,
}

impl Pipeline {
    fn text(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    #[track_caller]
    fn runs(&self, arguments: &[&str]) {
        let (code, text, errors) = run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {errors}{text}");
    }

    fn train(&self, name: &str, network: &str, more: &str, softlabels: bool) {
        let (settings, out) = (self.text(&format!("{name}.yaml")), self.text(name));
        fs::write(
            &settings,
            format!("architecture: {network}\n{SETTINGS}{more}"),
        )
        .unwrap();
        let (manifest, card) = (self.text("manifest.csv"), self.text("card.yaml"));
        let soft = self.text("soft");
        let mut arguments = vec![
            "train",
            "--quiet",
            "--config",
            &settings,
            "--manifest",
            &manifest,
            "--card",
            &card,
            "--out",
            &out,
        ];
        if softlabels {
            arguments.extend(["--softlabels", &soft]);
        }
        self.runs(&arguments);
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.text(name)).unwrap()).unwrap()
    }

    /// Accuracy on the test rows, and NLL at the temperature that fits the validation rows.
    fn measured(&self, name: &str) -> (f64, f64) {
        let (model, out) = (
            self.text(&format!("{name}/model")),
            self.text(&format!("{name}-test")),
        );
        let manifest = self.text("manifest.csv");
        self.runs(&[
            "evaluate",
            "--model",
            &model,
            "--manifest",
            &manifest,
            "--calibrate-on",
            "validation",
            "--out",
            &out,
        ]);
        let metrics = self.json(&format!("{name}-test/metrics.json"));
        let number = |of: &str, what: &str| metrics[of]["metrics"][what].as_f64();
        let accuracy = number("raw", "accuracy").unwrap();
        (accuracy, number("scaled", "nll").unwrap_or(f64::INFINITY))
    }
}

#[test]
fn from_pictures_to_a_live_graph() {
    let folder = tempfile::tempdir().unwrap();
    draw(folder.path());
    fs::write(folder.path().join("card.yaml"), CARD).unwrap();
    let pipeline = Pipeline { folder };
    let manifest = pipeline.text("manifest.csv");
    let student = "small_resnet18_w8_s1_c1";

    // Teachers of two widths.
    pipeline.train("a", "small_resnet18_w12_s1_c1", "seed: 1\n", false);
    pipeline.train("b", "small_resnet18_w8_s1_c1", "seed: 2\n", false);
    for teacher in ["a", "b"] {
        let (accuracy, nll) = pipeline.measured(teacher);
        println!("teacher {teacher}: accuracy {accuracy:.3}, NLL {nll:.3}");
        assert!(accuracy > 0.55, "{teacher}: {accuracy}");
    }
    let [a, b] =
        ["a", "b"].map(|name| format!("{name}={}", pipeline.text(&format!("{name}/model"))));
    let (soft, settings) = (pipeline.text("soft"), pipeline.text("a.yaml"));
    pipeline.runs(&[
        "softlabels",
        "--quiet",
        "--manifest",
        &manifest,
        "--teacher",
        &a,
        "--teacher",
        &b,
        "--views",
        "4",
        "--seed",
        "3",
        "--config",
        &settings,
        "--split",
        "train",
        "--out",
        &soft,
    ]);
    let report = pipeline.json("soft/alignmentreport.json");
    let counts = &report["counts"];
    assert_eq!(
        (&counts["rows_in"], &counts["failed"]),
        (&counts["rows_out"], &json!(0))
    );

    // Students by each objective, with equal epochs and the same pictures.
    let objectives = [
        ("ce", "views: {count: 4, seed: 3}\n"),
        (
            "kd",
            "objective: {distillation: {plain: {temperature: 2, alpha: 0.5}}}\n",
        ),
        (
            "dkd",
            "objective: {distillation: {decoupled: {temperature: 2, alpha: 0.5, beta: 2, form: report}}}\n",
        ),
        (
            "dist",
            "objective: {distillation: {correlation: {temperature: 4}}}\n",
        ),
    ];
    for (name, objective) in objectives {
        pipeline.train(
            name,
            student,
            &format!("seed: 4\n{objective}"),
            name != "ce",
        );
        let (accuracy, nll) = pipeline.measured(name);
        println!("student {name}: accuracy {accuracy:.3}, NLL {nll:.3}");
        assert!(accuracy > 0.5 && nll < 1.4, "{name}: {accuracy}, {nll}");
    }

    // The live graph reads people whom nobody has seen.
    let (weights, card, model) = (
        pipeline.text("kd/model/model.safetensors"),
        pipeline.text("kd/model/card.yaml"),
        pipeline.text("shipped"),
    );
    pipeline.runs(&[
        "export",
        "--arch",
        student,
        "--weights",
        &weights,
        "--card",
        &card,
        "--output",
        &model,
    ]);
    let graph = pipeline.text("live.yaml");
    fs::write(
        &graph,
        "fermata: 1
params: {model: null}
streams: {left: 9001, right: 9002}
nodes:
  capture: {use: synthetic_faces, each: stream, seed: \"${stream.uri}\", faces: 2, count: 300, fps: 10}
  detect:  {use: detect_faces, in: capture, model: haar, min_size: 60}
  track:   {use: track_faces, each: stream, in: detect}
  crop:    {use: crop_faces, each: stream, in: track, model: \"${model}\"}
  emotion: {use: classify_expression, in: crop, model: \"${model}\", batch: {max: 16, wait: 8ms}}
  log:     {use: write_csv, in: emotion, path: \"${run.dir}/faces.csv\"}
run: {clock: asap}
",
    )
    .unwrap();
    let (param, out) = (format!("model={model}"), pipeline.text("live"));
    pipeline.runs(&["run", "--quiet", &graph, "--param", &param, "--out", &out]);
    let mut table = csv::Reader::from_path(pipeline.text("live/faces.csv")).unwrap();
    let header = table.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let (said, truth) = (column("raw_label"), column("truth"));
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let known = rows
        .iter()
        .filter(|row| !row[truth].is_empty() && !row[said].is_empty());
    let (known, right) = known.fold((0, 0), |(known, right), row| {
        (known + 1, right + usize::from(row[said] == row[truth]))
    });
    let share = right as f64 / f64::from(known);
    println!("live: {share:.3} of {known} faces");
    // 600 frames with two faces each; the change of an expression is nobody's.
    assert!(known > 600 && share > 0.45, "{share} of {known}");
}
