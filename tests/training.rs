//! `fermata train` and `resume` as a new user meets them, including kills at any moment.

mod killed;

use std::f64::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};

use fermata_learn::keyed_random::KeyedRandom;
use fermata_learn::training::RunFolder;
use fermata_vision::{Expression, ModelCard};
use image::{GrayImage, Luma};

use crate::command::{refused, run, succeeds};

/// Labelled pictures, a card and settings.
pub(crate) struct Data {
    folder: PathBuf,
    _keeps_it: tempfile::TempDir,
}

const CARD: &str = "input: {name: input, size: 32, layout: nchw, colour: gray}
interpolation: area
scaling: [{divide: 127.5}, {subtract: 1}]
output: {name: logits, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}
licence: none
source: a test
";

impl Data {
    /// Makes `of_each` training pictures per class, and a quarter as many each for validation and test: bars whose
    /// number is the class.
    pub(crate) fn new(of_each: usize, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut csv = "image,label,source,split,group,sha256,width,height\n".to_owned();
        for row in 0..7 * (of_each + of_each.div_ceil(4) * 2) {
            let (class, place) = (row % 7, row / 7);
            let mut random = KeyedRandom::new(&[row as u64]);
            let (phase, bright) = (random.uniform(0.0, 6.0), random.uniform(60.0, 120.0));
            let picture = GrayImage::from_fn(32, 32, |x, _| {
                let bars = (f64::from(x) / 32.0 * (class + 1) as f64 * TAU + phase).sin();
                let value = 128.0 + bright * bars + 8.0 * random.normal();
                Luma([value.clamp(0.0, 255.0) as u8])
            });
            let name = format!("{row}.png");
            let path = folder.path().join(&name);
            picture.save(&path).unwrap();
            let sha256 = fermata_files::sha256_of_file(&path).unwrap();
            let label = Expression::ALL[class];
            let split = match place {
                place if place < of_each => "train",
                place if place < of_each + of_each.div_ceil(4) => "validation",
                _ => "test",
            };
            csv += &format!("{name},{label},bars,{split},g{row},{sha256},32,32\n");
        }
        let data = Self {
            folder: folder.path().to_owned(),
            _keeps_it: folder,
        };
        data.write("manifest.csv", &csv);
        data.prepare(settings);
        data
    }

    /// Draws pictures with `manifest synth`.
    pub(crate) fn drawn(arguments: &str, settings: &str) -> Self {
        let keeps_it = tempfile::tempdir().unwrap();
        let folder = keeps_it.path().join("drawn");
        let command = format!("manifest synth {arguments} --out {}", folder.display());
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        succeeds(&command);
        let data = Self {
            folder,
            _keeps_it: keeps_it,
        };
        data.prepare(settings);
        data
    }

    fn prepare(&self, settings: &str) {
        self.write("card.yaml", CARD);
        self.write(
            "training.yaml",
            &format!("architecture: small_resnet18_w8_s2_c1\nbatch: 16\nseed: 5\n{settings}"),
        );
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Returns the arguments of a training into a folder, and some more.
    pub(crate) fn train(&self, out: &str, more: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = ["train", "--quiet"].map(str::to_owned).to_vec();
        for (name, file) in [
            ("--config", "training.yaml"),
            ("--manifest", "manifest.csv"),
            ("--card", "card.yaml"),
            ("--out", out),
        ] {
            arguments.extend([name.to_owned(), self.text(file)]);
        }
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        arguments
    }

    pub(crate) fn resume(&self, out: &str, more: &[&str]) -> Vec<String> {
        let more = more.iter().map(|&argument| argument.to_owned());
        ["resume".to_owned(), self.text(out), "--quiet".to_owned()]
            .into_iter()
            .chain(more)
            .collect()
    }

    /// Returns the files that must have the same bytes in equal trainings.
    pub(crate) fn results(&self, out: &str) -> Vec<(&'static str, Vec<u8>)> {
        let files = [
            "checkpoints/last.safetensors",
            "checkpoints/best.safetensors",
            "model/model.safetensors",
            "model/card.yaml",
            "history.csv",
            "metrics.json",
            "predictions_validation.npz",
        ];
        let out = self.path(out);
        files
            .map(|file| (file, fs::read(out.join(file)).unwrap()))
            .to_vec()
    }
}

fn epochs(history: &Path) -> usize {
    fs::read_to_string(history).unwrap().lines().count() - 1
}

#[test]
fn a_network_is_trained_evaluated_and_trained_for_more() {
    let data = Data::new(24, "epochs: 8\nlearning_rate: {base: 4e-3}\n");
    let out = data.text("run");
    let text = succeeds(&data.train("run", &[]));
    for words in ["is the best", "/model", "/curve.svg", "report: "] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    for file in [
        "report.json",
        "graph.yaml",
        "run.log",
        "curve.svg",
        "config.yaml",
    ] {
        assert!(data.path("run").join(file).is_file(), "{file}");
    }
    let model = ModelCard::load(data.path("run/model")).unwrap();
    assert_eq!(
        model.card.architecture.as_deref(),
        Some("small_resnet18_w8_s2_c1")
    );
    // The evaluation gives the same accuracy as the validation.
    let manifest = data.text("manifest.csv");
    let model = format!("{out}/model");
    let measured = data.text("measured");
    let arguments = [
        "evaluate",
        "--model",
        &model,
        "--manifest",
        &manifest,
        "--split",
        "validation",
        "--out",
        &measured,
    ];
    assert_eq!(run(&arguments).0, 0);
    let accuracy = |file: PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["raw"]["metrics"]["accuracy"].as_f64().unwrap()
    };
    let trained = accuracy(data.path("run/metrics.json"));
    assert_eq!(accuracy(data.path("measured/metrics.json")), trained);
    assert!(trained > 0.4, "{trained}");

