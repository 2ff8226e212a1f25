//! Where a training stands and what it has come to, as checkpoints and `history.csv` hold it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::TrainingError;
use crate::weights::TensorFile;

/// Its key in a checkpoint's provenance.
const PROGRESS: &str = "progress";

/// Where a training stands: the next step, and what is known of the steps before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// From 0; the epochs before it are complete.
    pub epoch: u32,
    /// Steps of this epoch that have been trained.
    pub step: u64,
    /// Epoch at which the training ends; later than planned if it was taken up for more.
    pub end: u32,
    /// Step, counted over all epochs, at which the training was taken up for more: from there to the end runs a
    /// schedule of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_from: Option<u64>,
    /// Sum over this epoch's rows of their step's loss.
    pub loss_sum: f64,
    /// Rows trained in this epoch.
    pub rows: u64,
    /// Best epoch so far.
    pub best: Option<Best>,
    /// Epochs since then.
    pub epochs_since_best: u32,
    /// Whether it stopped early.
    pub has_stopped: bool,
    /// The complete epochs.
    pub history: Vec<EpochRow>,
}

impl Progress {
    /// Of a training that begins, for this many epochs.
    pub fn new(epochs: u32) -> Self {
        Self {
            end: epochs,
            ..Self::default()
        }
    }

    /// That of a checkpoint.
    ///
    /// # Errors
    /// It is no checkpoint of a training.
    pub fn of(checkpoint: &TensorFile) -> Result<Self, TrainingError> {
        let provenance = checkpoint.provenance.as_ref();
        let Some(progress) = provenance.and_then(|provenance| provenance.get(PROGRESS)) else {
            let what = "it is not a checkpoint of a training: it has no progress";
            return Err(TrainingError::Checkpoint(what.to_owned()));
        };
        let read = Self::deserialize(progress);
        read.map_err(|error| TrainingError::Checkpoint(error.to_string()))
    }

    /// As a checkpoint's provenance holds it.
    pub(super) fn to_provenance(&self) -> Value {
        json!({ PROGRESS: self })
    }

    /// Whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.has_stopped || self.epoch >= self.end
    }

    /// Plans this many epochs from here, of this many steps each, in the place of what was planned, also after an early
    /// stop.
    pub(super) fn extend(&mut self, epochs: u32, steps: u64) {
        self.end = self.epoch + epochs;
        self.more_from = Some(u64::from(self.epoch) * steps + self.step);
        self.has_stopped = false;
        self.epochs_since_best = 0;
    }
}

/// The best epoch by validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// From 0.
    pub epoch: u32,
    /// Of the metric that selects.
    pub value: f64,
}

/// An epoch, as a line of `history.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRow {
    /// From 0.
    pub epoch: u32,
    /// Rows trained.
    pub rows: u64,
    /// Learning rate of the last step.
    pub rate: f64,
    /// Mean loss over the rows.
    pub train_loss: f64,
    /// On the validation rows.
    pub accuracy: f64,
    /// On the validation rows.
    pub macro_f1: f64,
    /// On the validation rows.
    pub nll: f64,
    /// On the validation rows.
    pub ece: f64,
    /// Whether it is the best so far.
    pub is_best: bool,
}

/// What one step was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepDone {
    /// Mean loss of its rows.
    pub loss: f64,
    /// Its learning rate.
    pub rate: f64,
}
