//! Predictions of a model for labelled rows: logits and labels, validated on construction. Owns the files that hold
//! them (`.npz` and `.csv`). Metrics are in [`crate::metrics`].

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use fermata_files::MOST_TABLE;

use crate::npz::{Array, ArrayError, Npz, NpzArray, write_npz};
use crate::row_hash::RowHash;
use crate::table_lines::{self, LineNumbers};

/// Logits and labels of N rows over K classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    classes: Vec<String>,
    /// Logits, row after row.
    logits: Vec<f64>,
    labels: Vec<usize>,
    hashes: Option<Vec<RowHash>>,
}

/// Why predictions are rejected.
#[derive(Debug, thiserror::Error)]
pub enum PredictionsError {
    /// Fewer than two classes, or two with the same name.
    #[error("the classes are {0:?}; expected at least two with different names")]
    Classes(Vec<String>),
    /// Predictions without rows.
    #[error("there are no rows")]
    Empty,
    /// Logits whose shape is not [N, K].
    #[error(
        "the logits have the shape {found:?}; expected [{rows}, {classes}] for {rows} labels and {classes} classes"
    )]
    Shape {
        /// Shape of the logits.
        found: Vec<usize>,
        /// Number of labels.
        rows: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A logit that is NaN or infinite.
    #[error("row {row}, class {class}: the logit is {value}; expected a finite number")]
    NotFinite {
        /// Row, from 0.
        row: usize,
        /// Name of the class.
        class: String,
        /// Value of the logit.
        value: f64,
    },
    /// A label that is not a class.
    #[error("row {row}: the label is {label}; expected 0 to {}", classes - 1)]
    Label {
        /// Row, from 0.
        row: usize,
        /// The label.
        label: i64,
        /// Number of classes.
        classes: usize,
    },
    /// An array file that cannot be used.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// A file that does not hold predictions.
    #[error("{}: {reason}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
}

/// Prefix of the columns that hold logits; the rest of the name is the class.
const LOGIT: &str = "logit_";
const LABEL: &str = "label";
/// Column or array with the hashes of the images.
const HASH: &str = "sha256";

impl Predictions {
    /// Validates and stores predictions. `logits` are row after row.
    ///
    /// # Errors
    /// See [`PredictionsError`].
    pub fn new(
        classes: Vec<String>,
        logits: Vec<f64>,
        labels: &[i64],
    ) -> Result<Self, PredictionsError> {
        let shape = [logits.len() / classes.len().max(1), classes.len()];
        Self::shaped(classes, &shape, logits, labels)
    }

    fn shaped(
        classes: Vec<String>,
        shape: &[usize],
        logits: Vec<f64>,
        labels: &[i64],
    ) -> Result<Self, PredictionsError> {
        let count = classes.len();
        let is_doubled = |name: &String| classes.iter().filter(|other| *other == name).count() > 1;
        if count < 2 || classes.iter().any(is_doubled) {
            return Err(PredictionsError::Classes(classes));
        }
        if shape != [labels.len(), count] || logits.len() != labels.len() * count {
            return Err(PredictionsError::Shape {
                found: shape.to_vec(),
                rows: labels.len(),
                classes: count,
            });
        }
        if labels.is_empty() {
            return Err(PredictionsError::Empty);
        }
        if let Some(place) = logits.iter().position(|value| !value.is_finite()) {
            return Err(PredictionsError::NotFinite {
                row: place / count,
                class: classes[place % count].clone(),
                value: logits[place],
            });
        }
        let labels = labels.iter().enumerate().map(|(row, &label)| {
            usize::try_from(label)
                .ok()
                .filter(|&label| label < count)
                .ok_or(PredictionsError::Label {
                    row,
                    label,
                    classes: count,
                })
        });
        Ok(Self {
            labels: labels.collect::<Result<_, _>>()?,
            classes,
            logits,
            hashes: None,
        })
    }

    /// Returns the same predictions with the hashes of the rows' images.
    ///
    /// # Panics
    /// Panics if the number of hashes is not the number of rows.
    pub fn with_hashes(self, hashes: Vec<RowHash>) -> Self {
        assert_eq!(hashes.len(), self.len(), "each row has a hash");
        Self {
            hashes: Some(hashes),
            ..self
        }
    }

    /// Returns the hashes of the rows' images, if they are known.
    pub fn hashes(&self) -> Option<&[RowHash]> {
        self.hashes.as_deref()
    }

