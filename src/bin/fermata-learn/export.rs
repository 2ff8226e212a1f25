//! `fermata export`: writes weights as a model folder that the live graph loads.

use std::path::{Path, PathBuf};

use anyhow::bail;
use fermata::documents::read_text;
use fermata::learn_cli::ExportArguments;
use fermata::print::print_line;
use fermata::spared_inputs::refuse_to_replace_folder_of;
use fermata_learn::export::{INPUT, OUTPUT, OnnxOptions, Overwrite, onnx, write_folder};
use fermata_learn::network::{Architecture, Head, Network};
use fermata_vision::Weights;
use fermata_vision::card::{Layout, ModelCard, OutputKind};
use serde_json::json;
use tch::Device;

use crate::backend::files_of_model;

/// What to export.
struct Exported {
    architecture: Architecture,
    weights: PathBuf,
    card: ModelCard,
}

impl Exported {
    fn of(arguments: &ExportArguments) -> anyhow::Result<Self> {
        if let Some(folder) = &arguments.model {
            let model = ModelCard::load(folder)?;
            let Weights::Safetensors { path, architecture } = model.weights else {
                bail!(
                    "{} holds a model.onnx, which the live graph loads as it is",
                    folder.display()
                );
            };
            return Ok(Self {
                architecture: architecture.parse()?,
                weights: path,
                card: model.card,
            });
        }
        let (Some(arch), Some(weights), Some(card)) =
            (&arguments.arch, &arguments.weights, &arguments.card)
        else {
            bail!("give either --model, or --arch, --weights and --card");
        };
        Ok(Self {
            architecture: arch.parse()?,
            weights: weights.clone(),
            card: ModelCard::parse(&read_text(card)?, card)?,
        })
    }
}

pub(crate) fn export(arguments: &ExportArguments) -> anyhow::Result<()> {
    let given = [&arguments.model, &arguments.weights, &arguments.card];
    let mut read: Vec<PathBuf> = given.into_iter().flatten().cloned().collect();
    read.extend(
        arguments
            .model
            .iter()
            .flat_map(|folder| files_of_model(folder)),
    );
    let read: Vec<&Path> = read.iter().map(PathBuf::as_path).collect();
    refuse_to_replace_folder_of(&read, &arguments.output)?;
    let Exported {
        architecture,
        weights: file,
        mut card,
    } = Exported::of(arguments)?;
    let (network, trained) = Network::of_file(architecture, &file, arguments.scale, Device::Cpu)?;
    let classes = network.description().head.classes() as usize;
    if card.output.len() != classes {
        bail!(
            "the weights have {classes} classes, and the card names {}",
            card.output.len()
        );
    }
    let channels = architecture.channels();
    if card.input.layout != Layout::Nchw
        || card.input.colour.channels() as i64 != channels
        || card.output.kind != OutputKind::Logits
    {
        bail!(
            "{architecture} takes nchw inputs with {channels} channels and gives logits; the card says otherwise"
        );
    }
    card.architecture = None;
    card.input.name = INPUT.to_owned();
    card.output.name = OUTPUT.to_owned();
    let options = OnnxOptions {
        width: card.input.size.width as i64,
        height: card.input.size.height as i64,
        fold_batch_norm: !arguments.keep_batch_norm,
    };
    // The scale of an ArcFace head is multiplied into the exported weights and cannot be read from them.
    let scale = match network.description().head {
        Head::ArcFace { scale, .. } => Some(scale),
        Head::Linear { .. } => None,
    };
    let provenance = json!({
        "made_by": "export",
        "architecture": architecture.to_string(),
        "weights_sha256": fermata_files::sha256_of_file(&file)?,
        "arcface_scale": scale,
        "fold_batch_norm": options.fold_batch_norm,
        "fermata": env!("CARGO_PKG_VERSION"),
        // As recorded in the weights: seed, epoch, manifest and settings of a training.
        "weights": trained,
    });
    let weights = onnx(&network, options, Some(&provenance));
    let overwrite = if arguments.overwrite {
        Overwrite::Allowed
    } else {
        Overwrite::Refused
    };
    write_folder(&arguments.output, card, &weights, overwrite)?;
    print_line(&format!(
        "{architecture} written to {}",
        arguments.output.display()
    ))
}
