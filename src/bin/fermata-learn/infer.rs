//! `fermata infer`: computes logits for inputs in a NumPy file, with ONNX Runtime or libtorch. What a model folder
//! returns becomes logits in the canonical class order, as its card says; weights without a card have no such order.

use std::path::PathBuf;

use anyhow::{Context, bail};
use fermata::documents::refuse_other_ending;
use fermata::learn_cli::InferArguments;
use fermata::print::print_line;
use fermata::spared_inputs::refuse_to_write_over;
use fermata_jobs::network_backend::NetworkBackend;
use fermata_learn::npz::{Array, read_npy, write_npy};
use fermata_vision::scores::to_logits;
use fermata_vision::{ModelCard, Weights};

use crate::backend::{files_of_model, look_at_backend};

pub(crate) fn infer(arguments: &InferArguments) -> anyhow::Result<()> {
    let mut read = vec![arguments.input.as_path()];
    read.extend(arguments.weights.as_deref());
    let of_model = arguments.model.as_deref().map(files_of_model);
    read.extend(of_model.iter().flatten().map(PathBuf::as_path));
    refuse_to_write_over(&read, &[&arguments.output])?;
    refuse_other_ending(&arguments.output, "npy")?;
    let input = read_npy(&arguments.input)?;
    let &[rows, ..] = &input.shape[..] else {
        bail!(
            "{} holds a single number; expected [N, C, H, W]",
            arguments.input.display()
        );
    };
    if input.shape.len() != 4 || rows == 0 || input.values.is_empty() {
        bail!(
            "{} has the shape {:?}; expected [N, C, H, W], each at least 1",
            arguments.input.display(),
            input.shape
        );
    }
    let compute = &arguments.compute;
    let (scale, device, threads) = (compute.scale, &compute.device, compute.threads);
    let ((mut model, _), card) = match (&arguments.model, &arguments.weights, &arguments.arch) {
        (Some(folder), ..) => {
            let model = ModelCard::load(folder)?;
            look_at_backend(&model.weights, compute)?;
            let card = model.card.clone();
            let loaded = NetworkBackend::load(model, scale, device, threads)?;
            (loaded, Some(card))
        }
        (None, Some(path), Some(architecture)) => {
            let weights = Weights::Safetensors {
                path: path.clone(),
                architecture: architecture.clone(),
            };
            look_at_backend(&weights, compute)?;
            let loaded = NetworkBackend::of_weights(path, architecture, scale, device, threads)?;
            (loaded, None)
        }
        _ => bail!("name a model folder, or a network and its weights"),
    };
    let output = logits(&mut model, card.as_ref(), &input, compute.batch)?;
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

/// Computes the outputs of all rows and, if there is a card, turns them into logits in the canonical class order.
fn logits(
    model: &mut NetworkBackend,
    card: Option<&ModelCard>,
    input: &Array<f32>,
    batch: u32,
) -> anyhow::Result<Array<f32>> {
    let row = input.shape[1..].iter().product::<usize>().max(1);
    let mut values = Vec::new();
    for batch in input.values.chunks(row * model.batch(batch as usize)) {
        let mut shape = input.shape.clone();
        shape[0] = batch.len() / row;
        values.extend(model.run(&shape, batch)?);
    }
    if let Some(card) = card {
        let count = values.len().div_ceil(input.shape[0]).max(1);
        let mut logits = Vec::new();
        for (row, outputs) in values.chunks(count).enumerate() {
            let of_row = to_logits(card, outputs).with_context(|| {
                format!("the outputs of row {row} are not what the card says; nothing was written")
            })?;
            logits.extend(of_row);
        }
        values = logits;
    }
    Ok(Array {
        shape: vec![input.shape[0], values.len() / input.shape[0]],
        values,
    })
}
