//! A model's folder, loaded: a graph in ONNX Runtime or a network in libtorch, as its weights are. Owns which computes what, and what the
//! weights' provenance says.

use std::path::{Path, PathBuf};

use fermata_learn::device::{DeviceError, device};
use fermata_learn::export;
use fermata_learn::folds::Learnt;
use fermata_learn::network::{Architecture, InputError, Mode, Network};
use fermata_learn::weights::WeightsError;
use fermata_onnx::{CardModel, CardModelError, SessionSpec};
use fermata_vision::card::{CardError, ModelCard};
use fermata_vision::scores::{ScoreError, to_logits};
use fermata_vision::{Weights, face::EXPRESSIONS};
use serde_json::Value;
use tch::{Device, Tensor, no_grad};

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
    #[error("{}: {reason}", folder.display())]
    Architecture {
        /// The model's folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Inputs that the network does not take.
    #[error(transparent)]
    Input(#[from] InputError),
    /// What it says is no answer.
    #[error("{}: {reason}", folder.display())]
    Score {
        /// The model's folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: ScoreError,
    },
}

enum Engine {
    OnnxRuntime(Box<CardModel>),
    Libtorch {
        network: Box<Network>,
        device: Device,
    },
}

/// A model that can be asked. One thread at a time asks it, the one that loaded it.
pub struct LoadedModel {
    folder: PathBuf,
    card: ModelCard,
    provenance: Option<Value>,
    engine: Engine,
}

impl LoadedModel {
    /// Loads a folder for a device (`cpu`, `cuda:N`) and this number of threads.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn load(folder: &Path, device_name: &str, threads: u32) -> Result<Self, ModelError> {
        let model = ModelCard::load(folder)?;
        let card = model.card.clone();
        let (engine, provenance) = match &model.weights {
            Weights::Onnx { path } => {
                let spec = SessionSpec {
                    device: device_name.parse().map_err(ModelError::DeviceName)?,
                    threads: threads as usize,
                };
                // It was read for its hash a moment ago.
                let summary = std::fs::read(path)
                    .ok()
                    .and_then(|bytes| export::summary(&bytes));
                let provenance = summary.and_then(|summary| summary.provenance);
                let engine = Engine::OnnxRuntime(Box::new(CardModel::load(model, &spec)?));
                (engine, provenance)
            }
            Weights::Safetensors { path, architecture } => {
                let device = device(device_name)?;
                tch::set_num_threads(threads as i32);
                let architecture: Architecture =
                    architecture
                        .parse()
                        .map_err(|reason| ModelError::Architecture {
                            folder: folder.to_owned(),
                            reason: format!("{reason}"),
                        })?;
                let (network, provenance) = Network::of_file(architecture, path, None, device)?;
                let network = Box::new(network);
                (Engine::Libtorch { network, device }, provenance)
            }
        };
        Ok(Self {
            folder: folder.to_owned(),
            card,
            provenance,
            engine,
        })
    }

    /// What it takes and says.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// What it has learnt from, if its weights say so.
    pub fn learnt(&self) -> Option<Learnt> {
        Learnt::of(self.provenance.as_ref()?)
    }

    /// `onnxruntime` or `libtorch`.
    pub fn backend(&self) -> &'static str {
        match self.engine {
            Engine::OnnxRuntime(_) => "onnxruntime",
            Engine::Libtorch { .. } => "libtorch",
        }
    }

    /// Inputs that are computed at once: as many as wanted, or as many as the graph insists on.
    pub fn batch(&self, wanted: usize) -> usize {
        match &self.engine {
            Engine::OnnxRuntime(model) => model.fixed_batch().unwrap_or(wanted),
            Engine::Libtorch { .. } => wanted,
        }
        .max(1)
    }

    /// Appends the logits of inputs that lie in `inputs` one after another, seven each, in the canonical class order and not divided by the
    /// card's temperature. At most `wanted` inputs are computed at once.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn logits(
        &mut self,
        inputs: &[f32],
        wanted: usize,
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let at_once = self.batch(wanted) * self.card.input.len();
        for inputs in inputs.chunks(at_once) {
            let said = self.run(inputs)?;
            for raw in said.chunks(EXPRESSIONS) {
                let logits = to_logits(&self.card, raw).map_err(|reason| ModelError::Score {
                    folder: self.folder.clone(),
                    reason,
                })?;
                out.extend(logits);
            }
        }
        Ok(())
    }

    fn run(&mut self, inputs: &[f32]) -> Result<Vec<f32>, ModelError> {
        let rows = inputs.len() / self.card.input.len();
        match &mut self.engine {
            Engine::OnnxRuntime(model) => {
                let mut said = Vec::with_capacity(rows * EXPRESSIONS);
                model.run(rows, &mut inputs.to_vec(), &mut said)?;
                Ok(said)
            }
            Engine::Libtorch { network, device } => {
                let [a, b, c] = self.card.input.shape().map(|side| side as i64);
                let inputs = Tensor::from_slice(inputs).reshape([rows as i64, a, b, c]);
                let inputs = inputs.to_device(*device);
                let logits = no_grad(|| network.forward(&inputs, Mode::Evaluation))?;
                let mut said = vec![0f32; logits.numel()];
                let count = said.len();
                logits.to_device(Device::Cpu).copy_data(&mut said, count);
                Ok(said)
            }
        }
    }
}
