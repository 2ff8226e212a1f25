//! Why a model is not known, or not here.

use std::path::PathBuf;

use fermata_files::{FileError, YamlError};

/// What is wrong with a catalogue, or a name.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not YAML, or not a catalogue's.
    #[error("the catalogue of models cannot be read: {0}")]
    Unreadable(#[from] YamlError),
    /// An entry contradicts itself.
    #[error("{}: the entry `{name}` is wrong: {wrong}", path.display())]
    Wrong {
        /// The catalogue.
        path: PathBuf,
        /// The model.
        name: String,
        /// What is wrong.
        wrong: &'static str,
    },
    /// There is no such model.
    #[error("there is no model `{name}` in the catalogue; it has {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
}

/// Why a model could not be brought here. What was there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// No address gave it.
    #[error("cannot pull `{name}`:{}", list(failures))]
    Nowhere {
        /// The model.
        name: String,
        /// Each address, and what was wrong with it.
        failures: Vec<(String, String)>,
    },
    /// The catalogue has no address, and no other was given.
    #[error(
        "`{name}` has no public address (it was converted from {origin}); give a folder that holds `{file}` with --from, or a mirror; docs/models.md tells how to convert one"
    )]
    NoAddress {
        /// The model.
        name: String,
        /// Where its weights come from.
        origin: String,
        /// The file's name.
        file: String,
    },
    /// A folder does not have it.
    #[error("`{}` has neither `{file}` nor `{name}/model.onnx`", folder.display())]
    NotInFolder {
        /// The folder.
        folder: PathBuf,
        /// The model.
        name: String,
        /// The file's name.
        file: String,
    },
    /// A folder has another file under the name.
    #[error("`{}` is not `{name}`: {wrong}", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// The model.
        name: String,
        /// What is wrong.
        wrong: String,
    },
    /// The system refused something.
    #[error(transparent)]
    File(#[from] FileError),
    /// The system refused something else.
    #[error("cannot {doing}: {reason}")]
    System {
        /// What was to be done.
        doing: String,
        /// What the system says.
        reason: std::io::Error,
    },
}

fn list(failures: &[(String, String)]) -> String {
    let lines = failures.iter();
    lines
        .map(|(address, reason)| format!("\n  {address}: {reason}"))
        .collect()
}
