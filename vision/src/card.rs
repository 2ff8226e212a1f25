//! The model card: the one description of what a model takes and what it says, kept beside its weights. Owns how a
//! model's folder is loaded; the card's fields are `spec`'s, and [`crate::preprocess`] and [`crate::scores`] do what a
//! card says.

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

/// Name of the card in a model's folder.
pub const CARD_FILE: &str = "card.yaml";
/// Name of the weights of a model that ONNX Runtime runs.
pub const ONNX_FILE: &str = "model.onnx";
/// Name of the weights of a model that is built by its architecture's name.
pub const SAFETENSORS_FILE: &str = "model.safetensors";

/// The files that a model's folder may have: its card, and weights of either kind.
pub fn model_files(folder: &Path) -> [PathBuf; 3] {
    [CARD_FILE, ONNX_FILE, SAFETENSORS_FILE].map(|name| folder.join(name))
}

/// A model's folder, read and found free of contradictions.
#[derive(Clone, Debug)]
pub struct Model {
    /// Where it is.
    pub folder: PathBuf,
    /// What it takes and says.
    pub card: ModelCard,
    /// What computes it.
    pub weights: Weights,
}

/// The file that a card's `sha256` is of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Weights {
    /// A graph for ONNX Runtime.
    Onnx { path: PathBuf },
    /// Parameters by name, of a network that is built in code.
    Safetensors { path: PathBuf, architecture: String },
}

impl Weights {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Onnx { path } | Self::Safetensors { path, .. } => path,
        }
    }
}

/// Why a model's folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum CardError {
    /// No card, or not readable.
    #[error("cannot read the model card {}: {reason}; a model is a folder with {CARD_FILE} and its weights", path.display())]
    Read { path: PathBuf, reason: io::Error },
    /// Not YAML, or not a card.
    #[error("the model card cannot be understood: {0}")]
    Parse(#[from] YamlError),
    /// A card that no model can fulfil; all problems of it.
    #[error("the model card {} contradicts itself: {}", path.display(), problems.join("; "))]
    Contradictions {
        path: PathBuf,
        problems: Vec<String>,
    },
    /// No weights, or not readable.
    #[error("cannot read the weights {}: {reason}; {}", path.display(), weights_rule(path))]
    Weights { path: PathBuf, reason: io::Error },
    /// A card of no weights in particular, in a model's folder.
    #[error(
        "the model card {} has no `sha256`, so that nothing tells whether the weights beside it are the ones it describes; theirs is {actual}",
        path.display()
    )]
    NoSha256 { path: PathBuf, actual: String },
    /// Other weights than the card describes.
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

/// Bytes of the largest card that is read.
const MOST_BYTES: u64 = 1 << 20;

impl ModelCard {
    /// Reads a model's folder: the card, checked for contradictions, and its weights, checked against `sha256`.
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

    /// The same without a look into the weights: they are there, and whether they are the right ones is told when they
    /// are loaded.
    ///
    /// # Errors
    /// [`CardError::Weights`] if they cannot be opened, and those of [`ModelCard::read`].
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

    /// Reads the card of a model's folder, for whoever needs no weights: they are not looked at.
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

    /// Reads a card from text; `path` is where it came from, for messages.
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

    /// The card as text for [`CARD_FILE`].
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).expect("a card holds nothing that YAML cannot say")
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