    /// Counts the rows that are also in `other`: by their images if both know them, else by label and logits. A row
    /// that occurs several times counts as often as it occurs in both.
    pub fn rows_shared_with(&self, other: &Self) -> usize {
        fn shared<K: std::hash::Hash + Eq>(
            here: impl Iterator<Item = K>,
            there: impl Iterator<Item = K>,
        ) -> usize {
            let mut left: HashMap<K, usize> = HashMap::new();
            there.for_each(|key| *left.entry(key).or_default() += 1);
            let is_there = |key: &K| match left.get_mut(key) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    true
                }
                _ => false,
            };
            here.filter(is_there).count()
        }
        if let (Some(here), Some(there)) = (self.hashes(), other.hashes()) {
            return shared(here.iter(), there.iter());
        }
        // In single precision, as in files.
        let key = |(logits, label): (&[f64], usize)| {
            let bits: Vec<u32> = logits
                .iter()
                .map(|&logit| (logit as f32).to_bits())
                .collect();
            (label, bits)
        };
        shared(self.rows().map(key), other.rows().map(key))
    }

    /// Returns the names of the classes, in the order of the logits.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns the number of rows, at least 1.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns `false`: there is at least one row.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Returns the labels as indices of the classes.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Returns the logits of one row.
    pub fn row(&self, row: usize) -> &[f64] {
        let count = self.classes.len();
        &self.logits[row * count..(row + 1) * count]
    }

    /// Returns each row's logits and label.
    pub fn rows(&self) -> impl Iterator<Item = (&[f64], usize)> {
        self.logits
            .chunks_exact(self.classes.len())
            .zip(self.labels.iter().copied())
    }

    /// Returns the same predictions with each logit divided by the temperature, for calibration.
    pub fn divided_by(&self, temperature: f64) -> Self {
        Self {
            logits: self
                .logits
                .iter()
                .map(|logit| logit / temperature)
                .collect(),
            ..self.clone()
        }
    }

    /// Returns the rows at these indices, in this order.
    ///
    /// # Panics
    /// Panics if an index is out of range.
    pub fn rows_at(&self, places: &[usize]) -> Self {
        let hashes = self.hashes.as_ref();
        Self {
            classes: self.classes.clone(),
            logits: places
                .iter()
                .flat_map(|&row| self.row(row))
                .copied()
                .collect(),
            labels: places.iter().map(|&row| self.labels[row]).collect(),
            hashes: hashes.map(|hashes| places.iter().map(|&row| hashes[row]).collect()),
        }
    }

    /// Reads `.npz` (arrays `logits` f32 [N, K] and `labels` of integers `[N]`) or `.csv` (columns `label`, with a
    /// class's name or number, and `logit_CLASS` for each class; other columns are ignored). An `.npz` file holds no
    /// class names, so they are given. Both may have `sha256` of the rows' images: bytes [N, 32], or 64 hexadecimal
    /// digits.
    ///
    /// # Errors
    /// See [`PredictionsError`].
    pub fn read(path: &Path, classes: &[String]) -> Result<Self, PredictionsError> {
        let wrong = |reason: String| PredictionsError::Table {
            path: path.to_owned(),
            reason,
        };
        let read = match path.extension().and_then(|ending| ending.to_str()) {
            Some("npz") => Self::read_npz(path, classes),
            Some("csv") => Self::read_csv(path),
            _ => Err(wrong("predictions are .npz or .csv files".to_owned())),
        };
        read.map_err(|error| match error {
            PredictionsError::Array(_) | PredictionsError::Table { .. } => error,
            // Errors in the rows do not name the file.
            error => wrong(error.to_string()),
        })
    }

    fn read_npz(path: &Path, classes: &[String]) -> Result<Self, PredictionsError> {
        let mut npz = Npz::open(path)?;
        let logits = npz.floats("logits")?;
        let labels = npz.integers("labels")?;
        if labels.shape.len() != 1 {
            return Err(PredictionsError::Table {
                path: path.to_owned(),
                reason: format!("`labels` has the shape {:?}; expected [N]", labels.shape),
            });
        }
        let hashes = if npz.names().iter().any(|name| name == HASH) {
            Some(npz.bytes(HASH)?)
        } else {
            None
        };
        let values = logits.values.into_iter().map(f64::from).collect();
        let read = Self::shaped(classes.to_vec(), &logits.shape, values, &labels.values)?;
        let Some(hashes) = hashes else {
            return Ok(read);
        };
        if hashes.shape != [read.len(), RowHash::LEN] {
            return Err(PredictionsError::Table {
                path: path.to_owned(),
                reason: format!(
                    "`{HASH}` has the shape {:?}; expected bytes [{}, 32]",
                    hashes.shape,
                    read.len()
                ),
            });
        }
        let (hashes, _) = hashes.values.as_chunks();
        Ok(read.with_hashes(hashes.iter().copied().map(RowHash::from).collect()))
    }

    fn read_csv(path: &Path) -> Result<Self, PredictionsError> {
        let wrong = |reason: String| PredictionsError::Table {
            path: path.to_owned(),
            reason,
        };
        let text = fermata_files::read_text(path, MOST_TABLE);
        let text = text.map_err(|error| wrong(error.to_string()))?;
        let mut reader = table_lines::reader(&text);
        let header = table_lines::columns(&mut reader).map_err(wrong)?;
        let label_column = header.iter().position(|name| name == LABEL);
        let label_column =
            label_column.ok_or_else(|| wrong(format!("there is no column `{LABEL}`")))?;
        let columns: Vec<(usize, String)> = header
            .iter()
            .enumerate()
            .filter_map(|(index, name)| Some((index, name.strip_prefix(LOGIT)?.to_owned())))
            .collect();
        if columns.is_empty() {
            return Err(wrong(format!("there are no columns `{LOGIT}CLASS`")));
        }
        let classes: Vec<String> = columns.iter().map(|(_, class)| class.clone()).collect();
        let hash_column = header.iter().position(|name| name == HASH);
        let (mut logits, mut labels, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        let mut lines = LineNumbers::of(&text);
        for (row, record) in reader.records().enumerate() {
            let record = record.map_err(|error| wrong(error.to_string()))?;
            let line = lines.of_record(&record);
            let wrong = |reason: String| wrong(format!("line {line}, row {row}{reason}"));
            let width = table_lines::as_wide(&record, header.len());
            width.map_err(|reason| wrong(format!(": {reason}")))?;
            let text = &record[label_column];
            let named = classes.iter().position(|class| class == text);
            let numbered = || text.parse().ok().filter(|&number| number < classes.len());
            let label = named.or_else(numbered).ok_or_else(|| {
                let (classes, most) = (classes.join(", "), classes.len() - 1);
                wrong(format!(
                    ": `{text}` is not a class; there are {classes}, or 0 to {most}"
                ))
            })?;
            labels.push(label as i64);
            if let Some(column) = hash_column {
                let text = &record[column];
                let hash = text
                    .parse()
                    .map_err(|error| wrong(format!(": `{HASH}` is `{text}`; {error}")))?;
                hashes.push(hash);
            }
            for (column, class) in &columns {
                let text = &record[*column];
                let logit: Option<f64> = text.trim().parse().ok();
                let logit = logit.filter(|logit| logit.is_finite()).ok_or_else(|| {
                    wrong(format!(
                        ", class {class}: the logit is `{text}`; expected a finite number"
                    ))
                })?;
                logits.push(logit);
            }
        }
        let read = Self::new(classes, logits, &labels)?;
        Ok(match hash_column {
            Some(_) => read.with_hashes(hashes),
            None => read,
        })
    }

    /// Writes `logits` (f32), `labels` (i64) and, if the images are known, `sha256` (u8 [N, 32]) to an `.npz` file.
    ///
    /// # Errors
    /// See [`ArrayError`].
    pub fn write_npz(&self, path: &Path) -> Result<(), ArrayError> {
        let logits = Array {
            shape: vec![self.len(), self.classes.len()],
            values: self.logits.iter().map(|&logit| logit as f32).collect(),
        };
        let labels = Array {
            shape: vec![self.len()],
            values: self.labels.iter().map(|&label| label as i64).collect(),
        };
        let mut arrays = BTreeMap::from([
            ("logits", NpzArray::Floats(logits)),
            ("labels", NpzArray::Integers(labels)),
        ]);
        if let Some(hashes) = &self.hashes {
            let bytes = Array {
                shape: vec![self.len(), RowHash::LEN],
                values: hashes.iter().flat_map(RowHash::as_bytes).copied().collect(),
            };
            arrays.insert(HASH, NpzArray::Bytes(bytes));
        }
        write_npz(path, &arrays)
    }
}

#[cfg(test)]
mod tests;
