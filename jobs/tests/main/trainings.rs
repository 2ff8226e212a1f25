//! Trainings for tests: a set of pictures that a small network can learn, a training in memory, and the same as a
//! graph.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::{Graph, LoadOptions, Overrides, Registry, Report, RunOptions, RunningGraph};
use fermata_jobs::training_status::{Status, TrainingStatus};
use fermata_learn::keyed_random::KeyedRandom;
use fermata_learn::manifest::{COLUMNS, Manifest, Split};
use fermata_learn::predictions::Predictions;
use fermata_learn::training::{
    Batch, Plan, Planned, RunConfig, RunFolder, TrainingError, TrainingSpec,
};
use fermata_vision::{Expression, Frame, FramePool, ModelCard, Preprocessor, image_file};
use image::{GrayImage, Luma};
use tch::Device;

/// Draws a picture of a class: as many bars as the class's index, with individual position and brightness, and noise.
fn picture(class: usize, number: u64) -> GrayImage {
    let mut random = KeyedRandom::new(&[class as u64, number]);
    let (phase, bright) = (random.uniform(0.0, 6.0), random.uniform(60.0, 120.0));
    GrayImage::from_fn(32, 32, |x, _| {
        let bars = (f64::from(x) / 32.0 * (class + 1) as f64 * TAU + phase).sin();
        let value = 128.0 + bright * bars + 8.0 * random.normal();
        Luma([value.clamp(0.0, 255.0) as u8])
    })
}

/// Writes `counts` pictures of each class for training and validation; returns the manifest.
pub(crate) fn set(folder: &Path, counts: [u64; 2]) -> PathBuf {
    let mut text = format!("{}\n", COLUMNS.join(","));
    let mut number = 0;
    for (split, count) in ["train", "validation"].into_iter().zip(counts) {
        for class in (0..count).flat_map(|_| 0..7) {
            number += 1;
            let name = format!("{number}.png");
            let path = folder.join(&name);
            picture(class, number).save(&path).unwrap();
            let sha256 = fermata_files::sha256_of_file(&path).unwrap();
            let label = Expression::ALL[class];
            text += &format!("{name},{label},bars,{split},{name},{sha256},32,32\n");
        }
    }
    let path = folder.join("manifest.csv");
    fs::write(&path, text).unwrap();
    path
}

pub(crate) fn card() -> ModelCard {
    let text = "input: {name: input, size: 32, layout: nchw, colour: gray}
interpolation: area
scaling: [{divide: 127.5}, {subtract: 1}]
output: {name: logits, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}
licence: none
source: a test
";
    ModelCard::parse(text, Path::new("card.yaml")).unwrap()
}

pub(crate) fn spec(more: &str) -> TrainingSpec {
    let yaml = format!("architecture: small_resnet18_w8_s2_c1\nbatch: 16\nseed: 5\n{more}");
    serde_saphyr::from_str(&yaml).unwrap()
}

/// Settings that use everything with a state: momentum, average, augmentation, drawn rows, clipping, warm-up.
pub(crate) const EVERYTHING: &str = "epochs: 3
sampling: balanced
rule: {sgd: {momentum: 0.9, nesterov: true}}
learning_rate: {base: 0.02, least: 0.001, warm_up_epochs: 1}
average_decay: 0.9
dropout: 0.3
clip_norm: 1
checkpoint_every: 2
head: {arcface: {scale: 16, margin: 0.3, warm_up: 1, ramp: 1}}
objective: {label_smoothing: 0.1, negative: {added: {weight: 0.1}}}
";

/// What a training learns from besides labels.
#[derive(Default)]
pub(crate) struct Besides {
    pub(crate) softlabels: Option<PathBuf>,
    pub(crate) votes: Option<PathBuf>,
}

pub(crate) fn create_besides(
    folder: &Path,
    manifest: &Path,
    spec: TrainingSpec,
    besides: &Besides,
) -> Result<RunFolder, TrainingError> {
    let (softlabels, votes) = (besides.softlabels.as_deref(), besides.votes.as_deref());
    let config = RunConfig::begin(manifest, softlabels, votes, None, spec)?;
    RunFolder::create(folder, config, card(), Device::Cpu)
}

pub(crate) fn create(folder: &Path, manifest: &Path, spec: TrainingSpec) -> RunFolder {
    create_besides(folder, manifest, spec, &Besides::default()).unwrap()
}

/// A training run by a graph.
pub(crate) struct Running {
    graph: RunningGraph,
    status: Arc<TrainingStatus>,
}

impl Running {
    /// Starts a graph of the project in a training's folder.
    pub(crate) fn start(folder: &Path, graph: &str, set: &[&str]) -> Self {
        let mut registry = Registry::builtin();
        fermata_jobs::register(&mut registry);
        let mut options = LoadOptions::new(folder);
        options.overrides = Overrides {
            set: set.iter().map(|&one| one.to_owned()).collect(),
            ..Overrides::default()
        };
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graphs");
        let graph = Graph::load(&file.join(graph), &registry, &options).unwrap();
        graph.check(&registry).unwrap();
        let status = Arc::new(TrainingStatus::default());
        let options = RunOptions {
            services: fermata_jobs::services().with(Arc::clone(&status)),
            ..RunOptions::default()
        };
        let graph = RunningGraph::start(graph, Arc::new(registry), options).unwrap();
        Self { graph, status }
    }

    pub(crate) fn wait(self) -> Report {
        let report = self.graph.wait();
        assert!(report.balanced, "{:?}", report.imbalances);
        report
    }

