//! The catalogue of models.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::CatalogueError;

/// Models by name, as `catalogue.yaml` holds them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Entries by name, which is also the name of the model's folder.
    pub models: BTreeMap<String, Entry>,
}

/// A model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Description, in one line.
    pub about: String,
    /// The licence of the weights.
    pub licence: String,
    /// Where it was published.
    pub source: String,
    /// Name of the file in a folder that it is taken from, or after the address of a mirror.
    pub file: String,
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// Addresses of this file, tried in order. If there are none, it can only be taken from a folder or a mirror.
    #[serde(default)]
    pub urls: Vec<String>,
    /// Text of its `card.yaml`; none for a detector.
    #[serde(default)]
    pub card: Option<String>,
}

impl Catalogue {
    /// Reads a catalogue; `path` is its source, for messages.
    ///
    /// # Errors
    /// The text is not a catalogue, or an entry is invalid.
    pub fn read(text: &str, path: &Path) -> Result<Self, CatalogueError> {
        let catalogue: Self = fermata_files::from_yaml(text, path)?;
        for (name, entry) in &catalogue.models {
            let is_hash = entry.sha256.len() == 64
                && entry
                    .sha256
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            let is_plain = |name: &str| {
                let is_fitting = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                !name.is_empty() && !name.starts_with('.') && name.chars().all(is_fitting)
            };
            let wrong = if !is_plain(name) {
                "its name cannot be a folder's name"
            } else if !is_plain(&entry.file) {
                "its file cannot be a file's name"
            } else if !is_hash {
                "its sha256 is not 64 lower-case hexadecimal digits"
            } else if entry.bytes == 0 {
                "it has no bytes"
            } else {
                continue;
            };
            return Err(CatalogueError::Wrong {
                path: path.to_owned(),
                name: name.clone(),
                wrong,
            });
        }
        Ok(catalogue)
    }

    /// Returns the entry of a model.
    ///
    /// # Errors
    /// The catalogue has no model of this name.
    pub fn entry(&self, name: &str) -> Result<&Entry, CatalogueError> {
        self.models
            .get(name)
            .ok_or_else(|| CatalogueError::Unknown {
                name: name.to_owned(),
                known: self.models.keys().cloned().collect(),
            })
    }
}
