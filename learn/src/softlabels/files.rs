//! The files of a softlabel folder: names, contents, and errors.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fermata_files::FileError;
use fermata_vision::Expression;
use serde::{Deserialize, Serialize};

use super::alignment::{Alignment, SeenRows};
use crate::manifest::Split;
use crate::npz::ArrayError;
use crate::predictions::PredictionsError;
use crate::row_hash::RowHash;

/// File with the arrays.
pub const SOFTLABELS: &str = "softlabels.npz";
/// File with a line for each row.
pub const INDEX: &str = "softlabels_index.jsonl";
/// File with a line for each row that could not be read.
pub const FAILED: &str = "failed.jsonl";
/// File with the class order.
pub(crate) const CLASSES: &str = "classorder.json";
/// File with alignment and counts.
pub const REPORT: &str = "alignmentreport.json";
/// File with the metrics of ensemble and teachers.
pub const METRICS: &str = "ensemble_metrics.json";
/// File with the hashes of all others; written last.
pub const HASHES: &str = "hash_manifest.json";

/// Name of the array of fused logits.
pub(crate) const LOGITS: &str = "logits";
/// Name of the array of teacher logits.
pub(crate) const TEACHER_LOGITS: &str = "teacher_logits";

/// Line of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexLine {
    /// Index in the arrays, from 0.
    pub row: usize,
    /// Hash of the image file.
    pub sha256: RowHash,
    /// Image as the manifest names it.
    pub image: String,
    /// Label in the manifest.
    pub label: Expression,
    /// Split in the manifest.
    pub split: Split,
}

/// Line for a row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedLine {
    /// Hash of the image file, according to the manifest.
    pub sha256: RowHash,
    /// Image as the manifest names it.
    pub image: String,
    /// Label in the manifest.
    pub label: Expression,
    /// Split in the manifest.
    pub split: Split,
    /// Why it could not be read.
    pub reason: String,
}

/// Row counts of an export: `rows_in = rows_out + failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Rows of the manifest that were predicted.
    pub rows_in: usize,
    /// Rows with softlabels.
    pub rows_out: usize,
    /// Rows that could not be read; see [`FAILED`].
    pub failed: usize,
    /// For each teacher, how many of the rows with softlabels it was trained on.
    pub seen: BTreeMap<String, SeenRows>,
}

/// Contents of `alignmentreport.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Hash of the alignment; see [`Alignment::sha256`].
    pub alignment_sha256: String,
    /// Row counts.
    pub counts: Counts,
    /// What the softlabels depend on.
    pub alignment: Alignment,
}

/// Contents of `classorder.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClassOrder {
    pub(crate) classes: Vec<Expression>,
}

/// Contents of `hash_manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hashes {
    /// SHA-256 by file name.
    pub(crate) files: BTreeMap<String, String>,
}

/// Why softlabels cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SoftlabelsError {
    /// A file that cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// An array that cannot be read or written.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// Logits that are not valid predictions.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// Missing or incomplete softlabels.
    #[error(
        "{} holds no complete softlabels: it has no {HASHES}; if an export into it was interrupted, continue it with `fermata resume`", .0.display()
    )]
    NotWhole(PathBuf),
    /// A file that has changed since it was written.
    #[error("{} has changed since the export wrote it: {reason}; export again, or restore the file", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// How it has changed.
        reason: String,
    },
    /// No rows of the requested split.
    #[error("the softlabels in {} hold no row of the split {split}; an export without --split holds all", folder.display())]
    NoRows {
        /// Folder of the softlabels.
        folder: PathBuf,
        /// Requested split.
        split: Split,
    },
    /// Softlabels that do not fit the training; lists all differences.
    #[error("the softlabels in {} do not fit the training: {}", folder.display(), differences.join("; "))]
    Differs {
        /// Folder of the softlabels.
        folder: PathBuf,
        /// The differences.
        differences: Vec<String>,
    },
    /// Rows passed to the writer that do not fit the alignment or could not be read again.
    #[error("row {row} cannot be written: {reason}")]
    Row {
        /// Index among the rows passed to the writer.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
}
