//! A training as a run: reads a manifest's rows, feeds them to a [`Trainer`], and keeps everything in a folder from which it can be taken up
//! again. Owns the folder's files and the order in which they are written.
//!
//! | file | |
//! | --- | --- |
//! | `config.yaml`, `card.yaml` | settings as resolved, with the manifest and its hash; preprocessing |
//! | `environment.json` | versions and machine |
//! | `checkpoints/last.safetensors` | network, optimiser, average and progress at the last checkpoint |
//! | `checkpoints/best.safetensors` | the best epoch's network alone, under timm's names |
//! | `history.csv`, `training.log` | a line for each epoch; what happened, and how long it took |
//! | `model/`, `predictions_*.npz`, `metrics.json` | at the end: the best epoch as a model folder, what it says of the validation and test rows, and how good that is |

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fermata_vision::card::{CARD_FILE, Layout, ModelCard, OutputKind};
use fermata_vision::face::EXPRESSIONS;
use fermata_vision::{Expression, card};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::Device;

use super::TrainingError;
use super::environment::Environment;
use super::progress::{Best, EpochRow, Progress, StepDone};
use super::spec::TrainingSpec;
use super::trainer::Trainer;
use crate::calibration::fit_temperature;
use crate::dataset::Dataset;
use crate::evaluation::Evaluation;
use crate::export::{Overwrite, write_folder};
use crate::inference::predict;
use crate::loader::{READERS, read_ahead};
use crate::manifest::{Manifest, Split};
use crate::network::Network;
use crate::weights::{HeadOf, TensorFile};

const CONFIG: &str = "config.yaml";
const ENVIRONMENT: &str = "environment.json";
const CHECKPOINTS: &str = "checkpoints";
const LAST: &str = "checkpoints/last.safetensors";
const BEST: &str = "checkpoints/best.safetensors";
const HISTORY: &str = "history.csv";
const LOG: &str = "training.log";
const MODEL: &str = "model";
const METRICS: &str = "metrics.json";

/// `config.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The rows.
    pub manifest: PathBuf,
    /// Hash of the manifest when the run began.
    pub manifest_sha256: String,
    /// What is done with them.
    pub training: TrainingSpec,
}

/// What happens in a run.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A step was trained.
    Step(StepDone, &'a Progress),
    /// An epoch is complete.
    Epoch(&'a EpochRow),
}

/// How a run left off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs, or an early stop: the model and its metrics are written.
    Complete {
        /// The epoch that is kept.
        best: Best,
        /// Whether it ended before the planned epoch.
        stopped_early: bool,
    },
    /// It was asked to stop; it can be taken up again.
    Interrupted,
}

/// A training and its folder.
pub struct TrainingRun {
    folder: PathBuf,
    config: RunConfig,
    card: ModelCard,
    trainer: Trainer,
    train: Dataset,
    validation: Dataset,
    test: Option<Dataset>,
    device: Device,
    /// Whether the trainer has something that its last checkpoint has not: epochs that were asked for.
    is_unsaved: bool,
}

impl TrainingRun {
    /// Begins a run in a new folder, for a manifest with rows to train and to validate. The card says how images are preprocessed; its input must
    /// be nchw with the network's number of channels and its output logits in the canonical class order.
    ///
    /// # Errors
    /// See [`TrainingError`]; then no folder is made.
    pub fn create(
        folder: &Path,
        manifest: &Path,
        card: ModelCard,
        training: TrainingSpec,
        device: Device,
    ) -> Result<Self, TrainingError> {
        if folder.symlink_metadata().is_ok() {
            let reason =
                "it is there already; a run begins in a new folder, or is resumed".to_owned();
            return Err(TrainingError::Folder {
                path: folder.to_owned(),
                reason,
            });
        }
        let path = manifest
            .canonicalize()
            .unwrap_or_else(|_| manifest.to_owned());
        let manifest = Manifest::read(&path)?;
        let config = RunConfig {
            manifest: path,
            manifest_sha256: manifest.sha256.clone(),
            training,
        };
        let run = Self::new(folder, &manifest, config, card, device)?;
        if let Err(error) = run.begin() {
            // A run that did not begin leaves nothing; that it cannot be removed either adds nothing.
            let _ = fs::remove_dir_all(folder);
            return Err(error);
        }
        Ok(run)
    }

