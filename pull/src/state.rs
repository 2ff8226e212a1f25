//! Whether a model is present.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fermata_files::MOST_TEXT;

use crate::catalogue::Entry;

/// Name of the weights in a model's folder.
pub(crate) const WEIGHTS: &str = "model.onnx";
/// Name of the card that describes how they are used.
pub(crate) const CARD: &str = "card.yaml";

/// The state of a model's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The model is complete, with the right checksum.
    Here,
    /// A part has been downloaded.
    Partly {
        /// Number of bytes.
        bytes: u64,
    },
    /// There is no model.
    Missing,
    /// Something differs from the catalogue.
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Returns the state of a model in its folder. Reads the whole file.
pub fn state(entry: &Entry, folder: &Path) -> State {
    let weights = folder.join(WEIGHTS);
    match std::fs::metadata(&weights) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let part = std::fs::metadata(fermata_files::part_path(&weights));
            return match part {
                Ok(part) => State::Partly { bytes: part.len() },
                Err(_) => State::Missing,
            };
        }
        _ => {}
    }
    if let Err(why) = compare(entry, &weights) {
        return State::Wrong { path: weights, why };
    }
    let card = folder.join(CARD);
    match (&entry.card, fermata_files::open(&card, MOST_TEXT)) {
        (None, _) => State::Here,
        (Some(_), Ok(_)) => State::Here,
        (Some(_), Err(error)) => State::Wrong {
            path: card,
            why: error.to_string(),
        },
    }
}

/// Compares a file with the catalogue.
pub(crate) fn compare(entry: &Entry, path: &Path) -> Result<(), String> {
    let length = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .len();
    if length != entry.bytes {
        return Err(format!("it has {length} bytes instead of {}", entry.bytes));
    }
    let sha256 = fermata_files::sha256_of_file(path).map_err(|error| error.to_string())?;
    if sha256 != entry.sha256 {
        return Err(format!(
            "its sha256 is {sha256} instead of {}",
            entry.sha256
        ));
    }
    Ok(())
}
