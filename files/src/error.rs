//! Errors of writing, reading or locking files and folders, with advice.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// An operation that the system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{}`: {reason}{}", path.display(), advised(advice))]
pub struct FileError {
    /// Operation, as it follows "cannot".
    pub doing: &'static str,
    /// File or folder of the operation.
    pub path: PathBuf,
    /// The error from the system.
    pub reason: io::Error,
    /// What to do, or what became of the contents; may be empty.
    pub advice: String,
    /// Whether the file is nevertheless complete under its name, and only a power cut could lose it.
    pub is_named: bool,
}

impl FileError {
    /// Creates an error without advice.
    pub fn plain(doing: &'static str, path: &Path, reason: io::Error) -> Self {
        Self {
            doing,
            path: path.to_owned(),
            reason,
            advice: String::new(),
            is_named: false,
        }
    }

    /// Creates an error with the advice that follows from the system's error.
    pub(crate) fn new(doing: &'static str, path: &Path, reason: io::Error) -> Self {
        let advice = advice(reason.kind()).to_owned();
        Self {
            advice,
            ..Self::plain(doing, path, reason)
        }
    }

    /// Appends what became of the contents.
    pub(crate) fn and(mut self, outcome: &str) -> Self {
        if !self.advice.is_empty() {
            self.advice.push_str("; ");
        }
        self.advice.push_str(outcome);
        self
    }
}

fn advised(advice: &str) -> String {
    match advice {
        "" => String::new(),
        advice => format!("; {advice}"),
    }
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::IsADirectory => "name a file in it",
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem => "its folder must exist and be writable",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space on its disk",
        _ => "",
    }
}