    fn begin(&self) -> Result<(), TrainingError> {
        let checkpoints = self.folder.join(CHECKPOINTS);
        fs::create_dir_all(&checkpoints).map_err(|error| failed(&checkpoints, &error))?;
        self.write(ENVIRONMENT, &json_text(&Environment::of(self.device)))?;
        self.write(CARD_FILE, &self.card.to_yaml())?;
        self.save()?;
        let yaml = serde_saphyr::to_string(&self.config);
        // Last: a folder with a config is a run.
        let yaml = yaml.expect("settings hold nothing that YAML cannot say");
        self.write(CONFIG, &yaml)
    }

    /// Checkpoints in a run's folder.
    pub const CHECKPOINTS: [&str; 2] = [LAST, BEST];

    /// Whether a folder is a run's.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(CONFIG).is_file()
    }

    /// The settings of a run.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn config_in(folder: &Path) -> Result<RunConfig, TrainingError> {
        let path = folder.join(CONFIG);
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
        serde_saphyr::from_str(&text).map_err(|error| failed(&path, &error))
    }

    /// Takes a run up at its last checkpoint: for this many more epochs from there, or to its planned end.
    ///
    /// # Errors
    /// See [`TrainingError`]; nothing is changed then. It is an error if there is nothing left to do.
    pub fn resume(folder: &Path, more: Option<u32>, device: Device) -> Result<Self, TrainingError> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| failed(&path, &error))
        };
        let config = Self::config_in(folder)?;
        let card = ModelCard::parse(&read(CARD_FILE)?, &folder.join(CARD_FILE));
        let card = card.map_err(|error| TrainingError::Card(error.to_string()))?;
        let manifest = Manifest::read(&config.manifest)?;
        if manifest.sha256 != config.manifest_sha256 {
            return Err(TrainingError::OtherManifest {
                path: config.manifest,
                expected: config.manifest_sha256,
                found: manifest.sha256,
            });
        }
        let mut run = Self::new(folder, &manifest, config, card, device)?;
        run.trainer
            .restore(&TensorFile::read(&folder.join(LAST))?)?;
        match more {
            Some(epochs) => {
                run.trainer.extend(epochs)?;
                run.is_unsaved = true;
            }
            // Without metrics it was killed while it wrote them.
            None if run.trainer.is_done() && folder.join(METRICS).exists() => {
                return Err(TrainingError::NothingToDo(run.trainer.progress().epoch));
            }
            None => {}
        }
        Ok(run)
    }

    fn new(
        folder: &Path,
        manifest: &Manifest,
        config: RunConfig,
        card: ModelCard,
        device: Device,
    ) -> Result<Self, TrainingError> {
        let input = &card.input;
        let architecture = config.training.architecture;
        let channels = architecture.channels();
        if input.layout != Layout::Nchw || input.colour.channels() as i64 != channels {
            return Err(TrainingError::Card(format!(
                "its input is not nchw with {channels} channels, which {architecture} takes"
            )));
        }
        if card.output.kind != OutputKind::Logits || card.output.classes != Expression::ALL {
            return Err(TrainingError::Card(
                "its output is not logits in the canonical class order".to_owned(),
            ));
        }
        if config.training.objective.needs_teacher() {
            let reason = "objective.distillation needs a teacher's logits for each row, and a manifest has none";
            return Err(TrainingError::Spec(vec![reason.to_owned()]));
        }
        if config.training.objective.soft_targets {
            let reason =
                "objective.soft_targets needs a distribution for each row, and a manifest has none";
            return Err(TrainingError::Spec(vec![reason.to_owned()]));
        }
        let train = Dataset::new(manifest, Split::Train, &card)?;
        let shape = input.shape().map(|side| side as i64);
        let classes = EXPRESSIONS as i64;
        let trainer = Trainer::new(
            config.training.clone(),
            shape,
            &train.labels(),
            classes,
            device,
        )?;
        Ok(Self {
            folder: folder.to_owned(),
            validation: Dataset::new(manifest, Split::Validation, &card)?,
            test: Dataset::new(manifest, Split::Test, &card).ok(),
            train,
            trainer,
            config,
            card,
            device,
            is_unsaved: false,
        })
    }

    /// Where it stands.
    pub fn progress(&self) -> &Progress {
        self.trainer.progress()
    }

    /// Trains until the end, or until `watch` breaks it off: then a checkpoint of just that step is written.
    ///
    /// # Errors
    /// See [`TrainingError`]; the folder then holds the last checkpoint.
    pub fn train(
        &mut self,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome, TrainingError> {
        // Of this thread, which computes.
        tch::set_num_threads(i32::try_from(self.config.training.threads).unwrap_or(i32::MAX));
        let labels = self.train.labels();
        if self.is_unsaved {
            // Epochs that were asked for are not forgotten by a run that is killed before its next checkpoint.
            self.save()?;
            self.is_unsaved = false;
        }
        let metrics = self.folder.join(METRICS);
        if metrics.exists() {
            // Of fewer epochs.
            fs::remove_file(&metrics).map_err(|error| failed(&metrics, &error))?;
        }
        self.write_history()?;
        let Progress { epoch, step, .. } = *self.progress();
        let of = Environment::of(self.device);
        self.log(&format!(
            "goes on at epoch {epoch}, step {step}: fermata {}, commit {}, libtorch {}, {} on {}",
            of.fermata, of.git_commit, of.libtorch, of.device, of.processor
        ))?;
        while !self.trainer.is_done() {
            let began = Instant::now();
            if self.train_epoch(&labels, watch)?.is_break() {
                self.save()?;
                self.log("interrupted")?;
                return Ok(Outcome::Interrupted);
            }
            let trained = began.elapsed().as_secs_f64();
            let predictions = predict(&self.validation, self.config.training.batch, |inputs| {
                self.trainer.predict(inputs)
            })?;
            let row = self.trainer.end_epoch(&predictions)?.clone();
            self.keep(&row)?;
            self.log(&format!(
                "epoch {}: loss {:.4}, validation accuracy {:.4}, macro-F1 {:.4}; trained in {trained:.1} s, {:.1} s in all",
                row.epoch,
                row.train_loss,
                row.accuracy,
                row.macro_f1,
                began.elapsed().as_secs_f64(),
            ))?;
            if watch(Event::Epoch(&row)).is_break() && !self.trainer.is_done() {
                self.log("interrupted")?;
                return Ok(Outcome::Interrupted);
            }
        }
        let best = self.finish()?;
        self.log(&format!("complete: epoch {} is the best", best.epoch))?;
        Ok(Outcome::Complete {
            best,
            stopped_early: self.progress().has_stopped,
        })
    }

    /// What is left of the present epoch.
    fn train_epoch(
        &mut self,
        labels: &[usize],
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, TrainingError> {
        let Progress { epoch, step, .. } = *self.trainer.progress();
        let left = self
            .config
            .training
            .epoch(labels, epoch)
            .split_off(step as usize);
        std::thread::scope(|scope| {
            for batch in read_ahead(scope, &self.train, left, READERS) {
                let done = self.trainer.train(&batch?)?;
                let progress = self.trainer.progress();
                let every = self.config.training.checkpoint_every;
                if every.is_some_and(|every| progress.step.is_multiple_of(every)) {
                    self.save()?;
                }
                if watch(Event::Step(done, self.trainer.progress())).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Writes what an epoch has come to. The checkpoint comes after the best weights, and before the history that is made from it: a run that
    /// is killed in between writes the same again.
    fn keep(&mut self, row: &EpochRow) -> Result<(), TrainingError> {
        if row.is_best {
            let provenance = self.provenance(row.epoch);
            self.trainer
                .network()
                .save(&self.folder.join(BEST), Some(provenance))?;
        }
        self.save()?;
        self.write_history()
    }

    fn write_history(&self) -> Result<(), TrainingError> {
        let history = &self.trainer.progress().history;
        if history.is_empty() {
            return Ok(());
        }
        let mut table = csv::Writer::from_writer(Vec::new());
        for row in history {
            table
                .serialize(row)
                .expect("numbers are written into memory");
        }
        let table = table.into_inner().expect("memory takes all");
        let path = self.folder.join(HISTORY);
        fermata_files::write(&path, &table).map_err(|error| failed(&path, &error.reason))
    }

    fn save(&self) -> Result<(), TrainingError> {
        let mut checkpoint = self.trainer.checkpoint();
        let Progress { epoch, .. } = *self.trainer.progress();
        let mut provenance = self.provenance(epoch);
        if let (Value::Object(all), Some(Value::Object(progress))) =
            (&mut provenance, checkpoint.provenance.take())
        {
            all.extend(progress);
        }
        checkpoint.provenance = Some(provenance);
        Ok(checkpoint.write(&self.folder.join(LAST))?)
    }

    /// What is said of a file of this run.
    fn provenance(&self, epoch: u32) -> Value {
        let Environment {
            fermata,
            git_commit,
            ..
        } = Environment::of(self.device);
        json!({
            "made_by": "training",
            "fermata": fermata,
            "git_commit": git_commit,
            "architecture": self.config.training.architecture,
            "seed": self.config.training.seed,
            "epoch": epoch,
            "manifest_sha256": self.config.manifest_sha256,
            "training": self.config.training,
        })
    }

    /// Evaluates the best epoch and writes it as a model folder.
    fn finish(&self) -> Result<Best, TrainingError> {
        let training = &self.config.training;
        let best = self.progress().best.expect("a complete run has an epoch");
        let path = self.folder.join(BEST);
        let mut network = Network::new(
            training.architecture,
            training.head.of(EXPRESSIONS as i64),
            0,
            self.device,
        );
        network.load(&path, HeadOf::File)?;
        let input = self.card.input.shape().map(|side| side as i64);
        let infer = |inputs: &[f32]| network.logits(inputs, input).map_err(TrainingError::from);
        let validation = predict(&self.validation, training.batch, infer)?;
        validation.write_npz(&self.folder.join("predictions_validation.npz"))?;
        let temperature = fit_temperature(&validation);
        let mut card = self.card.clone();
        card.architecture = Some(training.architecture.to_string());
        card.source = format!(
            "fermata training, seed {}, epoch {}, manifest {}",
            training.seed, best.epoch, self.config.manifest_sha256
        );
        card.temperature = temperature.applied();
        let mut evaluation = match &self.test {
            // A temperature is not measured on the rows that it was fitted on.
            None => Evaluation::of(&validation, None, None),
            Some(test) => {
                let test = predict(test, training.batch, infer)?;
                test.write_npz(&self.folder.join("predictions_test.npz"))?;
                Evaluation::of(&test, Some(temperature), None)
            }
        }
        .expect("there is no other model whose rows could differ");
        let weights = fs::read(&path).map_err(|error| failed(&path, &error))?;
        write_folder(&self.folder.join(MODEL), card, &weights, Overwrite::Allowed)?;
        let split = if self.test.is_some() {
            Split::Test
        } else {
            Split::Validation
        };
        evaluation.source = Some(json!({
            "split": split.to_string(),
            "epoch": best.epoch,
            "seed": training.seed,
            "manifest_sha256": self.config.manifest_sha256,
            "weights_sha256": card::sha256(&path).map_err(|error| failed(&path, &error))?,
        }));
        self.write(METRICS, &evaluation.to_json())?;
        Ok(best)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), TrainingError> {
        let path = self.folder.join(name);
        fermata_files::write(&path, text.as_bytes()).map_err(|error| failed(&path, &error.reason))
    }

    fn log(&self, line: &str) -> Result<(), TrainingError> {
        let path = self.folder.join(LOG);
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| writeln!(file, "{line}"));
        written.map_err(|error| failed(&path, &error))
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> TrainingError {
    TrainingError::Folder {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn json_text(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("numbers and names are JSON");
    text + "\n"
}
