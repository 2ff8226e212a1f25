//! Writes a model folder, `card.yaml` and weights, which the live graph loads. The folder appears only when complete.

use std::path::{Path, PathBuf};

use fermata_files::{FileError, PartFolder};
use fermata_vision::card::{CARD_FILE, CardError, Model, ModelCard, ONNX_FILE, SAFETENSORS_FILE};

/// What happens to an existing folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Keep it, and write nothing.
    Refused,
    /// Replace it, if it holds a model.
    Allowed,
}

/// Why a model folder was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The folder exists and may not be overwritten.
    #[error("{} is there already; replace it with --overwrite, or name another folder", .0.display())]
    Exists(PathBuf),
    /// The existing folder is not a model folder, so it is not replaced.
    #[error("{} is there and is not a model's folder (it has no {CARD_FILE}), so it is not overwritten", .0.display())]
    NoModel(PathBuf),
    /// A file or folder that cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A card and weights that would not load as a model.
    #[error("the export would not load: {0}")]
    Card(#[from] CardError),
}

/// Writes a folder with a card and weights, and loads it again as the live graph would. Fills in the card's `sha256`;
/// the card's `architecture` decides whether the weights are ONNX (`None`) or safetensors.
///
/// # Errors
/// See [`ExportError`]; nothing has been written then, and an existing folder is unchanged, unless the error of a file
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
