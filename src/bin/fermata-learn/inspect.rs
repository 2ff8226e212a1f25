//! `fermata inspect`: shows what a file or a folder is and where it comes from.

use std::path::Path;

use anyhow::{Context, bail};
use fermata::documents::read_text;
use fermata::print::print;
use fermata_files::MOST_NUMBERS;
use fermata_learn::export;
use fermata_learn::manifest::{Manifest, ManifestError};
use fermata_learn::network::Head;
use fermata_learn::npz::{Npz, summary_of_npy};
use fermata_learn::training::RunFolder;
use fermata_learn::weights::TensorFile;
use fermata_vision::ModelCard;
use fermata_vision::card::{CARD_FILE, ONNX_FILE, SAFETENSORS_FILE};

use crate::manifest::stats;
use crate::{inspect_reports, inspect_runs, inspect_softlabels};

/// An arbitrary scale, for display where it makes no difference.
const ANY_SCALE: f64 = 30.0;

pub(crate) fn inspect(path: &Path) -> anyhow::Result<()> {
    print(&described(path)?)
}

fn described(path: &Path) -> anyhow::Result<String> {
    if path.is_dir() {
        return folder(path);
    }
    let sha256 = fermata_files::sha256_of_file(path)?;
    let described = match path.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => safetensors(path)?,
        Some("onnx") => onnx(path)?,
        Some("npz") => npz(path)?,
        Some("npy") => format!("npy         {}\n", summary_of_npy(path)?),
        Some("csv") => match manifest(path) {
            Err(ManifestError::Columns { .. }) => inspect_reports::table(path)?,
            found => found?,
        },
        Some("json") => inspect_reports::json(path)?,
        Some("jsonl") => inspect_runs::json_lines(path)?,
        Some("yaml" | "yml") => yaml(path)?,
        _ => bail!(
            "{} is none of .safetensors, .onnx, .npz, .npy, a manifest or table (.csv), a report (.json), lines (.jsonl) and a model card, recipe, mapping, training or graph (.yaml)",
            path.display()
        ),
    };
    Ok(format!(
        "{}\nsha256      {sha256}\n{described}",
        path.display()
    ))
}

/// Describes a folder of a model, a training or softlabels.
fn folder(path: &Path) -> anyhow::Result<String> {
    if RunFolder::is_in(path) {
        return training(path);
    }
    if let Some(softlabels) = inspect_softlabels::described(path)? {
        return Ok(softlabels);
    }
    if !path.join(CARD_FILE).is_file() {
        if let Some(report) = inspect_reports::report_in(path) {
            return described(&report);
        }
        bail!(
            "{} is not a folder of a training, a model (it has no {CARD_FILE}), softlabels, a search, an evaluation, a comparison, an audit, a run, an analysis, a sweep or a set of images",
            path.display()
        );
    }
    let mut text = described(&path.join(CARD_FILE))?;
    for name in [ONNX_FILE, SAFETENSORS_FILE] {
        if path.join(name).is_file() {
            text += &format!("\n{}", described(&path.join(name))?);
        }
    }
    text += &match ModelCard::load(path) {
        Ok(_) => "\nthe weights are those that the card describes\n".to_owned(),
        Err(error) => format!("\nit cannot be used: {error}\n"),
    };
    Ok(text)
}

fn training(path: &Path) -> anyhow::Result<String> {
    let folder = RunFolder::open(path)?;
    let progress = folder.progress()?;
    let mut text = format!(
        "{}\n{}stands at   epoch {} of {}{}\n",
        path.display(),
        inspect_runs::config(folder.config()),
        progress.epoch,
        progress.end,
        if progress.has_stopped {
            ", stopped early"
        } else {
            ""
        }
    );
    if let Some(best) = progress.best {
        text += &format!("best        epoch {}\n", best.epoch);
    }
    for name in RunFolder::CHECKPOINTS {
        if path.join(name).is_file() {
            text += &format!("\n{}", described(&path.join(name))?);
        }
    }
    Ok(text)
}

fn yaml(path: &Path) -> anyhow::Result<String> {
    if let Some(found) = inspect_reports::recipe_or_mapping(path) {
        return Ok(found);
    }
    match inspect_runs::yaml(path)? {
        Some(found) => Ok(found),
        None => model_card(path),
    }
}

fn model_card(path: &Path) -> anyhow::Result<String> {
    let card = ModelCard::parse(&read_text(path)?, path)?;
    let network = card.architecture.as_deref();
    Ok(format!(
        "model card  {}\ninput       {:?} {:?}, {:?}\ntemperature {}\nlicence     {}\nsource      {}\nweights     {}\n",
        network.unwrap_or("a graph for ONNX Runtime"),
        card.input.layout,
        card.input.shape(),
        card.input.colour,
        card.temperature,
        card.licence,
        card.source,
        card.sha256.as_deref().unwrap_or("none yet"),
    ))
}

fn manifest(path: &Path) -> Result<String, ManifestError> {
    let manifest = Manifest::read(path)?;
    Ok(format!(
        "manifest    {} rows\n{}",
        manifest.rows.len(),
        stats::table(&manifest.counts())
    ))
}

fn provenance(found: Option<&serde_json::Value>) -> String {
    match found {
        Some(value) => format!("provenance  {value:#}\n"),
        None => "provenance  none: the file does not say where it comes from\n".to_owned(),
    }
}

fn safetensors(file: &Path) -> anyhow::Result<String> {
    let found = TensorFile::read(file)?;
    let values: usize = found.tensors.values().map(|tensor| tensor.numel()).sum();
    let networks = found.architectures();
    let head = networks
        .first()
        .and_then(|&architecture| found.head(architecture, ANY_SCALE));
    let kind = match head {
        Some(Head::Linear { classes }) => format!(", linear head, {classes} classes"),
        Some(Head::ArcFace { classes, .. }) => format!(", ArcFace head, {classes} classes"),
        None => String::new(),
    };
    let network = if networks.is_empty() {
        "unknown".to_owned()
    } else {
        let names: Vec<String> = networks.iter().map(ToString::to_string).collect();
        names.join(" or ") + &kind
    };
    Ok(format!(
        "safetensors {} tensors, {values} values\nnetwork     {network}\n{}",
        found.tensors.len(),
        provenance(found.provenance.as_ref())
    ))
}

fn onnx(file: &Path) -> anyhow::Result<String> {
    let bytes = fermata_files::read(file, MOST_NUMBERS);
    let bytes = bytes.with_context(|| format!("cannot read {}", file.display()))?;
    let Some(found) = export::summary(&bytes) else {
        bail!("{} is not an ONNX file", file.display());
    };
    Ok(format!(
        "onnx        {} nodes, {} values\ngraph       {}\nproducer    {}\n{}",
        found.nodes,
        found.parameters,
        found.graph,
        found.producer,
        provenance(found.provenance.as_ref())
    ))
}

fn npz(file: &Path) -> anyhow::Result<String> {
    let mut found = Npz::open(file)?;
    let mut text = String::new();
    for name in found.names().to_vec() {
        text += &format!("array       {name}: {}\n", found.summary(&name)?);
    }
    Ok(text)
}
