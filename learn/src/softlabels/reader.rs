//! Reads a softlabel folder for a training: every file is checked against its hash, and rows are joined by the hashes
//! of their images, never by position.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use fermata_files::{MOST_TABLE, MOST_TEXT};
use fermata_vision::Expression;
use fermata_vision::card::ModelCard;
use fermata_vision::face::EXPRESSIONS;
use serde::de::DeserializeOwned;

use super::alignment::{Alignment, differences};
use super::files::{
    CLASSES, ClassOrder, Counts, HASHES, Hashes, INDEX, IndexLine, LOGITS, REPORT, Report,
    SOFTLABELS, SoftlabelsError,
};
use crate::augmentation::Augmentation;
use crate::manifest::{Row, Split};
use crate::npz::Npz;
use crate::predictions::Predictions;
use crate::row_hash::RowHash;

/// Softlabels in memory: the fused logits of all rows and views.
#[derive(Debug)]
pub struct Softlabels {
    folder: PathBuf,
    report: Report,
    /// Fused logits [N, V, 7].
    logits: Vec<f32>,
    /// Image hash, label and split of each row, in order.
    said: Vec<(RowHash, Expression, Split)>,
    /// Indices by image hash and split. For one image they may differ between splits: a training row is answered by the
    /// models that left out its fold, a row of another split by all models.
    rows: HashMap<(RowHash, Split), usize>,
    /// Image hashes by the names of the images in the manifest.
    images: HashMap<String, RowHash>,
}

/// Properties of a training that its softlabels must match.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Rows to train on.
    pub rows: &'a [&'a Row],
    /// Card with the student's preprocessing and class order. Its histogram equalisation must be that of the teachers;
    /// its size and scaling may differ.
    pub card: &'a ModelCard,
    /// Augmentation of the student's pictures.
    pub augmentation: &'a Augmentation,
    /// Seed of the augmentation; `None` if the training uses that of the softlabels.
    pub seed: Option<u64>,
}

/// Most rows named in an error.
const SHOWN: usize = 5;

impl Softlabels {
    /// Opens a folder and verifies its files.
    ///
    /// # Errors
    /// The folder is incomplete, or a file has changed since it was written.
    pub fn open(folder: &Path) -> Result<Self, SoftlabelsError> {
        if !folder.join(HASHES).is_file() {
            return Err(SoftlabelsError::NotWhole(folder.to_owned()));
        }
        let hashes: Hashes = read_json(&folder.join(HASHES))?;
        for (name, expected) in &hashes.files {
            let path = folder.join(name);
            let found = fermata_files::sha256_of_file(&path)?;
            if found != *expected {
                let reason = format!("its sha256 is {found}, and {HASHES} says {expected}");
                return Err(SoftlabelsError::Changed { path, reason });
            }
        }
        let report: Report = read_json(&folder.join(REPORT))?;
        let order: ClassOrder = read_json(&folder.join(CLASSES))?;
        let changed = |name: &str, reason: String| SoftlabelsError::Changed {
            path: folder.join(name),
            reason,
        };
        if order.classes != report.alignment.classes {
            return Err(changed(
                CLASSES,
                format!(
                    "its classes are {:?}, and {REPORT} says {:?}",
                    order.classes, report.alignment.classes
                ),
            ));
        }
        if report.alignment_sha256 != report.alignment.sha256() {
            let reason = "the hash of its alignment is not the one that it states".to_owned();
            return Err(changed(REPORT, reason));
        }
        let array = Npz::open(&folder.join(SOFTLABELS))?.floats(LOGITS)?;
        let count = report.counts.rows_out;
        let expected = [count, report.alignment.views as usize, EXPRESSIONS];
        if array.shape != expected {
            let reason = format!("`{LOGITS}` is {:?}; expected {expected:?}", array.shape);
            return Err(changed(SOFTLABELS, reason));
        }
        let (mut rows, mut images) = (HashMap::new(), HashMap::new());
        let mut said = Vec::with_capacity(count);
        let text = fermata_files::read_text(&folder.join(INDEX), MOST_TABLE);
        let text = text.map_err(|error| changed(INDEX, error.to_string()))?;
        for (number, line) in text.lines().enumerate() {
            let wrong = |reason: String| changed(INDEX, format!("line {}: {reason}", number + 1));
            let line: IndexLine =
                serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
            if line.row != number || number >= count {
                return Err(wrong(format!("its row is {}", line.row)));
            }
            // One picture under two names of a split has one set of logits: they depend on its bytes alone.
            rows.entry((line.sha256, line.split)).or_insert(number);
            said.push((line.sha256, line.label, line.split));
            images.insert(line.image, line.sha256);
        }
        if said.len() != count {
            let reason = format!("it has {} lines, and {REPORT} says {count}", said.len());
            return Err(changed(INDEX, reason));
        }
        Ok(Self {
            folder: folder.to_owned(),
            report,
            logits: array.values,
            said,
            rows,
            images,
        })
    }

    /// Returns what the softlabels were made with.
    pub fn alignment(&self) -> &Alignment {
        &self.report.alignment
    }

