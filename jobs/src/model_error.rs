//! Why a model cannot be loaded or used.

use std::path::PathBuf;

use fermata_learn::device::DeviceError;
use fermata_learn::network::{InputError, UnknownArchitecture};
use fermata_learn::weights::WeightsError;
use fermata_onnx::CardModelError;
use fermata_vision::card::CardError;
use fermata_vision::scores::ScoreError;

/// Why a model cannot be loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The card or the weights file is invalid.
    #[error(transparent)]
    Card(#[from] CardError),
    /// ONNX Runtime failed.
    #[error(transparent)]
    Onnx(#[from] CardModelError),
    /// The device is not available.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device's name is invalid.
    #[error("{0}")]
    DeviceName(String),
    /// The weights are invalid.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// There is no network of this name.
    #[error(transparent)]
    Architecture(#[from] UnknownArchitecture),
    /// The network does not accept these inputs.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The card does not describe these inputs.
    #[error("the inputs have the shape {shape:?}; the card says [N, {}]", expected.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Shape {
        /// Shape of the inputs.
        shape: Vec<usize>,
        /// Shape of one input.
        expected: Vec<usize>,
    },
    /// The output is invalid.
    #[error("{}: {reason}", folder.display())]
    Score {
        /// The model's folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: ScoreError,
    },
}
