//! A model's folder: `card.yaml` and its weights, as the live graph loads it. It is there whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fermata_vision::card::{CARD_FILE, CardError, Model, ModelCard, ONNX_FILE, SAFETENSORS_FILE};
use sha2::{Digest, Sha256};

use crate::part_file;

/// What happens to a folder that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It stays, and nothing is written.
    Refused,
    /// It is replaced, if it holds a model.
    Allowed,
}

/// Why a model's folder was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something is there already.
    #[error("{} is there already; say that it may be overwritten, or name another folder", .0.display())]
    Exists(PathBuf),
    /// What is there is no model's folder, so it is not replaced.
    #[error("{} is there and is no model's folder (it has no {CARD_FILE}); it is not overwritten", .0.display())]
    NoModel(PathBuf),
    /// The system does not let it be written.
    #[error("cannot write {}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The card and the weights are no model that could be loaded.
    #[error("the export would not load: {0}")]
    Card(#[from] CardError),
}

/// Writes a folder with a card and its weights, and reads it again as the live graph would. The card's `sha256` is filled in; its
/// `architecture` says whether the weights are ONNX (none) or safetensors.
///
/// # Errors
/// See [`ExportError`]; then nothing has been written, and what was there is still there.
pub fn write_folder(
    folder: &Path,
    mut card: ModelCard,
    weights: &[u8],
    overwrite: Overwrite,
) -> Result<Model, ExportError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |reason| ExportError::File { path, reason }
    };
    if folder.symlink_metadata().is_ok() {
        if overwrite == Overwrite::Refused {
            return Err(ExportError::Exists(folder.to_owned()));
        }
        if !folder.join(CARD_FILE).is_file() {
            return Err(ExportError::NoModel(folder.to_owned()));
        }
    }
    let file = if card.architecture.is_some() {
        SAFETENSORS_FILE
    } else {
        ONNX_FILE
    };
    card.sha256 = Some(format!("{:x}", Sha256::digest(weights)));
    let part = part_file::part_path(folder);
    let written = (|| {
        if part.exists() {
            fs::remove_dir_all(&part).map_err(failed(&part))?;
        }
        fs::create_dir_all(&part).map_err(failed(&part))?;
        part_file::write(&part.join(file), weights).map_err(failed(&part.join(file)))?;
        let card_path = part.join(CARD_FILE);
        part_file::write(&card_path, card.to_yaml().as_bytes()).map_err(failed(&card_path))?;
        ModelCard::load(&part)?;
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(failed(folder))?;
        }
        fs::rename(&part, folder).map_err(failed(folder))?;
        Ok(ModelCard::load(folder)?)
    })();
    if written.is_err() {
        let _ = fs::remove_dir_all(&part);
    }
    written
}
