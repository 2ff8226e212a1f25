//! A model's folder: `card.yaml` and its weights, as the live graph loads it. It is there whole or not at all.

use std::path::{Path, PathBuf};

use fermata_files::{FileError, PartFolder};
use fermata_vision::card::{CARD_FILE, CardError, Model, ModelCard, ONNX_FILE, SAFETENSORS_FILE};

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
    #[error("{} is there already; --overwrite replaces it, or name another folder", .0.display())]
    Exists(PathBuf),
    /// What is there is not a model's folder, so it is not replaced.
    #[error("{} is there and is not a model's folder (it has no {CARD_FILE}); it is not overwritten", .0.display())]
    NoModel(PathBuf),
    /// The system does not let it be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The card and the weights are no model that could be loaded.
    #[error("the export would not load: {0}")]
    Card(#[from] CardError),
}

/// Writes a folder with a card and its weights, and reads it again as the live graph would. The card's `sha256` is
/// filled in; its `architecture` says whether the weights are ONNX (none) or safetensors.
///
/// # Errors
/// See [`ExportError`]; then nothing has been written, and what was there is still there, unless the error of a file
/// says that the folder [has its name](FileError::is_named).
pub fn write_folder(
    folder: &Path,
    mut card: ModelCard,
    weights: &[u8],
    overwrite: Overwrite,
) -> Result<Model, ExportError> {
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
    card.sha256 = Some(fermata_files::sha256(weights));
    let part = PartFolder::create(folder)?;
    fermata_files::write(&part.part().join(file), weights)?;
    fermata_files::write(&part.part().join(CARD_FILE), card.to_yaml().as_bytes())?;
    ModelCard::load(part.part())?;
    part.finish()?;
    Ok(ModelCard::load(folder)?)
}
