//! The model card: the single description of a model's input and output, stored beside its weights. Owns how a model
//! folder is loaded; `spec` defines the card's fields, and [`crate::preprocess`] and [`crate::scores`] implement them.

mod contradictions;
mod spec;
mod values;

use std::io;
use std::path::{Path, PathBuf};

use fermata_files::YamlError;

pub use self::spec::{
    Alignment, Aspect, Border, ClaheChannel, ClaheSpec, ClaheStage, Colour, CropSpec, InputSpec,
    Interpolation, Layout, ModelCard, Normalisation, OutputKind, OutputSpec, ScalingStep,
};
pub use self::values::{Factors, Size};

/// File name of the card in a model folder.
pub const CARD_FILE: &str = "card.yaml";
/// File name of weights that ONNX Runtime runs.
pub const ONNX_FILE: &str = "model.onnx";
/// File name of the weights of a model that is built from the name of its architecture.
pub const SAFETENSORS_FILE: &str = "model.safetensors";

/// Returns the files that a model folder may contain: its card, and weights of either kind.
pub fn model_files(folder: &Path) -> [PathBuf; 3] {
    [CARD_FILE, ONNX_FILE, SAFETENSORS_FILE].map(|name| folder.join(name))
}

/// A model folder whose card has been read and is free of contradictions.
#[derive(Clone, Debug)]
pub struct Model {
    /// Path of the folder.
    pub folder: PathBuf,
    /// Its card.
    pub card: ModelCard,
    /// Its weights.
    pub weights: Weights,
}

/// The weights file that a card's `sha256` refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Weights {
    /// A graph for ONNX Runtime.
    Onnx { path: PathBuf },
    /// Named parameters of a network that is built in code.
    Safetensors { path: PathBuf, architecture: String },
}

impl Weights {
    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Onnx { path } | Self::Safetensors { path, .. } => path,
        }
    }
}

/// Why a model folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum CardError {
    /// The card is missing or unreadable.
    #[error("cannot read the model card {}: {reason}; a model is a folder with {CARD_FILE} and its weights", path.display())]
    Read { path: PathBuf, reason: io::Error },
    /// The card is not valid YAML, or not a card.
    #[error("the model card cannot be understood: {0}")]
    Parse(#[from] YamlError),
    /// The card is inconsistent; contains all problems.
    #[error("the model card {} contradicts itself: {}", path.display(), problems.join("; "))]
    Contradictions {
        path: PathBuf,
        problems: Vec<String>,
    },
    /// The weights are missing or unreadable.
    #[error("cannot read the weights {}: {reason}; {}", path.display(), weights_rule(path))]
    Weights { path: PathBuf, reason: io::Error },
    /// The card in a model folder does not identify its weights.
    #[error(
        "the model card {} has no `sha256`, so it cannot be checked whether it describes the weights beside it; theirs is {actual}",
        path.display()
    )]
    NoSha256 { path: PathBuf, actual: String },
    /// The weights are not those that the card describes.
    #[error(
        "the weights {} have sha256 {actual}, but the card says {expected}: they are not the model that the card describes, or the card is out of date",
        path.display()
    )]
    Sha256 {
        path: PathBuf,
        expected: String,
        actual: String,
    },
}

fn unreadable(weights: &Path, reason: io::Error) -> CardError {
    CardError::Weights {
        path: weights.to_owned(),
        reason,
    }
}

fn weights_rule(path: &Path) -> &'static str {
    if path.ends_with(SAFETENSORS_FILE) {
        "a card with `architecture` describes model.safetensors"
    } else {
        "a card without `architecture` describes model.onnx"
    }
}

/// Maximum size of a card, in bytes.
const MOST_BYTES: u64 = 1 << 20;

impl ModelCard {
    /// Loads a model folder: the card, checked for contradictions, and its weights, checked against `sha256`.
    ///
    /// # Errors
    /// See [`CardError`].
    pub fn load(folder: impl AsRef<Path>) -> Result<Model, CardError> {
        let model = Self::find(folder.as_ref())?;
        let path = model.weights.path();
        let actual =
            fermata_files::sha256_of_file(path).map_err(|error| unreadable(path, error.reason))?;
        let Some(expected) = &model.card.sha256 else {
            let path = model.folder.join(CARD_FILE);
            return Err(CardError::NoSha256 { path, actual });
        };
        if !actual.eq_ignore_ascii_case(expected) {
            return Err(CardError::Sha256 {
                path: path.to_owned(),
                expected: expected.clone(),
                actual,
            });
        }
        Ok(model)
    }

    /// Does the same as [`ModelCard::load`] without reading the weights: they only have to exist, and are verified when
    /// they are loaded.
    ///
    /// # Errors
    /// Fails with [`CardError::Weights`] if they cannot be opened, and with the errors of [`ModelCard::read`].
    pub fn find(folder: &Path) -> Result<Model, CardError> {
        let card = Self::read(folder)?;
        let weights = card.weights(folder);
        let path = weights.path();
        fermata_files::open(path, u64::MAX).map_err(|reason| unreadable(path, reason))?;
        Ok(Model {
            folder: folder.to_owned(),
            card,
            weights,
        })
    }

    /// Reads the card of a model folder and ignores the weights.
    ///
    /// # Errors
    /// [`CardError::Read`], [`CardError::Parse`] and [`CardError::Contradictions`].
    pub fn read(folder: &Path) -> Result<Self, CardError> {
        let path = folder.join(CARD_FILE);
        let text =
            fermata_files::read_text(&path, MOST_BYTES).map_err(|reason| CardError::Read {
                path: path.clone(),
                reason,
            })?;
        Self::parse(&text, &path)
    }

    /// Parses a card; `path` is its origin, for messages.
    ///
    /// # Errors
    /// [`CardError::Parse`] and [`CardError::Contradictions`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, CardError> {
        let card: Self = fermata_files::from_yaml(text, path)?;
        let problems = card.contradictions();
        if problems.is_empty() {
            Ok(card)
        } else {
            Err(CardError::Contradictions {
                path: path.to_owned(),
                problems,
            })
        }
    }

    /// Returns the card as text for [`CARD_FILE`].
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).expect("a card can always be written as YAML")
    }

    fn weights(&self, folder: &Path) -> Weights {
        match &self.architecture {
            None => Weights::Onnx {
                path: folder.join(ONNX_FILE),
            },
            Some(architecture) => Weights::Safetensors {
                path: folder.join(SAFETENSORS_FILE),
                architecture: architecture.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
