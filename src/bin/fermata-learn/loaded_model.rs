//! A model of either kind, loaded: a graph in ONNX Runtime or a network in libtorch. Owns which computes what, and devices.

use std::path::Path;

use anyhow::bail;
use fermata::compute_cli::{Backend, ComputeArguments};
use fermata_learn::device::device;
use fermata_learn::network::{Architecture, Mode, Network};
use fermata_onnx::{CardModel, SessionSpec};
use fermata_vision::Weights;
use fermata_vision::card::Model;
use tch::{Device, Tensor, no_grad};

pub(crate) enum LoadedModel {
    OnnxRuntime(Box<CardModel>),
    Libtorch {
        network: Box<Network>,
        device: Device,
    },
}

impl LoadedModel {
    /// Loads a model's folder for a device.
    pub(crate) fn of_folder(model: Model, compute: &ComputeArguments) -> anyhow::Result<Self> {
        match (&model.weights, compute.backend) {
            (Weights::Onnx { .. }, None | Some(Backend::Onnxruntime)) => {
                let spec = SessionSpec {
                    device: compute.device.parse().map_err(anyhow::Error::msg)?,
                    threads: compute.threads as usize,
                };
                let model = CardModel::load(model, &spec)?;
                Ok(Self::OnnxRuntime(Box::new(model)))
            }
            (Weights::Safetensors { path, architecture }, _) => {
                Self::of_weights(path, architecture, compute)
            }
            (Weights::Onnx { path }, Some(Backend::Libtorch)) => {
                bail!(
                    "{} is for ONNX Runtime; libtorch takes a model.safetensors",
                    path.display()
                )
            }
        }
    }

    /// Loads a network's weights, which have no card, for a device.
    pub(crate) fn of_weights(
        path: &Path,
        architecture: &str,
        compute: &ComputeArguments,
    ) -> anyhow::Result<Self> {
        if compute.backend == Some(Backend::Onnxruntime) {
            bail!(
                "{} is for libtorch; ONNX Runtime takes a model.onnx (fermata export writes one)",
                path.display()
            )
        }
        let device = device(&compute.device)?;
        tch::set_num_threads(compute.threads as i32);
        let architecture: Architecture = architecture.parse()?;
        let (network, _) = Network::of_file(architecture, path, compute.scale, device)?;
        Ok(Self::Libtorch {
            network: Box::new(network),
            device,
        })
    }

    /// Rows computed at once: as many as wanted, or as many as the graph insists on.
    pub(crate) fn batch(&self, wanted: u32) -> usize {
        match self {
            Self::OnnxRuntime(model) => model.fixed_batch().unwrap_or(wanted as usize),
            Self::Libtorch { .. } => wanted as usize,
        }
    }

    /// What it says of inputs of this shape, row after row.
    pub(crate) fn run(&mut self, shape: &[usize], values: &[f32]) -> anyhow::Result<Vec<f32>> {
        match self {
            Self::OnnxRuntime(model) => {
                let [rows, sides @ ..] = shape else {
                    bail!("an input has no shape");
                };
                let expected = model.card().input.shape();
                if sides != expected {
                    bail!("the inputs have the shape {sides:?}; the card says {expected:?}");
                }
                let mut said = Vec::new();
                model.run(*rows, &mut values.to_vec(), &mut said)?;
                Ok(said)
            }
            Self::Libtorch { network, device } => {
                let shape: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
                let batch = Tensor::from_slice(values)
                    .reshape(&shape)
                    .to_device(*device);
                let logits = no_grad(|| network.forward(&batch, Mode::Evaluation))?;
                let mut rows = vec![0f32; logits.numel()];
                let count = rows.len();
                logits.to_device(Device::Cpu).copy_data(&mut rows, count);
                Ok(rows)
            }
        }
    }
}
