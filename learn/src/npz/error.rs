//! Errors of array files.

use std::io;
use std::path::PathBuf;

/// Why an array cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// A file that cannot be read or written.
    #[error("cannot {} {}: {reason}", doing, path.display())]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Reason given by the system.
        reason: io::Error,
    },
    /// A file that is truncated, damaged, or in another format.
    #[error("{} is not a complete {format} file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// `npy` or `npz`.
        format: &'static str,
        /// What is wrong with it.
        reason: io::Error,
    },
    /// An archive without the requested array.
    #[error("{} has no array `{wanted}`; it has {}", path.display(), listed(found))]
    Missing {
        /// The file.
        path: PathBuf,
        /// Name of the requested array.
        wanted: String,
        /// Names of the arrays in the archive.
        found: Vec<String>,
    },
    /// Values of an unexpected type.
    #[error("{}: {array} holds {found}; expected {expected}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// NumPy's name of the data type.
        found: String,
        /// Types that can be read.
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
