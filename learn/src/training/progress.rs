//! The progress and the results of a training, as stored in checkpoints and `history.csv`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::TrainingError;
use crate::weights::TensorFile;

/// Key of the progress in a checkpoint's provenance.
const PROGRESS: &str = "progress";

/// Progress of a training: the next step, and the results so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Current epoch, from 0; the epochs before it are complete.
    pub epoch: u32,
    /// Steps of this epoch trained so far.
    pub step: u64,
    /// Epoch at which the training ends; later than in the settings if the training was extended.
    pub end: u32,
    /// Step, counted over all epochs, at which the training was extended: from there to the end it follows a schedule
    /// of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_from: Option<u64>,
    /// Sum of the loss over this epoch's rows; each row counts with the mean loss of its step.
    pub loss_sum: f64,
    /// Rows trained in this epoch.
    pub rows: u64,
    /// Best epoch so far.
    pub best: Option<Best>,
    /// Epochs since the best one.
    pub epochs_since_best: u32,
    /// Whether the training stopped early.
    pub has_stopped: bool,
    /// Completed epochs.
    pub history: Vec<EpochRow>,
}

impl Progress {
    /// Returns the progress of a new training of this many epochs.
    pub fn new(epochs: u32) -> Self {
        Self {
            end: epochs,
            ..Self::default()
        }
    }

    /// Returns the progress in a checkpoint.
    ///
    /// # Errors
    /// The file is not a checkpoint of a training.
    pub fn of(checkpoint: &TensorFile) -> Result<Self, TrainingError> {
        let provenance = checkpoint.provenance.as_ref();
        let Some(progress) = provenance.and_then(|provenance| provenance.get(PROGRESS)) else {
            let what = "it is not a checkpoint of a training: it has no progress";
            return Err(TrainingError::Checkpoint(what.to_owned()));
        };
        let read = Self::deserialize(progress);
        read.map_err(|error| TrainingError::Checkpoint(error.to_string()))
    }

    /// Returns the progress as a checkpoint's provenance holds it.
    pub(super) fn to_provenance(&self) -> Value {
        json!({ PROGRESS: self })
    }

    /// Returns whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.has_stopped || self.epoch >= self.end
    }

    /// Plans this many epochs from here, of this many steps each, in place of what was planned before, even after an
    /// early stop.
    ///
    /// # Errors
    /// Their number is too large; nothing is changed then.
    pub(super) fn extend(&mut self, epochs: u32, steps: u64) -> Result<(), TrainingError> {
        let end = self.epoch.checked_add(epochs);
        self.end = end.ok_or(TrainingError::TooManyEpochs {
            epoch: self.epoch,
            more: epochs,
        })?;
        self.more_from = Some(u64::from(self.epoch) * steps + self.step);
        self.has_stopped = false;
        self.epochs_since_best = 0;
        Ok(())
    }
}

/// Best epoch on the validation rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Value of the selecting metric.
    pub value: f64,
}

/// One epoch, as a line of `history.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRow {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Rows trained.
    pub rows: u64,
    /// Learning rate of the last step.
    pub rate: f64,
    /// Mean loss over the rows.
    pub train_loss: f64,
    /// Accuracy on the validation rows.
    pub accuracy: f64,
    /// Macro-F1 on the validation rows.
    pub macro_f1: f64,
    /// Negative log-likelihood on the validation rows.
    pub nll: f64,
    /// Expected calibration error on the validation rows.
    pub ece: f64,
    /// Whether it was the best epoch so far.
    pub is_best: bool,
}

/// Result of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepDone {
    /// Mean loss of its rows.
    pub loss: f64,
    /// Learning rate of the step.
    pub rate: f64,
}
