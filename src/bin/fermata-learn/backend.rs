//! `--backend`: whether it is the one that weights are for.

use anyhow::bail;
use fermata::compute_cli::{Backend, ComputeArguments};
use fermata_vision::Weights;

/// Refuses a backend that the weights are not for.
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
