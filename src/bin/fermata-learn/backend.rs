//! Checks on a model folder before it is used: whether `--backend` suits the weights, and which files it may have.

use std::path::{Path, PathBuf};

use anyhow::bail;
use fermata::compute_cli::{Backend, ComputeArguments};
use fermata_vision::Weights;
use fermata_vision::card::{CARD_FILE, ONNX_FILE, SAFETENSORS_FILE};

/// Returns the files that a model folder may have, whether or not they exist.
pub(crate) fn files_of_model(folder: &Path) -> [PathBuf; 3] {
    [CARD_FILE, ONNX_FILE, SAFETENSORS_FILE].map(|name| folder.join(name))
}

/// Refuses a backend that does not suit the weights.
pub(crate) fn look_at_backend(weights: &Weights, compute: &ComputeArguments) -> anyhow::Result<()> {
    match (weights, compute.backend) {
        (Weights::Onnx { path }, Some(Backend::Libtorch)) => bail!(
            "{} is for ONNX Runtime; libtorch takes a model.safetensors",
            path.display()
        ),
        (Weights::Safetensors { path, .. }, Some(Backend::Onnxruntime)) => bail!(
            "{} is for libtorch; ONNX Runtime takes a model.onnx (fermata export writes one)",
            path.display()
        ),
        _ => Ok(()),
    }
}
