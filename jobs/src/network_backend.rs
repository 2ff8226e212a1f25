//! The backend of a model: a graph in ONNX Runtime or a network in libtorch. Owns devices and the transfer of inputs
//! and outputs; the card defines what the numbers mean.

use std::path::Path;

use fermata_files::MOST_NUMBERS;
use fermata_learn::device::device as device_of;
use fermata_learn::export;
use fermata_learn::network::{Architecture, Mode, Network};
use fermata_onnx::{CardModel, SessionSpec};
use fermata_vision::Weights;
use fermata_vision::card::Model;
use serde_json::Value;
use tch::{Device, Tensor, no_grad};

use crate::model_error::ModelError;

/// A loaded model with its backend.
pub enum NetworkBackend {
    /// A graph.
    OnnxRuntime(Box<CardModel>),
    /// A network.
    Libtorch {
        /// The network with its weights.
        network: Box<Network>,
        /// The device it is on.
        device: Device,
    },
}

impl NetworkBackend {
    /// Loads a model folder for a device (`cpu`, `cuda:N`, and `openvino` for a graph) and a number of threads. `scale`
    /// is that of an ArcFace head, if its file does not contain it. Also returns the provenance of the weights, if they
    /// record it.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn load(
        model: Model,
        scale: Option<f64>,
        device: &str,
        threads: u32,
    ) -> Result<(Self, Option<Value>), ModelError> {
        match &model.weights {
            Weights::Onnx { path } => {
                let spec = SessionSpec {
                    device: device.parse().map_err(ModelError::DeviceName)?,
                    threads: threads as usize,
                    ..SessionSpec::default()
                };
                // The file was read for its hash a moment ago.
                let bytes = fermata_files::read(path, MOST_NUMBERS).ok();
                let summary = bytes.and_then(|bytes| export::summary(&bytes));
                let provenance = summary.and_then(|summary| summary.provenance);
                let model = CardModel::load(model, &spec)?;
                Ok((Self::OnnxRuntime(Box::new(model)), provenance))
            }
            Weights::Safetensors { path, architecture } => {
                Self::of_weights(path, architecture, scale, device, threads)
            }
        }
    }

    /// Loads the weights of a network without a card; otherwise like [`NetworkBackend::load`].
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn of_weights(
        path: &Path,
        architecture: &str,
        scale: Option<f64>,
        device: &str,
        threads: u32,
    ) -> Result<(Self, Option<Value>), ModelError> {
        let device = device_of(device)?;
        tch::set_num_threads(threads as i32);
        let architecture: Architecture = architecture.parse()?;
        let (network, provenance) = Network::of_file(architecture, path, scale, device)?;
        let network = Box::new(network);
        Ok((Self::Libtorch { network, device }, provenance))
    }

    /// Returns `onnxruntime` or `libtorch`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::OnnxRuntime(_) => "onnxruntime",
            Self::Libtorch { .. } => "libtorch",
        }
    }

    /// Returns the batch size: `wanted`, or the fixed one of the graph.
    pub fn batch(&self, wanted: usize) -> usize {
        match self {
            Self::OnnxRuntime(model) => model.fixed_batch().unwrap_or(wanted),
            Self::Libtorch { .. } => wanted,
        }
        .max(1)
    }

    /// Computes the outputs of inputs of this shape ([N, …], row after row), row after row.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn run(&mut self, shape: &[usize], inputs: &[f32]) -> Result<Vec<f32>, ModelError> {
        match self {
            Self::OnnxRuntime(model) => {
                let expected = model.card().input.shape();
                let rows = match shape {
                    [rows, sides @ ..] if *sides == expected => *rows,
                    _ => {
                        let (shape, expected) = (shape.to_vec(), expected.to_vec());
                        return Err(ModelError::Shape { shape, expected });
                    }
                };
                let mut outputs = Vec::new();
                model.run(rows, inputs, &mut outputs)?;
                Ok(outputs)
            }
            Self::Libtorch { network, device } => {
                let shape: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
                let inputs = Tensor::from_slice(inputs).reshape(&shape);
                let inputs = inputs.to_device(*device);
                let logits = no_grad(|| network.forward(&inputs, Mode::Evaluation))?;
                let mut outputs = vec![0f32; logits.numel()];
                let count = outputs.len();
                logits.to_device(Device::Cpu).copy_data(&mut outputs, count);
                Ok(outputs)
            }
        }
    }
}
