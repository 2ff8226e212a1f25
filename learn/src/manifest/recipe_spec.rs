//! The recipe file: tables and manifests, which of their rows are taken, how rows are split, and what happens to
//! duplicates.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::table::{ManifestError, Split};
use crate::keyed_random::KeyedRandom;

/// Recipe of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Tables of the sources. Paths are relative to the recipe.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Manifests whose rows are imported, with their labels, splits and groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<FromManifest>,
    /// How rows without a split are assigned one. Default: a tenth each to validation and test, seed 0.
    #[serde(default)]
    pub draw: Draw,
    /// What happens to rows that show one picture. Default: `remove`.
    #[serde(default)]
    pub duplicates: Duplicates,
}

/// What happens to rows that show one picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// Remove those that would spoil a training: see this module.
    #[default]
    Remove,
    /// Keep all rows, in the splits that the sources give them: a benchmark as published, with its leaks and
    /// contradictions. If it has any, the manifest does not pass the gate ([`super::Validation`]).
    Keep,
    /// Keep rows as with `keep`, but remove rows of validation and test that show a picture of train, so that results
    /// on the rest are for unseen pictures.
    KeepUnseen,
}

/// Table of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Mapping of the table.
    pub mapping: PathBuf,
    /// Table with the rows.
    pub table: PathBuf,
    /// Folder of the images.
    pub images: PathBuf,
    /// Split of all its rows. Default: the mapping's, or a random one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Which of its rows are taken. Default: all.
    #[serde(default, skip_serializing_if = "Keep::is_all")]
    pub keep: Keep,
}

/// Rows of an existing manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromManifest {
    /// Manifest with the rows.
    pub manifest: PathBuf,
    /// Which of its rows are taken. Default: all.
    #[serde(default, skip_serializing_if = "Keep::is_all")]
    pub keep: Keep,
}

/// Which rows are taken; the others are listed in the report with the reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Sources of the rows. Default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Minimum of the image's shorter side, in pixels. Default: 0.
    pub shorter_side: u32,
    /// Required confidence of the label. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
}

impl Keep {
    fn is_all(&self) -> bool {
        *self == Self::default()
    }

    fn files(&self) -> &[PathBuf] {
        match &self.confidence {
            Some(Confidence::Predictions { files, .. }) => files,
            Some(Confidence::Column { .. }) | None => &[],
        }
    }
}

/// Confidence of a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    rename_all_fields = "snake_case",
    deny_unknown_fields
)]
pub enum Confidence {
    /// A number in the source's own table (only for parts).
    Column {
        /// Name of the column.
        name: String,
        /// Minimum value.
        at_least: f64,
    },
    /// The probability that models give to the label, joined by `sha256` (mean over the files that have the row). The
    /// models should not have been trained on these rows; a row without a prediction is an error.
    Predictions {
        /// Files in `.npz` format with `logits` and `sha256`. The classes are the seven expressions.
        files: Vec<PathBuf>,
        /// Minimum probability.
        at_least: f64,
    },
}

/// Random assignment of splits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Draw {
    /// Seed of the draw.
    pub seed: u64,
    /// Share of the groups for validation.
    pub validation: f64,
    /// Share of the groups for test.
    pub test: f64,
}

impl Default for Draw {
    fn default() -> Self {
        Self {
            seed: 0,
            validation: 0.1,
            test: 0.1,
        }
    }
}

impl Draw {
    /// Returns the split of a group: a function of its name (or content) and the seed.
    pub fn split(&self, group: &str) -> Split {
        let share = KeyedRandom::named(self.seed ^ PURPOSE, group).unit();
        if share < self.test {
            Split::Test
        } else if share < self.test + self.validation {
            Split::Validation
        } else {
            Split::Train
        }
    }

    /// Returns whether the shares are valid and leave rows for training.
    pub fn is_possible(&self) -> bool {
        [self.validation, self.test, self.validation + self.test]
            .iter()
            .all(|share| (0.0..1.0).contains(share))
    }
}

/// Separates these random numbers from others of the same seed.
const PURPOSE: u64 = 0x4472_6177;

impl Recipe {
    /// Reads a recipe from a file.
    ///
    /// # Errors
    /// It cannot be read or is not a recipe.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let recipe: Self = super::table::read_yaml(path)?;
        let is_empty = recipe.parts.is_empty() && recipe.manifests.is_empty();
        if is_empty || !recipe.draw.is_possible() {
            let reason =
                "expected parts or manifests, and shares of 0 to below 1 that leave rows to train"
                    .to_owned();
            return Err(ManifestError::Settings {
                path: path.to_owned(),
                reason,
            });
        }
        Ok(recipe)
    }

    /// Returns all files that the recipe names except pictures, as written: relative to the recipe.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let of_parts = self.parts.iter().flat_map(|part| {
            let own = [&part.mapping, &part.table];
            own.into_iter().chain(part.keep.files())
        });
        let of_manifests = self.manifests.iter().flat_map(|from| {
            let own = [&from.manifest];
            own.into_iter().chain(from.keep.files())
        });
        of_parts.chain(of_manifests).map(PathBuf::as_path)
    }
}