    refused(
        &data.train("run", &[]),
        &["it is there already", "fermata resume"],
    );
    refused(
        &data.resume("run", &[]),
        &["nothing left to do", "--more N"],
    );
    refused(&data.resume("run", &["--more", "0"]), &["--more"]);
    let most = u32::MAX.to_string();
    refused(
        &data.resume("run", &["--more", &most]),
        &["4294967295 more epochs cannot be trained: the training stands at epoch 8"],
    );
    refused(&data.resume("run", &[]), &["nothing left to do"]);
    succeeds(&data.resume("run", &["--more", "10"]));
    assert_eq!(epochs(&data.path("run/history.csv")), 18);
    let (code, text, _) = run(&["inspect", &out]);
    assert!(
        code == 0 && text.contains("small_resnet18_w8_s2_c1"),
        "{text}"
    );
    for (name, words) in [
        ("run", "stands at   epoch 18 of 18\nbest        epoch "),
        ("run/config.yaml", "manifest    /"),
        ("run/environment.json", "machine     cpu on "),
        ("run/report.json", "books       balance\nfaults      0"),
        ("run/history.csv", "table       18 rows"),
        (
            "training.yaml",
            "training    small_resnet18_w8_s2_c1, 8 epochs, seed 5",
        ),
    ] {
        let text = succeeds(&["inspect".to_owned(), data.text(name)]);
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    for command in ["train", "resume"] {
        let (code, help, _) = run(&[command, "--help"]);
        assert!(
            code == 0 && help.contains("Examples:\n  fermata "),
            "{help}"
        );
    }
}

#[test]
fn a_training_without_a_fold_does_not_see_it() {
    let data = Data::new(8, "epochs: 1\n");
    succeeds(&data.train("run", &["--without-fold", "1/2"]));
    let folder = RunFolder::open(&data.path("run")).unwrap();
    let fold = folder.config().without_fold.unwrap();
    assert_eq!((fold.fold, fold.folds), (1, 2));
    let rows = folder.progress().unwrap().history[0].rows;
    assert!(rows > 8 && rows < 48, "{rows} of 56");
    for wrong in ["2/2", "0/1", "x", "0"] {
        refused(
            &data.train("other", &["--without-fold", wrong]),
            &["--without-fold is ", "0/2"],
        );
    }
}

/// Runs the program, which fails halfway; returns its output.
fn stopped(arguments: &[String]) -> String {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, text, errors) = run(&arguments);
    assert_eq!(code, 1, "{text}{errors}");
    text
}

#[test]
fn the_graph_of_a_training_goes_on_in_its_folder() {
    let data = Data::new(8, "epochs: 2\n");
    succeeds(&data.train("whole", &[]));
    let picture = fs::read(data.path("3.png")).unwrap();
    fs::remove_file(data.path("3.png")).unwrap();
    stopped(&data.train("run", &[]));
    fs::write(data.path("3.png"), picture).unwrap();
    let graph = |out: &str| {
        let out = data.text(out);
        let words = [
            "run",
            "graphs/train_teacher.yaml",
            "--param",
            "readers=1",
            "--quiet",
            "--out",
            &out,
        ];
        words.map(str::to_owned)
    };
    succeeds(&graph("run"));
    assert_eq!(data.results("whole"), data.results("run"));
    assert!(!data.path("run/earlier").exists());
    refused(&graph("run"), &["nothing left to do", "--more N"]);
    assert_eq!(data.results("whole"), data.results("run"));
    // Without a training there is nothing to resume.
    refused(&graph("none"), &["it is not a training's folder"]);
    assert!(!data.path("none").exists());
}