    /// Waits until the training has reached a state. None if it is over before.
    pub(crate) fn until(mut self, is_so_far: impl Fn(&Status) -> bool) -> Option<Self> {
        while !self.status.now().is_some_and(|status| is_so_far(&status)) {
            self.graph = self.graph.wait_for(Duration::from_millis(1)).err()?;
        }
        Some(self)
    }

    pub(crate) fn drain(self) -> Report {
        self.graph.handle().drain();
        self.wait()
    }

    pub(crate) fn status(&self) -> Arc<TrainingStatus> {
        Arc::clone(&self.status)
    }
}

/// Runs a training to its end.
pub(crate) fn run(folder: &Path, set: &[&str]) -> Report {
    let report = Running::start(folder, "train_teacher.yaml", set).wait();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    report
}

/// Runs the same training in memory with the bare trainer: each picture is read before it begins.
pub(crate) fn in_memory(path: &Path) {
    let folder = RunFolder::open(path).unwrap();
    let config = folder.config();
    let manifest = Manifest::read(&config.manifest).unwrap();
    let rows = config.rows(&manifest).unwrap();
    let (softlabels, votes) = (config.softlabels().unwrap(), config.votes().unwrap());
    let pool = FramePool::new();
    let pictures: HashMap<usize, Frame> = (0..manifest.rows.len())
        .map(|row| {
            let path = manifest.folder.join(&manifest.rows[row].image);
            (row, image_file::read(&path, &pool).unwrap())
        })
        .collect();
    let mut preprocessor = Preprocessor::new(folder.card()).unwrap();
    let mut trainer = folder.trainer(&rows, Device::Cpu).unwrap();
    tch::set_num_threads(config.training.threads as i32);
    let hash = |row: usize| manifest.rows[row].sha256;
    let label = |row: usize| manifest.rows[row].label.index() as i64;
    let mut input = |row: usize, view: u32| {
        let training = &config.training;
        let variation = training
            .augmentation
            .view(training.view_seed(), view, &hash(row));
        let mut input = vec![0.0; preprocessor.len()];
        let Some(variation) = variation else {
            preprocessor.run_whole(&pictures[&row], &mut input).unwrap();
            return input;
        };
        let varied = variation.apply(&pictures[&row], &pool).unwrap();
        preprocessor.run_whole(&varied, &mut input).unwrap();
        variation.erase(&mut input, &folder.card().input);
        input
    };
    let plan: Vec<Planned> = Plan::new(&config.training, &rows, trainer.progress()).collect();
    let same_step = |one: &Planned, other: &Planned| match (one, other) {
        (
            Planned::Train { epoch, step, .. },
            Planned::Train {
                epoch: e, step: s, ..
            },
        ) => (epoch, step) == (e, s),
        (Planned::Validation { .. }, Planned::Validation { .. }) => true,
        _ => false,
    };
    for part in plan.chunk_by(same_step) {
        if trainer.is_done() {
            break;
        }
        match part[0] {
            Planned::EpochEnd { .. } => {}
            Planned::Train { epoch, step, .. } => {
                let mut batch = Batch {
                    epoch,
                    step,
                    ..Batch::default()
                };
                for planned in part {
                    let Planned::Train { view, row, .. } = *planned else {
                        unreachable!("one step")
                    };
                    batch.inputs.extend(input(row, view));
                    batch.labels.push(label(row));
                    if let Some(softlabels) = &softlabels {
                        let logits = softlabels.logits(&hash(row), Split::Train, view).unwrap();
                        batch.teacher.get_or_insert_default().extend(logits);
                    }
                    if let Some(votes) = &votes {
                        let shares = votes.shares(&hash(row)).unwrap();
                        batch.targets.get_or_insert_default().extend(shares);
                    }
                }
                trainer.train(&batch).unwrap();
            }
            Planned::Validation { .. } => {
                let (mut logits, mut labels, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
                for chunk in part.chunks(config.training.batch) {
                    let mut inputs = Vec::new();
                    for planned in chunk {
                        let Planned::Validation { row, .. } = *planned else {
                            unreachable!("one validation")
                        };
                        inputs.extend(input(row, 0));
                        labels.push(label(row));
                        hashes.push(hash(row));
                    }
                    let predicted = trainer.predict(&inputs).unwrap();
                    logits.extend(predicted.into_iter().map(f64::from));
                }
                let classes = Expression::ALL.map(|class| class.to_string()).to_vec();
                let predictions = Predictions::new(classes, logits, &labels).unwrap();
                let predictions = predictions.with_hashes(hashes);
                let row = trainer.end_epoch(&predictions).unwrap().clone();
                folder.keep(&mut trainer, &row, &predictions).unwrap();
            }
        }
    }
    folder.complete(trainer.progress()).unwrap();
}

/// Returns the files that are identical for two runs of the same training.
pub(crate) fn results(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let files = [
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
        "model/model.safetensors",
        "model/card.yaml",
        "history.csv",
        "curve.svg",
        "metrics.json",
        "predictions_validation.npz",
    ];
    files
        .map(|file| (file, fs::read(folder.join(file)).unwrap()))
        .to_vec()
}

/// Asserts that two folders hold the same training, bit for bit.
#[track_caller]
pub(crate) fn assert_same(one: &Path, other: &Path) {
    for ((file, found), (_, expected)) in results(one).into_iter().zip(results(other)) {
        assert!(found == expected, "{file} differs");
    }
}
