//! Softlabels: an ensemble of teachers' logits for the rows of a manifest, in several views of each picture. Owns the
//! folder that holds them: writing it row by row, and reading it for a student's training, joined by the images'
//! hashes.
//!
//! | file | |
//! | --- | --- |
//! | `softlabels.npz` | `logits` f32 [N, V, 7] = Σ w_k z_k / T_k, and `teacher_logits` f32 [N, V, K, 7], the raw z_k |
//! | `softlabels_index.jsonl` | a line for each of the N rows: its index in the arrays, sha256, image, label, split |
//! | `failed.jsonl` | a line for each row that could not be read, with the reason |
//! | `classorder.json` | the classes in the arrays' order |
//! | `alignmentreport.json` | [`Alignment`], its hash, and counts: in = out + failed |
//! | `ensemble_metrics.json` | metrics of ensemble and teachers on view 0, by split |
//! | `hash_manifest.json` | SHA-256 of all of these; written last, so that a folder with it is complete |
//!
//! The files contain no times, and no paths except the manifest's: the same inputs give the same bytes.

mod alignment;
mod files;
mod measured;
mod reader;
mod writer;

pub use self::alignment::{Alignment, SeenRows, Teacher, differences};
pub use self::files::{
    Counts, FAILED, FailedLine, HASHES, INDEX, IndexLine, METRICS, REPORT, Report, SOFTLABELS,
    SoftlabelsError,
};
pub use self::measured::ENSEMBLE;
pub use self::reader::{Expected, Softlabels};
pub use self::writer::{ExportedRow, Scores, write};

#[cfg(test)]
mod tests;
