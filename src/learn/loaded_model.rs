//! A model of either kind, loaded: a graph in ONNX Runtime or a network in libtorch. Owns which computes what, and devices.

use std::path::Path;

use anyhow::{Context, bail};
use fermata_actors::inference::session::{Session, SessionSpec, TensorIn};
use fermata_learn::device::device;
use fermata_learn::network::{Architecture, Head, Mode, Network};
use fermata_learn::weights::{HeadOf, TensorFile};
use fermata_vision::Weights;
use tch::{Device, Tensor, no_grad};

use crate::learn_cli::{Backend, ComputeArguments};

/// Scale of an ArcFace head whose file says nothing of it.
const USUAL_SCALE: f64 = 30.0;

pub(crate) enum LoadedModel {
    OnnxRuntime {
        session: Session,
        output: usize,
    },
    Libtorch {
        network: Box<Network>,
        device: Device,
    },
}

impl LoadedModel {
    /// Loads weights for a device. `output` names the output of a graph; without a name it is the first.
    pub(crate) fn load(
        weights: &Weights,
        output: Option<&str>,
        compute: &ComputeArguments,
    ) -> anyhow::Result<Self> {
        match (weights, compute.backend) {
            (Weights::Onnx { path }, None | Some(Backend::Onnxruntime)) => {
                let spec = SessionSpec {
                    device: compute.device.parse().map_err(anyhow::Error::msg)?,
                    threads: compute.threads as usize,
                };
                let session = Session::load(path, &spec)?;
                let output = match output {
                    None => 0,
                    Some(name) => session.output_index(name).with_context(|| {
                        format!(
                            "{} has no output `{name}`, which its card names",
                            path.display()
                        )
                    })?,
                };
                Ok(Self::OnnxRuntime { session, output })
            }
            (Weights::Safetensors { path, architecture }, None | Some(Backend::Libtorch)) => {
                let device = device(&compute.device)?;
                tch::set_num_threads(compute.threads as i32);
                let architecture: Architecture = architecture.parse()?;
                let (network, _) = network(architecture, path, compute.scale, device)?;
                Ok(Self::Libtorch {
                    network: Box::new(network),
                    device,
                })
            }
            (Weights::Onnx { path }, Some(Backend::Libtorch)) => {
                bail!(
                    "{} is for ONNX Runtime; libtorch takes a model.safetensors",
                    path.display()
                )
            }
            (Weights::Safetensors { path, .. }, Some(Backend::Onnxruntime)) => {
                bail!(
                    "{} is for libtorch; ONNX Runtime takes a model.onnx (fermata export writes one)",
                    path.display()
                )
            }
        }
    }

    /// Rows computed at once: as many as wanted, or one where the graph takes only one.
    pub(crate) fn batch(&self, wanted: u32) -> usize {
        let fixed = match self {
            Self::OnnxRuntime { session, .. } => {
                let input = session.inputs().first();
                input.and_then(|input| input.shape.first().copied().flatten())
            }
            Self::Libtorch { .. } => None,
        };
        if fixed == Some(1) { 1 } else { wanted as usize }
    }

    /// What it says of inputs of this shape, row after row.
    pub(crate) fn run(&mut self, shape: &[usize], values: &[f32]) -> anyhow::Result<Vec<f32>> {
        match self {
            Self::OnnxRuntime { session, output } => {
                let outputs = session.run([TensorIn { shape, values }])?;
                Ok(outputs.get(*output)?.values.to_vec())
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

/// A network with the weights of a file and the head that they have, and where the file comes from. The scale of an ArcFace head is the one that was given, or the file's.
pub(crate) fn network(
    architecture: Architecture,
    path: &Path,
    scale: Option<f64>,
    device: Device,
) -> anyhow::Result<(Network, Option<serde_json::Value>)> {
    let file = TensorFile::read(path)?;
    let scale = scale.or(file.trained_scale()).unwrap_or(USUAL_SCALE);
    // Of another network: loading says how they differ.
    let head = file
        .head(architecture, scale)
        .unwrap_or(Head::Linear { classes: 7 });
    let mut network = Network::new(architecture, head, 0, device);
    let provenance = network.load(path, HeadOf::File)?;
    Ok((network, provenance))
}
