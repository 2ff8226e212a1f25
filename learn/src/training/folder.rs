//! The folder of a training, from which it can be resumed. Owns its files and the order in which they are written.
//!
//! | file | |
//! | --- | --- |
//! | `config.yaml`, `card.yaml` | settings as resolved, with the manifest and its hash; preprocessing |
//! | `environment.json` | versions and machine |
//! | `checkpoints/last.safetensors` | network, optimiser, weight average and progress at the last checkpoint |
//! | `checkpoints/best.safetensors` | the best epoch's network alone, under timm's names |
//! | `predictions_validation.npz` | the best epoch's predictions for the validation rows |
//! | `history.csv`, `curve.svg`, `training.log` | one line per epoch; the same as a chart; the log |
//! | `model/`, `metrics.json` | at the end: the best epoch as a model folder, and its metrics on the validation rows |

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use fermata_files::{MOST_NUMBERS, MOST_TEXT, PartFolder};
use fermata_vision::card::{CARD_FILE, ModelCard};
use fermata_vision::face::EXPRESSIONS;
use serde_json::{Value, json};
use tch::Device;

use super::config::RunConfig;
use super::environment::Environment;
use super::error::TrainingError;
use super::plan::TrainingRows;
use super::progress::{Best, EpochRow, Progress};
use super::spec::TrainingSpec;
use super::trainer::Trainer;
use crate::calibration::fit_temperature;
use crate::charts::{LearningCurve, learning_curve};
use crate::evaluation::Evaluation;
use crate::export::{Overwrite, write_folder};
use crate::folds::{FOREIGN, WITHOUT_FOLD};
use crate::in_memory::json_text;
use crate::manifest::{Manifest, Split};
use crate::predictions::Predictions;
use crate::weights::TensorFile;

const CONFIG: &str = "config.yaml";
const ENVIRONMENT: &str = "environment.json";
const CHECKPOINTS: &str = "checkpoints";
const LAST: &str = "checkpoints/last.safetensors";
const BEST: &str = "checkpoints/best.safetensors";
const PREDICTIONS: &str = "predictions_validation.npz";
const HISTORY: &str = "history.csv";
const CURVE: &str = "curve.svg";
const LOG: &str = "training.log";
const MODEL: &str = "model";
const METRICS: &str = "metrics.json";

/// Folder of a training.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    config: RunConfig,
    card: ModelCard,
}

impl RunFolder {
    /// Checkpoints in the folder.
    pub const CHECKPOINTS: [&str; 2] = [LAST, BEST];

    /// Creates a new folder for a training. The card defines how images are preprocessed; its input must be nchw with
    /// the network's number of channels, and its output logits in the canonical class order.
    ///
    /// # Errors
    /// See [`TrainingError`]; no folder is created then.
    pub fn create(
        path: &Path,
        config: RunConfig,
        card: ModelCard,
        device: Device,
    ) -> Result<Self, TrainingError> {
        if path.symlink_metadata().is_ok() {
            let reason = "it is there already; begin a training in a new folder, or continue this one with `fermata resume`";
            return Err(TrainingError::Folder {
                path: path.to_owned(),
                reason: reason.to_owned(),
            });
        }
        let manifest = Manifest::read(&config.manifest)?;
        let rows = config.rows(&manifest)?;
        config.check(&card, &manifest, &rows)?;
        let part = PartFolder::create(path).map_err(|error| failed(path, &error))?;
        let mut folder = Self {
            path: part.part().to_owned(),
            config,
            card,
        };
        let trainer = folder.new_trainer(folder.config.training.clone(), &rows, device)?;
        folder.begin(&trainer, device)?;
        part.finish().map_err(|error| failed(path, &error))?;
        folder.path = path.to_owned();
        Ok(folder)
    }

