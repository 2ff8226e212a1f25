//! The catalogue: which models there are.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::CatalogueError;

/// Models by name, as `catalogue.yaml` holds them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// By name, which is also the name of the folder.
    pub models: BTreeMap<String, Entry>,
}

/// A model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is, in a line.
    pub about: String,
    /// The licence of the weights.
    pub licence: String,
    /// Where it was published.
    pub source: String,
    /// The file's name elsewhere: in a folder that it is taken from, and behind the address of a mirror.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its checksum, lower-case hexadecimal.
    pub sha256: String,
    /// Addresses of this very file, the first one first. Without any it can be taken from a folder or a mirror only.
    #[serde(default)]
    pub urls: Vec<String>,
    /// The text of its `card.yaml`; without one for a detector.
    #[serde(default)]
    pub card: Option<String>,
}

impl Catalogue {
    /// Reads a catalogue; `path` is where it came from, for messages.
    ///
    /// # Errors
    /// It is not one, or contradicts itself.
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

    /// A model.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn entry(&self, name: &str) -> Result<&Entry, CatalogueError> {
        self.models
            .get(name)
            .ok_or_else(|| CatalogueError::Unknown {
                name: name.to_owned(),
                known: self.models.keys().cloned().collect(),
            })
    }
}
