//! `fermata infer`: logits of inputs in a NumPy file, by ONNX Runtime or libtorch.

use std::path::Path;

use anyhow::{Context, bail};
use fermata_actors::inference::session::{Session, SessionSpec, TensorIn};
use fermata_learn::network::{Architecture, Mode, Network};
use fermata_learn::npz::{Array, read_npy, write_npy};
use fermata_learn::weights::{HeadOf, TensorFile};
use fermata_vision::{ModelCard, Weights};
use tch::{Device, Tensor, no_grad};

use crate::learn_cli::{Backend, InferArguments};
use crate::print::print_line;

pub(crate) fn infer(arguments: &InferArguments) -> anyhow::Result<()> {
    let input = read_npy(&arguments.input)?;
    let &[rows, ..] = &input.shape[..] else {
        bail!(
            "{} holds a single number; expected [N, C, H, W]",
            arguments.input.display()
        );
    };
    if input.shape.len() != 4 || rows == 0 {
        bail!(
            "{} has the shape {:?}; expected [N, C, H, W] with N at least 1",
            arguments.input.display(),
            input.shape
        );
    }
    let model = arguments.model.as_ref().map(ModelCard::load).transpose()?;
    let weights = match (&model, &arguments.weights, &arguments.arch) {
        (Some(model), ..) => model.weights.clone(),
        (None, Some(path), Some(architecture)) => Weights::Safetensors {
            path: path.clone(),
            architecture: architecture.clone(),
        },
        _ => bail!("name a model folder, or a network and its weights"),
    };
    let output = match (&weights, arguments.backend) {
        (Weights::Onnx { path }, None | Some(Backend::Onnxruntime)) => {
            with_onnx_runtime(path, &input, arguments)?
        }
        (Weights::Safetensors { path, architecture }, None | Some(Backend::Libtorch)) => {
            with_libtorch(path, architecture, &input, arguments)?
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
    };
    if let Some(place) = output.values.iter().position(|value| !value.is_finite()) {
        bail!(
            "the logits of row {} are not finite numbers; nothing was written",
            place / output.shape[1].max(1)
        );
    }
    write_npy(&arguments.output, &output)?;
    print_line(&format!(
        "{} rows of {} logits written to {}",
        output.shape[0],
        output.shape[1],
        arguments.output.display()
    ))
}

/// Parts of the input, each with its dimensions.
fn batches(input: &Array<f32>, batch: u32) -> impl Iterator<Item = (Vec<usize>, &[f32])> {
    let row: usize = input.shape[1..].iter().product();
    input
        .values
        .chunks(row.max(1) * batch as usize)
        .map(move |values| {
            let mut shape = input.shape.clone();
            shape[0] = values.len() / row.max(1);
            (shape, values)
        })
}

fn with_onnx_runtime(
    path: &Path,
    input: &Array<f32>,
    arguments: &InferArguments,
) -> anyhow::Result<Array<f32>> {
    let spec = SessionSpec {
        device: arguments.device.parse().map_err(anyhow::Error::msg)?,
        threads: arguments.threads as usize,
    };
    let mut session = Session::load(path, &spec)?;
    let mut output = Array {
        shape: vec![input.shape[0], 0],
        values: Vec::new(),
    };
    for (shape, values) in batches(input, arguments.batch) {
        let outputs = session.run([TensorIn {
            shape: &shape,
            values,
        }])?;
        let logits = outputs.get(0)?;
        output.shape[1] = logits.values.len() / shape[0];
        output.values.extend_from_slice(logits.values);
    }
    Ok(output)
}

/// The device of this name, if libtorch has it.
fn device(name: &str) -> anyhow::Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let number = name
        .strip_prefix("cuda:")
        .and_then(|number| number.parse::<usize>().ok());
    let number =
        number.with_context(|| format!("`{name}` is no device; there are cpu and cuda:N"))?;
    let there = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
    if number >= there {
        bail!("there is no device cuda:{number}: libtorch sees {there} CUDA devices");
    }
    Ok(Device::Cuda(number))
}

fn with_libtorch(
    path: &Path,
    architecture: &str,
    input: &Array<f32>,
    arguments: &InferArguments,
) -> anyhow::Result<Array<f32>> {
    let device = device(&arguments.device)?;
    tch::set_num_threads(arguments.threads as i32);
    let architecture: Architecture = architecture.parse()?;
    let network = load(architecture, path, arguments.scale, device)?;
    let classes = network.description().head.classes() as usize;
    let mut output = Array {
        shape: vec![input.shape[0], classes],
        values: Vec::with_capacity(input.shape[0] * classes),
    };
    for (shape, values) in batches(input, arguments.batch) {
        let shape: Vec<i64> = shape.into_iter().map(|side| side as i64).collect();
        let batch = Tensor::from_slice(values).reshape(&shape).to_device(device);
        let logits = no_grad(|| network.forward(&batch, Mode::Evaluation))?;
        let mut rows = vec![0f32; logits.numel()];
        let count = rows.len();
        logits.to_device(Device::Cpu).copy_data(&mut rows, count);
        output.values.extend(rows);
    }
    Ok(output)
}

/// A network with the weights of a file and the head that they have.
pub(crate) fn load(
    architecture: Architecture,
    path: &Path,
    scale: f64,
    device: Device,
) -> anyhow::Result<Network> {
    let file = TensorFile::read(path)?;
    // Of another network: loading says how they differ.
    let head = match file.network(scale) {
        Some((found, head)) if found == architecture => head,
        _ => fermata_learn::network::Head::Linear { classes: 7 },
    };
    let mut network = Network::new(architecture, head, 0, device);
    network.load(path, HeadOf::File)?;
    Ok(network)
}