    fn begin(&self, trainer: &Trainer, device: Device) -> Result<(), TrainingError> {
        let checkpoints = self.path.join(CHECKPOINTS);
        fs::create_dir_all(&checkpoints).map_err(|error| failed(&checkpoints, &error))?;
        self.write(ENVIRONMENT, &json_text(&Environment::of(device)))?;
        self.write(CARD_FILE, &self.card.to_yaml())?;
        self.save(trainer)?;
        let yaml = serde_saphyr::to_string(&self.config);
        let yaml = yaml.expect("settings can be written as YAML");
        self.write(CONFIG, &yaml)
    }

    /// Returns whether a folder is that of a training.
    pub fn is_in(path: &Path) -> bool {
        path.join(CONFIG).is_file() && path.join(LAST).is_file()
    }

    /// Opens the folder of a training.
    ///
    /// # Errors
    /// It is not the folder of a training, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, TrainingError> {
        if !Self::is_in(path) {
            let reason = format!("it is not a training's folder: it has no {CONFIG} and {LAST}");
            return Err(failed(path, &reason));
        }
        let read = |name: &str| {
            let file = path.join(name);
            let text = fermata_files::read_text(&file, MOST_TEXT);
            let text = text.map_err(|error| failed(&file, &error))?;
            Ok::<_, TrainingError>((file, text))
        };
        let (file, text) = read(CONFIG)?;
        let config = fermata_files::from_yaml(&text, &file)?;
        let (file, text) = read(CARD_FILE)?;
        let card = ModelCard::parse(&text, &file);
        Ok(Self {
            path: path.to_owned(),
            config,
            card: card.map_err(|error| TrainingError::Card(error.to_string()))?,
        })
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the configuration of the training.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Returns the card, which defines how images are preprocessed.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Reads the environment in which the training began.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn environment(&self) -> Result<Environment, TrainingError> {
        let file = self.path.join(ENVIRONMENT);
        let text = fermata_files::read_text(&file, MOST_TEXT);
        let text = text.map_err(|error| failed(&file, &error))?;
        serde_json::from_str(&text).map_err(|error| failed(&file, &error))
    }

    fn new_trainer(
        &self,
        spec: TrainingSpec,
        rows: &TrainingRows,
        device: Device,
    ) -> Result<Trainer, TrainingError> {
        Trainer::new(
            spec,
            self.card.input.shape().map(|side| side as i64),
            &rows.labels,
            EXPRESSIONS as i64,
            device,
        )
    }

    /// Returns a trainer in the state of the last checkpoint.
    ///
    /// # Errors
    /// The checkpoint cannot be read or is of another training.
    pub fn trainer(&self, rows: &TrainingRows, device: Device) -> Result<Trainer, TrainingError> {
        // The checkpoint has all weights: those that the training began with are read only once.
        let spec = TrainingSpec {
            initial: None,
            ..self.config.training.clone()
        };
        let mut trainer = self.new_trainer(spec, rows, device)?;
        trainer.restore(&TensorFile::read(&self.path.join(LAST))?)?;
        Ok(trainer)
    }

    /// Returns the progress at the last checkpoint.
    ///
    /// # Errors
    /// The checkpoint cannot be read.
    pub fn progress(&self) -> Result<Progress, TrainingError> {
        Progress::of(&TensorFile::read(&self.path.join(LAST))?)
    }

    /// Returns whether everything is done and written. A training that was killed while it wrote its results is not
    /// complete.
    ///
    /// # Errors
    /// The checkpoint cannot be read.
    pub fn is_complete(&self) -> Result<bool, TrainingError> {
        Ok(self.progress()?.is_done() && self.path.join(METRICS).is_file())
    }

    /// Returns the epoch stored as the best, if there is one.
    fn kept_epoch(&self) -> Result<Option<u32>, TrainingError> {
        let path = self.path.join(BEST);
        if !path.is_file() {
            return Ok(None);
        }
        let provenance = TensorFile::read(&path)?.provenance;
        let epoch = provenance.and_then(|found| found.get("epoch").and_then(Value::as_u64));
        Ok(epoch.and_then(|epoch| u32::try_from(epoch).ok()))
    }

