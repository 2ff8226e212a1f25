//! Errors of a training, its settings, its batches and its folder.

use std::path::PathBuf;

use fermata_files::YamlError;

use crate::export::ExportError;
use crate::manifest::{ManifestError, Split};
use crate::network::InputError;
use crate::npz::ArrayError;
use crate::optimiser::NotFinite;
use crate::predictions::PredictionsError;
use crate::softlabels::SoftlabelsError;
use crate::weights::WeightsError;

/// Why a training cannot begin, continue or end.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// Wrong settings; lists all of them.
    #[error("the training's settings are wrong: {}", .0.join("; "))]
    Spec(Vec<String>),
    /// Too few rows for a step.
    #[error("too few training rows ({0}): a step needs at least two")]
    TooFewRows(usize),
    /// Class weights or logit adjustment for a class that has no rows.
    #[error(
        "class {0} has no training rows, so there are no class weights or logit adjustment for it"
    )]
    AbsentClass(usize),
    /// A batch that does not belong to this training.
    #[error("a batch cannot be trained on: {0}")]
    Batch(String),
    /// See [`InputError`].
    #[error(transparent)]
    Input(#[from] InputError),
    /// A loss that is not finite.
    #[error(
        "epoch {epoch}, step {step}: the loss is {loss}: the training has diverged (a lower learning rate, or clipping, may help)"
    )]
    Diverged {
        /// From 0.
        epoch: u32,
        /// From 0.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// See [`NotFinite`].
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    /// A complete training that was not given more epochs.
    #[error(
        "the training is complete after {0} epochs: there is nothing left to do; say how many more epochs to train"
    )]
    NothingToDo(u32),
    /// More epochs than can be counted.
    #[error(
        "{more} more epochs cannot be trained: the training stands at epoch {epoch}, and {} is the last that can be counted; ask for fewer",
        u32::MAX
    )]
    TooManyEpochs {
        /// Epochs that are complete.
        epoch: u32,
        /// Epochs that were asked for.
        more: u32,
    },
    /// A checkpoint of another training.
    #[error("the checkpoint is not of this training: {0}")]
    Checkpoint(String),
    /// See [`WeightsError`].
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// See [`ManifestError`].
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A manifest other than the one with which the run began.
    #[error("the manifest {} has changed since the run began: its sha256 is {found}, and was {expected}", path.display())]
    OtherManifest {
        /// The manifest.
        path: PathBuf,
        /// SHA-256 when the run began.
        expected: String,
        /// SHA-256 now.
        found: String,
    },
    /// A manifest without rows for training or validation.
    #[error("the manifest has no rows of the split {0}, which a training needs")]
    NoRows(Split),
    /// A row whose image cannot be made into an input.
    #[error("{}: {reason}", image.display())]
    Row {
        /// Image as the manifest names it.
        image: PathBuf,
        /// What is wrong with the row.
        reason: String,
    },
    /// See [`SoftlabelsError`].
    #[error(transparent)]
    Softlabels(#[from] SoftlabelsError),
    /// Softlabels other than those with which the run began; lists all differences.
    #[error(
        "the softlabels {} were made anew since the run began: {}; restore those that it began with, or begin a new training",
        folder.display(), differences.join("; ")
    )]
    OtherSoftlabels {
        /// Folder of the softlabels.
        folder: PathBuf,
        /// The differences.
        differences: Vec<String>,
    },
    /// Votes that cannot be used.
    #[error("the votes {}: {reason}", path.display())]
    Votes {
        /// File of the votes.
        path: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// A card that does not fit a training.
    #[error("the card does not fit a training: {0}")]
    Card(String),
    /// A problem with the run's folder.
    #[error("{}: {reason}", path.display())]
    Folder {
        /// File or folder concerned.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// See [`YamlError`].
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// See [`PredictionsError`].
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// See [`ArrayError`].
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// See [`ExportError`].
    #[error(transparent)]
    Export(#[from] ExportError),
}
