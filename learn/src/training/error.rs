//! What can be wrong with a training, its settings, its batches and its folder.

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

/// Why a training does not begin, go on or end.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// Settings; all that are wrong.
    #[error("the training's settings are wrong: {}", .0.join("; "))]
    Spec(Vec<String>),
    /// Too little for a step.
    #[error("there are {0} training rows, which is no step of at least two")]
    TooFewRows(usize),
    /// Class weights or logit adjustment, and a class that has no rows.
    #[error(
        "class {0} has no training rows, so there are no class weights or logit adjustment for it"
    )]
    AbsentClass(usize),
    /// A batch that is not one of this training.
    #[error("a batch cannot be trained: {0}")]
    Batch(String),
    /// See [`InputError`].
    #[error(transparent)]
    Input(#[from] InputError),
    /// The loss is no number any more.
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
    /// A run that is complete, and not asked for more.
    #[error(
        "the training is complete after {0} epochs: there is nothing left to do; say how many more epochs it shall have"
    )]
    NothingToDo(u32),
    /// A checkpoint of another training.
    #[error("the checkpoint is not of this training: {0}")]
    Checkpoint(String),
    /// See [`WeightsError`].
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// See [`ManifestError`].
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifest is not the one that the run began with.
    #[error("the manifest {} has changed since the run began: its sha256 is {found}, and was {expected}", path.display())]
    OtherManifest {
        /// The manifest.
        path: PathBuf,
        /// When the run began.
        expected: String,
        /// Now.
        found: String,
    },
    /// A manifest without rows to train or to validate.
    #[error("the manifest has no rows of the split {0}, which a training needs")]
    NoRows(Split),
    /// A row whose image no input can be made of.
    #[error("{}: {reason}", image.display())]
    Row {
        /// As the manifest names it.
        image: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// See [`SoftlabelsError`].
    #[error(transparent)]
    Softlabels(#[from] SoftlabelsError),
    /// Softlabels that are not those that the run began with; all differences.
    #[error(
        "the softlabels {} were made anew since the run began: {}; bring back those that were, or begin a new training",
        folder.display(), differences.join("; ")
    )]
    OtherSoftlabels {
        /// Their folder.
        folder: PathBuf,
        /// What differs, and how.
        differences: Vec<String>,
    },
    /// Votes that are none.
    #[error("the votes {}: {reason}", path.display())]
    Votes {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A card of another kind of model.
    #[error("the card does not fit a training: {0}")]
    Card(String),
    /// The run's folder.
    #[error("{}: {reason}", path.display())]
    Folder {
        /// File or folder.
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
