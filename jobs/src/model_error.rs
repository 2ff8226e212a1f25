//! Why a model cannot be loaded or asked.

use std::path::PathBuf;

use fermata_learn::device::DeviceError;
use fermata_learn::network::{InputError, UnknownArchitecture};
use fermata_learn::weights::WeightsError;
use fermata_onnx::CardModelError;
use fermata_vision::card::CardError;
use fermata_vision::scores::ScoreError;

/// Why a model cannot be loaded or asked.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The card or the weights' file.
    #[error(transparent)]
    Card(#[from] CardError),
    /// ONNX Runtime.
    #[error(transparent)]
    Onnx(#[from] CardModelError),
    /// A device that is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A device's name.
    #[error("{0}")]
    DeviceName(String),
    /// The weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// No network of this name.
    #[error(transparent)]
    Architecture(#[from] UnknownArchitecture),
    /// Inputs that the network does not take.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Inputs that the card does not describe.
    #[error("the inputs have the shape {shape:?}; the card says [N, {}]", expected.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Shape {
        /// Of the inputs.
        shape: Vec<usize>,
        /// Of one input.
        expected: Vec<usize>,
    },
    /// What it says is no answer.
    #[error("{}: {reason}", folder.display())]
    Score {
        /// The model's folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: ScoreError,
    },
}
