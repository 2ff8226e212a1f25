//! What a recipe says: tables and manifests, which of their rows are taken, how rows are split, what becomes of
//! doubles. Owns the file's form.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::table::{ManifestError, Split};
use crate::keyed_random::KeyedRandom;

/// What a manifest is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The sources' tables. Paths are relative to the recipe.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Manifests whose rows are taken over, with their labels, splits and groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<FromManifest>,
    /// How rows are split that have no split. Default: a tenth each for validation and test, seed 0.
    #[serde(default)]
    pub draw: Draw,
    /// What happens to rows that are one picture. Default: `remove`.
    #[serde(default)]
    pub duplicates: Duplicates,
}

/// What happens to rows that are one picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// They go where they would spoil a training: see this module.
    #[default]
    Remove,
    /// All rows stay, in the splits that the sources give them: a benchmark as everybody has it, with its leaks and its
    /// contradictions. Such a manifest does not pass the gate ([`super::Validation`]) if it has any.
    Keep,
    /// As `keep`, but rows of validation and test go that show a picture of train: what is measured on the rest was not
    /// learnt.
    KeepUnseen,
}

/// A table of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The mapping's file.
    pub mapping: PathBuf,
    /// The table.
    pub table: PathBuf,
    /// Folder of the images.
    pub images: PathBuf,
    /// Split of all its rows. Default: what the mapping says, else drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Which of its rows are taken. Default: all.
    #[serde(default, skip_serializing_if = "Keep::is_all")]
    pub keep: Keep,
}

/// Rows of a manifest that was made before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromManifest {
    /// The manifest.
    pub manifest: PathBuf,
    /// Which of its rows are taken. Default: all.
    #[serde(default, skip_serializing_if = "Keep::is_all")]
    pub keep: Keep,
}

/// Which rows are taken; those that are not are in the report with their reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Rows of these sources. Default: of all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Images whose shorter side has at least so many pixels. Default: all.
    pub shorter_side: u32,
    /// Rows with a label that something is sure of.
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

/// How sure a label is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    rename_all_fields = "snake_case",
    deny_unknown_fields
)]
pub enum Confidence {
    /// A number in the source's own table (of parts only).
    Column {
        /// The column.
        name: String,
        /// Its least value.
        at_least: f64,
    },
    /// The probability that models give to the label, joined by `sha256` (mean over the files that have the row). The
    /// models should not have learnt from the rows that they are asked about; a row without a prediction is an error.
    Predictions {
        /// `.npz` files with `logits` and `sha256`. Classes are the seven expressions.
        files: Vec<PathBuf>,
        /// The least probability.
        at_least: f64,
    },
}

/// Shares of splits that are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Draw {
    /// Of the draw.
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
    /// The split of a group: a function of its name (or content) and the seed.
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

    /// Whether the shares are some, and leave rows to train.
    pub fn is_possible(&self) -> bool {
        [self.validation, self.test, self.validation + self.test]
            .iter()
            .all(|share| (0.0..1.0).contains(share))
    }
}

/// Distinguishes these random numbers from others of the same seed.
const PURPOSE: u64 = 0x4472_6177;

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// It cannot be read, or is no recipe.
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

    /// All files that it names but pictures, as they are written in it: relative to the recipe.
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
