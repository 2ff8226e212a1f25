//! `fermata inspect`: what a file is and where it comes from.

use std::path::Path;

use anyhow::{Context, bail};
use fermata_learn::export;
use fermata_learn::network::Head;
use fermata_learn::npz::Npz;
use fermata_learn::weights::TensorFile;
use fermata_vision::card;

use crate::print::print;

/// Shown where it makes no difference.
const ANY_SCALE: f64 = 30.0;

pub(crate) fn inspect(file: &Path) -> anyhow::Result<()> {
    let sha256 = card::sha256(file).with_context(|| format!("cannot read {}", file.display()))?;
    let described = match file.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => safetensors(file)?,
        Some("onnx") => onnx(file)?,
        Some("npz") => npz(file)?,
        _ => bail!("{} is none of .safetensors, .onnx and .npz", file.display()),
    };
    print(&format!(
        "{}\nsha256      {sha256}\n{described}",
        file.display()
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
        "none that is known".to_owned()
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
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let Some(found) = export::summary(&bytes) else {
        bail!("{} is no ONNX file", file.display());
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
    let found = Npz::open(file)?;
    Ok(format!(
        "npz         arrays: {}\n",
        found.names().join(", ")
    ))
}
