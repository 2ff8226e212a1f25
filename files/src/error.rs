//! Why a file or folder could not be written, read or locked, and what to do about it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What the system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{}`: {reason}{}", path.display(), advised(advice))]
pub struct FileError {
    /// What was to be done, as after "cannot".
    pub doing: &'static str,
    /// To which file or folder.
    pub path: PathBuf,
    /// What the system says.
    pub reason: io::Error,
    /// What to do, or what became of the contents; may be empty.
    pub advice: String,
    /// The file is complete under its name all the same: a power cut alone can take it away.
    pub is_named: bool,
}

impl FileError {
    /// An error of which there is nothing to advise.
    pub fn plain(doing: &'static str, path: &Path, reason: io::Error) -> Self {
        Self {
            doing,
            path: path.to_owned(),
            reason,
            advice: String::new(),
            is_named: false,
        }
    }

    /// An error whose advice follows from what the system says.
    pub(crate) fn new(doing: &'static str, path: &Path, reason: io::Error) -> Self {
        let advice = advice(reason.kind()).to_owned();
        Self {
            advice,
            ..Self::plain(doing, path, reason)
        }
    }

    /// The same, and what became of the contents.
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
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on its disk",
        _ => "",
    }
}
