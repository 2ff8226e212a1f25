//! Why an array cannot be used.

use std::io;
use std::path::PathBuf;

/// Why an array cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// Not to be read or written.
    #[error("cannot {} {}: {reason}", doing, path.display())]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// Cut, damaged, or another format.
    #[error("{} is no whole {format} file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// `npy` or `npz`.
        format: &'static str,
        /// What is wrong with it.
        reason: io::Error,
    },
    /// An archive without an array.
    #[error("{} has no array `{wanted}`; it has {}", path.display(), listed(found))]
    Missing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: String,
        /// What is there.
        found: Vec<String>,
    },
    /// Values of another type.
    #[error("{}: {array} holds {found}; expected {expected}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// NumPy's name of the type.
        found: String,
        /// What could have been read.
        expected: &'static str,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