    /// Returns [`Alignment::sha256`], which a training records and compares when it is resumed.
    pub fn alignment_sha256(&self) -> &str {
        &self.report.alignment_sha256
    }

    /// Returns how many rows were predicted, have softlabels, and failed.
    pub fn counts(&self) -> &Counts {
        &self.report.counts
    }

    /// Returns the number of views V: a student's epoch e trains on view e mod V.
    pub fn views(&self) -> u32 {
        self.report.alignment.views
    }

    /// Returns the fused logits Σ w_k z_k / T_k of a view of an image in a split, in the canonical class order; `None`
    /// if there are none.
    pub fn logits(&self, sha256: &RowHash, split: Split, view: u32) -> Option<&[f32; EXPRESSIONS]> {
        let views = self.views() as usize;
        let view = view as usize;
        let row = *self.rows.get(&(*sha256, split))?;
        if view >= views {
            return None;
        }
        let at = (row * views + view) * EXPRESSIONS;
        self.logits.get(at..)?.first_chunk()
    }

    /// Returns the ensemble's predictions for the unaugmented pictures (view 0) of a split, with their labels, like
    /// those of a single model.
    ///
    /// # Errors
    /// There are no rows of this split.
    pub fn predictions(&self, split: Split) -> Result<Predictions, SoftlabelsError> {
        let of_split = self.said.iter().enumerate();
        let of_split = of_split.filter(|(_, (.., own))| *own == split);
        let (mut logits, mut labels, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        for (row, (hash, label, _)) in of_split {
            let at = row * self.views() as usize * EXPRESSIONS;
            let plain = &self.logits[at..at + EXPRESSIONS];
            logits.extend(plain.iter().copied().map(f64::from));
            labels.push(label.index() as i64);
            hashes.push(*hash);
        }
        if labels.is_empty() {
            return Err(SoftlabelsError::NoRows {
                folder: self.folder.clone(),
                split,
            });
        }
        let classes = Expression::ALL.map(|class| class.to_string()).to_vec();
        let predictions = Predictions::new(classes, logits, &labels)?;
        Ok(predictions.with_hashes(hashes))
    }

    /// Checks that a training fits the softlabels.
    ///
    /// # Errors
    /// [`SoftlabelsError::Differs`] with all differences: images that have changed since the export or are not in it,
    /// another class order, augmentation, seed or histogram equalisation.
    pub fn check(&self, expected: &Expected<'_>) -> Result<(), SoftlabelsError> {
        let alignment = self.alignment();
        let names = ("the softlabels", "the training");
        let mut found = Vec::new();
        let mut compare = |what: &str, one: serde_json::Value, other: serde_json::Value| {
            let lines = differences((names.0, &one), (names.1, &other));
            found.extend(lines.into_iter().map(|line| match line.strip_prefix(':') {
                Some(rest) => format!("{what}:{rest}"),
                None => format!("{what}.{line}"),
            }));
        };
        compare(
            "classes",
            json(&alignment.classes),
            json(&fermata_vision::Expression::ALL.to_vec()),
        );
        if alignment.views > 1 {
            compare(
                "augmentation",
                json(&alignment.augmentation),
                json(expected.augmentation),
            );
            if let Some(seed) = expected.seed {
                compare("seed", json(&alignment.seed), json(&seed));
            }
        }
        for teacher in &alignment.teachers {
            for model in &teacher.models {
                let what = format!("preprocessing (teacher {}): clahe", teacher.name);
                compare(&what, json(&model.clahe), json(&expected.card.clahe));
            }
        }
        found.dedup();
        self.compare_rows(expected.rows, &mut found);
        if found.is_empty() {
            return Ok(());
        }
        Err(SoftlabelsError::Differs {
            folder: self.folder.clone(),
            differences: found,
        })
    }

    fn compare_rows(&self, rows: &[&Row], found: &mut Vec<String>) {
        let (mut stale, mut moved, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            if self.rows.contains_key(&(row.sha256, row.split)) {
                continue;
            }
            let image = row.image.to_string_lossy();
            match self.images.get(&*image) {
                Some(hash) if *hash == row.sha256 => moved.push(image),
                Some(_) => stale.push(image),
                None => missing.push(image),
            }
        }
        let mut name = |images: &[std::borrow::Cow<'_, str>], what: &str| {
            if !images.is_empty() {
                let shown = images[..images.len().min(SHOWN)].join(", ");
                let more = if images.len() > SHOWN { ", …" } else { "" };
                found.push(format!("{} images {what}: {shown}{more}", images.len()));
            }
        };
        name(&stale, "have changed since the export (another sha256)");
        name(&moved, "were exported in another split");
        name(&missing, "have no softlabels");
    }
}

/// Returns a value as JSON.
fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("names and numbers are JSON")
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, SoftlabelsError> {
    let changed = |reason: String| SoftlabelsError::Changed {
        path: path.to_owned(),
        reason,
    };
    let text = fermata_files::read_text(path, MOST_TEXT);
    let text = text.map_err(|error| changed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| changed(error.to_string()))
}