    /// Plans this many more epochs from the last checkpoint on; see [`Trainer::extend`]. The plan is written to the
    /// checkpoint, so it survives a training that is killed before its next one.
    ///
    /// # Errors
    /// The number of epochs is 0 or too large, or the checkpoint cannot be read or written, or the best weights are ahead
    /// of it.
    pub fn extend(&self, epochs: u32, rows: &TrainingRows) -> Result<(), TrainingError> {
        // Extends the training only if its checkpoint can be restored.
        let mut trainer = self.trainer(rows, Device::Cpu)?;
        let best = trainer.progress().best.map(|best| best.epoch);
        if self.kept_epoch()? != best {
            let reason = "it is ahead of the last checkpoint: the training was killed while it ended an epoch; first resume it to that epoch's end, without more epochs";
            return Err(failed(&self.path.join(BEST), &reason));
        }
        trainer.extend(epochs)?;
        // Results from before: with them the training would count as complete when its last epoch is, although its own
        // results may not have been written.
        let metrics = self.path.join(METRICS);
        let removed = fermata_files::remove_earlier(&metrics);
        removed.map_err(|error| failed(&metrics, &error.reason))?;
        self.save(&trainer)
    }

    /// Writes a checkpoint, from which the training continues at exactly this step.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, trainer: &Trainer) -> Result<(), TrainingError> {
        let mut checkpoint = trainer.checkpoint();
        let mut provenance = self.provenance(trainer.progress().epoch);
        if let (Value::Object(all), Some(Value::Object(progress))) =
            (&mut provenance, checkpoint.provenance.take())
        {
            all.extend(progress);
        }
        checkpoint.provenance = Some(provenance);
        Ok(checkpoint.write(&self.path.join(LAST))?)
    }

    /// Writes the results of an epoch. The checkpoint is written after the best weights and their predictions, and
    /// before the history that is derived from it: a training that is killed in between writes the same files again.
    ///
    /// # Errors
    /// A file cannot be written. The epoch is then not complete, and the trainer must not be saved as if it were: see
    /// [`Trainer::take_back_end`].
    pub fn keep(
        &self,
        trainer: &mut Trainer,
        row: &EpochRow,
        validation: &Predictions,
    ) -> Result<(), TrainingError> {
        if row.is_best {
            let provenance = self.provenance(row.epoch);
            trainer
                .network()
                .save(&self.path.join(BEST), Some(provenance))?;
            // After the weights, whose epoch tells `extend` that a training was killed before its checkpoint: otherwise
            // these could stay behind as predictions of an epoch that is never trained again.
            validation.write_npz(&self.path.join(PREDICTIONS))?;
        }
        self.save(trainer)?;
        self.write_history(&trainer.progress().history)
    }

    fn write_history(&self, history: &[EpochRow]) -> Result<(), TrainingError> {
        let mut table = csv::Writer::from_writer(Vec::new());
        for row in history {
            table.serialize(row).expect("writing to memory cannot fail");
        }
        let table = table.into_inner().expect("writing to memory cannot fail");
        let path = self.path.join(HISTORY);
        fermata_files::write(&path, &table).map_err(|error| failed(&path, &error.reason))?;
        let of = |value: fn(&EpochRow) -> f64| history.iter().map(value).collect();
        let best = history.iter().rev().find(|row| row.is_best);
        self.write(
            CURVE,
            &learning_curve(&LearningCurve {
                train_loss: of(|row| row.train_loss),
                nll: of(|row| row.nll),
                accuracy: of(|row| row.accuracy),
                macro_f1: of(|row| row.macro_f1),
                best: best.map(|row| row.epoch),
            }),
        )
    }

    /// Returns the provenance stored in a file of this training.
    fn provenance(&self, epoch: u32) -> Value {
        let Environment {
            fermata,
            git_commit,
            ..
        } = Environment::of(Device::Cpu);
        let config = &self.config;
        let mut provenance = json!({
            "made_by": "training",
            "fermata": fermata,
            "git_commit": git_commit,
            "architecture": config.training.architecture,
            "seed": config.training.seed,
            "epoch": epoch,
            "manifest_sha256": config.manifest_sha256,
            "training": config.training,
        });
        if let (Some(initial), Some(used)) = (&config.training.initial, &config.initial) {
            // The path of the file is of no interest outside this run.
            provenance["training"]["initial"] = json!({
                "sha256": used.sha256,
                "head": initial.head,
                "provenance": used.provenance,
                FOREIGN: initial.foreign,
            });
        }
        if let Some(fold) = config.without_fold {
            provenance[WITHOUT_FOLD] = json!(fold);
        }
        if let Some(softlabels) = &config.softlabels {
            provenance["softlabels_alignment_sha256"] = json!(softlabels.alignment_sha256);
        }
        if let Some(votes) = &config.votes {
            provenance["votes_sha256"] = json!(votes.sha256);
        }
        provenance
    }

    /// Writes the best epoch as a model folder, with the temperature fitted on its validation predictions, and writes
    /// its metrics.
    ///
    /// # Errors
    /// No epoch is complete, or something cannot be read or written.
    pub fn complete(&self, progress: &Progress) -> Result<Best, TrainingError> {
        let training = &self.config.training;
        let path = self.path.join(BEST);
        let best = progress.best;
        let best = best.ok_or_else(|| failed(&self.path, &"no epoch is complete"))?;
        if self.kept_epoch()? != Some(best.epoch) {
            let reason = format!("it is not of epoch {}, which is the best", best.epoch);
            return Err(failed(&path, &reason));
        }
        let predictions = self.path.join(PREDICTIONS);
        let mut card = self.card.clone();
        card.architecture = Some(training.architecture.to_string());
        card.source = format!(
            "fermata training, seed {}, epoch {}, manifest {}",
            training.seed, best.epoch, self.config.manifest_sha256
        );
        let validation = if predictions.is_file() {
            let classes = self.card.output.classes.iter();
            let classes: Vec<String> = classes.map(ToString::to_string).collect();
            Some(Predictions::read(&predictions, &classes)?)
        } else {
            // The training was run by a version that predicted only at the end.
            None
        };
        if let Some(validation) = &validation {
            card.temperature = fit_temperature(validation).applied();
        } else {
            self.log(
                "the best epoch was written by a version that did not keep its validation predictions, so the model has no temperature yet; see `fermata calibrate`",
            )?;
        }
        // A training that was killed after its last checkpoint has not written the last epoch there.
        self.write_history(&progress.history)?;
        let weights = fermata_files::read(&path, MOST_NUMBERS);
        let weights = weights.map_err(|error| failed(&path, &error))?;
        write_folder(&self.path.join(MODEL), card, &weights, Overwrite::Allowed)?;
        let source = json!({
            "split": Split::Validation.to_string(),
            "epoch": best.epoch,
            "seed": training.seed,
            "manifest_sha256": self.config.manifest_sha256,
            "weights_sha256": fermata_files::sha256(&weights),
        });
        let metrics = match &validation {
            Some(validation) => {
                // A temperature must not be measured on the rows on which it was fitted.
                let evaluation = Evaluation::of(validation, None, None);
                let mut evaluation =
                    evaluation.expect("there is no other model whose rows could differ");
                evaluation.source = Some(source);
                evaluation.to_json()
            }
            None => json_text(&json!({ "source": source })),
        };
        // Written last: if it exists, the other files exist too.
        self.write(METRICS, &metrics)?;
        Ok(best)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), TrainingError> {
        let path = self.path.join(name);
        fermata_files::write(&path, text.as_bytes()).map_err(|error| failed(&path, &error.reason))
    }

    /// Appends a line to the log.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn log(&self, line: &str) -> Result<(), TrainingError> {
        let path = self.path.join(LOG);
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
