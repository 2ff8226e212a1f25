//! `fermata inspect`: what a file is and where it comes from.

use std::path::Path;

use anyhow::{Context, bail};
use fermata::print::print;
use fermata_learn::export;
use fermata_learn::npz::Npz;
use fermata_learn::weights::TensorFile;

/// Shown where it makes no difference.
const ANY_SCALE: f64 = 30.0;

pub(crate) fn inspect(file: &Path) -> anyhow::Result<()> {
    let sha256 = fermata_files::sha256_of_file(file)?;
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
    let network =
        found
            .network(ANY_SCALE)
            .map_or("none that is known".to_owned(), |(architecture, head)| {
                let kind = match head {
                    fermata_learn::network::Head::Linear { .. } => "linear",
                    fermata_learn::network::Head::ArcFace { .. } => "ArcFace",
                };
                format!("{architecture}, {kind} head, {} classes", head.classes())
            });
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