#[test]
fn more_epochs_in_the_place_of_planned_ones_are_warned_of() {
    let data = Data::new(4, "epochs: 5\n");
    let picture = fs::read(data.path("3.png")).unwrap();
    fs::remove_file(data.path("3.png")).unwrap();
    stopped(&data.train("run", &[]));
    fs::write(data.path("3.png"), picture).unwrap();
    let warned = |more: &str| {
        let arguments = data.resume("run", &["--more", more]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, text, errors) = run(&arguments);
        assert_eq!(code, 0, "{text}{errors}");
        errors
    };
    let errors = warned("2");
    let words = "stands at epoch 0 of 5: the 5 that were still planned";
    assert!(
        errors.contains(words) && errors.contains("to epoch 2;"),
        "{errors}"
    );
    assert_eq!(epochs(&data.path("run/history.csv")), 2);
    assert!(!warned("1").contains("dropped"));
    refused(
        &data.resume("run", &["--max-failures", "3"]),
        &["--max-failures is about softlabels"],
    );
}

#[test]
fn what_cannot_be_trained_is_one_clear_error_and_leaves_nothing() {
    let data = Data::new(4, "epochs: 1\n");
    let refuse = |arguments: &[String], words: &[&str]| {
        refused(arguments, words);
        assert!(!data.path("run").exists() && !data.path("run.part").exists());
    };
    let train = |more: &[&str]| data.train("run", more);
    let none = data.text("none");
    refuse(&train(&["--softlabels", &none]), &["none"]);
    refuse(&train(&["--votes", &none]), &["the votes", "none"]);
    refuse(&train(&["--device", "cuda:7"]), &["cuda"]);
    for (file, text, words) in [
        (
            "training.yaml",
            "architecture: vgg\nbatch: 16\nepochs: 1\n",
            "no network `vgg`",
        ),
        (
            "training.yaml",
            "architecture: small_resnet18_w8_s2_c1\nbatch: 16\nepochs: 1\nbatches: 3\n",
            "batches",
        ),
        (
            "training.yaml",
            "architecture: small_resnet18_w8_s2_c1\nbatch: 16\nepochs: 0\n",
            "epochs is 0",
        ),
        (
            "training.yaml",
            "architecture: small_resnet18_w8_s2_c1\nbatch: 16\nepochs: 1\nseed: 1\nseed: 2\n",
            "training.yaml:5:1: `seed` is given twice\n",
        ),
        (
            "training.yaml",
            "architecture: small_resnet18_w8_s2_c1\nbatch: 16\nepochs: -1\n",
            "training.yaml:3:9: `-1` is given; expected a whole number from 0 to 4294967295\n",
        ),
        ("card.yaml", "input: 3\n", "card.yaml"),
        ("manifest.csv", "image\n", "has the columns image"),
    ] {
        let good = fs::read_to_string(data.path(file)).unwrap();
        data.write(file, text);
        refuse(&train(&[]), &[words]);
        data.write(file, &good);
    }
    for file in ["training.yaml", "card.yaml", "manifest.csv"] {
        let good = fs::read_to_string(data.path(file)).unwrap();
        fs::remove_file(data.path(file)).unwrap();
        refuse(&train(&[]), &[file, "No such file"]);
        data.write(file, &good);
    }
    let missing = ["resume".to_owned(), none];
    refuse(&missing, &["none is not there: name the folder of a run"]);
    let file = ["resume".to_owned(), data.text("card.yaml")];
    refuse(&file, &["card.yaml is not a folder"]);

    // A missing image ends the training, and what was trained is kept.
    fs::remove_file(data.path("3.png")).unwrap();
    let text = stopped(&train(&[]));
    assert!(text.contains("node `train`: 3.png: "), "{text}");
    // However many rows follow it, they do not bury the reason.
    assert!(text.matches("not trained").count() <= 1, "{text}");
    assert!(RunFolder::is_in(&data.path("run")));
    data.write("manifest.csv", "image\n");
    refused(&data.resume("run", &[]), &["has the columns image"]);
}
