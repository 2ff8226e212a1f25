//! The files of a softlabel folder: names, lines, and what can be wrong with them.

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

/// The arrays.
pub const SOFTLABELS: &str = "softlabels.npz";
/// A line for each row.
pub const INDEX: &str = "softlabels_index.jsonl";
/// A line for each row that could not be read.
pub const FAILED: &str = "failed.jsonl";
/// Classes.
pub(crate) const CLASSES: &str = "classorder.json";
/// Alignment and counts.
pub const REPORT: &str = "alignmentreport.json";
/// Of ensemble and teachers.
pub const METRICS: &str = "ensemble_metrics.json";
/// Of all these files; written last.
pub const HASHES: &str = "hash_manifest.json";

/// The fused logits' name in the arrays.
pub(crate) const LOGITS: &str = "logits";
/// The teachers' logits' name in the arrays.
pub(crate) const TEACHER_LOGITS: &str = "teacher_logits";

/// A line of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexLine {
    /// Place in the arrays, from 0.
    pub row: usize,
    /// Of the image's file.
    pub sha256: RowHash,
    /// As the manifest names it.
    pub image: String,
    /// As the manifest has it.
    pub label: Expression,
    /// As the manifest has it.
    pub split: Split,
}

/// A line of the rows that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailedLine {
    pub(crate) sha256: RowHash,
    pub(crate) image: String,
    pub(crate) label: Expression,
    pub(crate) split: Split,
    pub(crate) reason: String,
}

/// Rows of an export: `rows_in = rows_out + failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Rows of the manifest that were asked about.
    pub rows_in: usize,
    /// Rows with softlabels.
    pub rows_out: usize,
    /// Rows that could not be read; see [`FAILED`].
    pub failed: usize,
    /// By teacher: whether it had learnt from the rows that have softlabels.
    pub seen: BTreeMap<String, SeenRows>,
}

/// `alignmentreport.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`Alignment::sha256`].
    pub alignment_sha256: String,
    /// Rows.
    pub counts: Counts,
    /// What the softlabels depend on.
    pub alignment: Alignment,
}

/// `classorder.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClassOrder {
    pub(crate) classes: Vec<Expression>,
}

/// `hash_manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hashes {
    /// By name.
    pub(crate) files: BTreeMap<String, String>,
}

/// Why softlabels cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SoftlabelsError {
    /// A file that cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// An array.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// Logits that cannot be measured.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// No softlabels, or not all of them.
    #[error(
        "{} holds no whole softlabels: it has no {HASHES}; if an export into it was interrupted, `fermata resume` it", .0.display()
    )]
    NotWhole(PathBuf),
    /// A file that is not as it was written.
    #[error("{} is not as the export wrote it: {reason}; export again, or bring back the file", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// None of the rows that are asked for.
    #[error("the softlabels in {} hold no row of the split {split}; an export without --split holds all", folder.display())]
    NoRows {
        /// The softlabels' folder.
        folder: PathBuf,
        /// What was asked for.
        split: Split,
    },
    /// Softlabels and training do not fit together; all differences.
    #[error("the softlabels in {} do not fit the training: {}", folder.display(), differences.join("; "))]
    Differs {
        /// The softlabels' folder.
        folder: PathBuf,
        /// What differs, and how.
        differences: Vec<String>,
    },
    /// Rows that the writer was given do not fit the alignment, or could not be read again.
    #[error("row {row} cannot be written: {reason}")]
    Row {
        /// Its place among the rows that were given.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
}
