//! Errors of looking up or pulling a model.

use std::path::PathBuf;

use fermata_files::{FileError, YamlError};

/// An error in a catalogue, or an unknown name.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The text is not YAML, or not a catalogue.
    #[error("the catalogue of models cannot be read: {0}")]
    Unreadable(#[from] YamlError),
    /// An entry is invalid.
    #[error("{}: the entry `{name}` is wrong: {wrong}", path.display())]
    Wrong {
        /// Catalogue that has the entry.
        path: PathBuf,
        /// The model.
        name: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// The catalogue has no model of this name.
    #[error("there is no model `{name}` in the catalogue; it has {}", known.join(", "))]
    Unknown {
        /// The requested name.
        name: String,
        /// Names in the catalogue.
        known: Vec<String>,
    },
}

/// Why a model could not be pulled. What was in its folder before is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// No address delivered it.
    #[error("cannot pull `{name}`:{}", list(failures))]
    Nowhere {
        /// The model.
        name: String,
        /// Addresses, each with what was wrong with it.
        failures: Vec<(String, String)>,
    },
    /// The catalogue has no address, and no other was given.
    #[error(
        "`{name}` has no public address (it was converted from {origin}); give a folder that holds `{file}` with --from, or a mirror; docs/models.md explains how to convert one"
    )]
    NoAddress {
        /// The model.
        name: String,
        /// Source of its weights.
        origin: String,
        /// Name of the file.
        file: String,
    },
    /// The folder does not contain it.
    #[error("`{}` has neither `{file}` nor `{name}/model.onnx`", folder.display())]
    NotInFolder {
        /// The folder.
        folder: PathBuf,
        /// The model.
        name: String,
        /// Name of the file.
        file: String,
    },
    /// The folder contains another file under this name.
    #[error("`{}` is not `{name}`: {wrong}", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// The model.
        name: String,
        /// What is wrong with it.
        wrong: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another operation failed.
    #[error("cannot {doing}: {reason}")]
    System {
        /// Operation, as it follows "cannot".
        doing: String,
        /// The error from the system.
        reason: std::io::Error,
    },
}

fn list(failures: &[(String, String)]) -> String {
    let lines = failures.iter();
    lines
        .map(|(address, reason)| format!("\n  {address}: {reason}"))
        .collect()
}
