//! Evaluates a model on a manifest's rows with a graph: graphs/evaluate.yaml with these settings, and a second writer
//! for the rows that a temperature is fitted on.

use std::path::{Path, absolute};
use std::sync::Arc;

use anyhow::{Context, bail};
use fermata::cli::SUCCESS;
use fermata::compute_cli::ComputeArguments;
use fermata::evaluate_cli::EvaluateArguments;
use fermata::run::{JobRows, Ran, Taking};
use fermata_files::remove_earlier;
use fermata_jobs::manifests::Manifests;
use fermata_learn::manifest::Split;
use fermata_learn::predictions::Predictions;
use fermata_vision::ModelCard;
use serde_json::json;

use super::answer::{Answer, splits};
use super::files::{METRICS, PREDICTIONS};
use crate::backend::look_at_backend;
use crate::graph_run::{FILE, GraphRun};

/// The predictions that a temperature is fitted on.
const FITTED_ON: &str = "calibrated_on.npz";

/// Computes a model's predictions for a manifest's rows. Returns also the run, which keeps the folder locked; one that
/// ended without predictions has reported the reason, and is returned alone.
pub(super) fn ask(
    folder: &Path,
    arguments: &EvaluateArguments,
    classes: &[String],
) -> anyhow::Result<(Ran, Option<Answer>)> {
    let EvaluateArguments { compute, out, .. } = arguments;
    let path = arguments.manifest.as_deref();
    let path = path.context("--model needs a --manifest")?;
    let model = ModelCard::load(folder)?;
    look_at_backend(&model.weights, compute)?;
    let (split, fitted_on) = splits(arguments)?;
    let path = absolute(path)?;
    let manifests = Arc::new(Manifests::default());
    let manifest = manifests.get(&path)?;
    let asked: Vec<Split> = [split].into_iter().chain(fitted_on).collect();
    for split in &asked {
        if manifest.split(*split).next().is_none() {
            bail!("the manifest has no rows of the split {split}");
        }
    }
    let rows = asked.iter().map(|&split| manifest.split(split).count());
    let rows = JobRows {
        all: rows.sum(),
        done: 0,
    };
    let source = json!({
        "weights_sha256": model.card.sha256,
        "manifest_sha256": manifest.sha256,
        "split": split.to_string(),
    });
    let out = absolute(out)?;
    let text = graph(folder, &path, &asked, compute)?;
    // A run moves away what an earlier run left, but not an evaluation of given predictions, whose temperature must not
    // be applied to these.
    if !out.join(FILE).exists() {
        remove_earlier(&out.join(METRICS))?;
    }
    let run = GraphRun::new(&text, Taking::Afresh(out.clone()), false);
    let ran = run.of(Some(rows)).reading(manifests).run()?;
    if ran.code != SUCCESS {
        return Ok((ran, None));
    }
    let read = |name: &str| Predictions::read(&out.join(name), classes);
    let answer = Answer {
        predictions: read(PREDICTIONS)?,
        validation: fitted_on.map(|_| read(FITTED_ON)).transpose()?,
        source: Some(source),
    };
    Ok((ran, Some(answer)))
}

fn graph(
    model: &Path,
    manifest: &Path,
    splits: &[Split],
    compute: &ComputeArguments,
) -> anyhow::Result<String> {
    let streams = json!({
        "use": "manifest_units",
        "manifest": manifest,
        "split": splits.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "unit": 4096,
        "open": 2,
    });
    let model = absolute(model)?;
    let images = json!({"use": "load_views", "in": "rows", "models": [&model], "replicas": 2});
    let infer = json!({
        "use": "infer_logits",
        "in": "images",
        "model": model,
        "device": compute.device,
        "threads": compute.threads,
        "scale": compute.scale,
        // An evaluation may be of the very rows of the training.
        "allow_seen": true,
        "at_once": compute.batch,
        "batch": {"max": compute.batch, "each": "stream"},
        // Makes the next rows ready while these are computed.
        "queue": {"capacity": 2 * u64::from(compute.batch)},
    });
    // The rows to evaluate come first.
    let writers = [("write", PREDICTIONS), ("write-fitted", FITTED_ON)];
    let writers = writers.iter().zip(splits).map(|((name, file), split)| {
        format!("  {name}: {{use: write_predictions, in: infer, split: {split}, path: \"${{run.dir}}/{file}\", on_error: stop}}\n")
    });
    let writers: String = writers.collect();
    Ok(format!(
        "fermata: 1
name: evaluate
streams: {streams}
nodes:
  rows: {{use: manifest_rows, each: stream, unit: \"${{stream.uri}}\"}}
  images: {images}
  infer: {infer}
{writers}run: {{clock: asap, call_deadline: 30m, drain: 30m}}
"
    ))
}
