//! The results of evaluations, comparisons and manifest commands, as shown by `fermata inspect`: JSON files, tables,
//! and their folders.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fermata::documents::read_json;
use fermata_files::MOST_TABLE;
use fermata_learn::evaluation::Evaluation;
use fermata_learn::manifest::{CleanReport, Mapping, Recipe, Validation};
use fermata_learn::manifest_audit::Audit;
use fermata_learn::model_comparison::ModelComparison;
use fermata_learn::predictions::Predictions;
use serde_json::Value;

use crate::classes::classes;
use crate::inspect_runs;
use crate::manifest::stats;

/// Files that identify a folder.
const REPORTS: [&str; 12] = [
    "metrics.json",
    "comparison.json",
    "audit.json",
    "ensemble.json",
    "manifest.csv",
    "table.csv",
    "sweep.json",
    "sustained.json",
    // Stands beside the report of the run that analysed.
    "summary.json",
    "report.json",
    // Stands beside the report of a run that was measured.
    "kpi.json",
    "graph.yaml",
];

/// Returns the file that identifies a folder, if it is one of ours.
pub(crate) fn report_in(folder: &Path) -> Option<PathBuf> {
    let mut files = REPORTS.iter().map(|name| folder.join(name));
    files.find(|path| path.is_file())
}

/// Describes a JSON file.
pub(crate) fn json(path: &Path) -> anyhow::Result<String> {
    let value: Value = read_json(path, "JSON file")?;
    let has = |key: &str| value.get(key).is_some();
    let wrong = || format!("{} is damaged or of another version", path.display());
    if has("models") && has("pairs") {
        let found: ModelComparison = serde_json::from_value(value).with_context(wrong)?;
        return Ok(comparison(&found));
    }
    if has("raw") && has("classes") {
        let found: Evaluation = serde_json::from_value(value).with_context(wrong)?;
        return Ok(evaluation(&found));
    }
    if has("pairs_by_place") {
        let found: Audit = serde_json::from_value(value).with_context(wrong)?;
        return Ok(audit(&found));
    }
    if has("removed_by_reason") {
        let found: CleanReport = serde_json::from_value(value).with_context(wrong)?;
        return Ok(clean_report(&found));
    }
    if has("images_checked") {
        let found: Validation = serde_json::from_value(value).with_context(wrong)?;
        return Ok(validation(&found));
    }
    if let Some(found) = inspect_runs::json(path, &value)? {
        return Ok(found);
    }
    bail!(
        "{} is none of an evaluation (metrics.json), a comparison, an audit, a clean report, a validation of a manifest, what a search chose, what belongs to softlabels, a run's report, an environment, measures (kpi.json), label noise, a result of `analyse` (summary.json), a sweep and the lives of a part of a site",
        path.display()
    )
}

fn comparison(found: &ModelComparison) -> String {
    let mut text = format!(
        "comparison  {} models on {} rows\n",
        found.models.len(),
        found.rows
    );
    for model in &found.models {
        let metrics = &model.raw.metrics;
        text += &format!(
            "            {}: accuracy {:.4}, macro-F1 {:.4}, NLL {:.4}\n",
            model.name, metrics.accuracy, metrics.macro_f1, metrics.nll
        );
    }
    for network in found.seeds.iter().flat_map(|seeds| &seeds.networks) {
        text += &format!(
            "            {}: {} trainings",
            network.name,
            network.models.len()
        );
        for metric in &network.raw {
            let mean = &metric.mean;
            text += &format!(", {} {:.4}", mean.metric, mean.value);
        }
        text += "\n";
    }
    text
}

fn evaluation(found: &Evaluation) -> String {
    let metrics = &found.raw.metrics;
    let mut text = format!(
        "evaluation  {} rows of {} classes\nmetrics     accuracy {:.4}, macro-F1 {:.4}, NLL {:.4}, ECE {:.4}, Brier {:.4}\n",
        found.rows,
        found.classes.len(),
        metrics.accuracy,
        metrics.macro_f1,
        metrics.nll,
        metrics.ece,
        metrics.brier
    );
    text += &match &found.temperature {
        Some(fit) if fit.bound_hit => "temperature none: the bound was hit\n".to_owned(),
        Some(fit) => format!(
            "temperature {:.4}, fitted on {} rows\n",
            fit.value, fit.rows
        ),
        None => "temperature none was fitted\n".to_owned(),
    };
    text + &match &found.source {
        Some(source) => format!("provenance  {source:#}\n"),
        None => "provenance  none: predictions from elsewhere\n".to_owned(),
    }
}

fn audit(found: &Audit) -> String {
    let mut text = format!("audit       {} different pictures\n", found.pictures);
    for manifest in &found.manifests {
        text += &format!(
            "manifest    {}, {} rows\n            sha256 {}\n",
            manifest.manifest, manifest.rows, manifest.sha256
        );
    }
    for (place, counts) in &found.pairs_by_place {
        text += &format!(
            "pairs       {}: {} with the same bytes, {} near-duplicates, {} under two labels\n",
            place.words(),
            counts.same_bytes,
            counts.same_picture,
            counts.two_labels
        );
    }
    text
}

fn clean_report(found: &CleanReport) -> String {
    let mut text = format!(
        "clean report {} rows in, {} out\n",
        found.rows_in, found.rows_out
    );
    for (reason, count) in &found.removed_by_reason {
        text += &format!("left out    {reason:?}: {count}\n");
    }
    for (source, policies) in &found.policies {
        let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
        text += &format!("source      {source}: {}\n", policies.join(", "));
    }
    text
}

fn validation(found: &Validation) -> String {
    let mut text = format!(
        "validation  {} rows, {} images checked\nmanifest    sha256 {}\n",
        found.rows, found.images_checked, found.manifest_sha256
    );
    for (problem, count) in &found.problems {
        text += &format!("problem     {problem:?}: {count}\n");
    }
    if found.passes() {
        text += "problems    none\n";
    }
    text + &stats::table(&found.counts)
}

/// Describes a table that is not a manifest: predictions, or any other.
pub(crate) fn table(path: &Path) -> anyhow::Result<String> {
    if let Ok(found) = Predictions::read(path, &classes(&[])) {
        let images = match found.hashes() {
            Some(_) => "by their hashes",
            None => "not said",
        };
        return Ok(format!(
            "predictions {} rows\nclasses     {}\nimages      {images}\n",
            found.len(),
            found.classes().join(", ")
        ));
    }
    let file = fermata_files::open(path, MOST_TABLE);
    let file = file.with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let header = reader.headers()?.clone();
    let columns: Vec<&str> = header.iter().collect();
    let mut rows = 0usize;
    for record in reader.records() {
        record.with_context(|| format!("{} is not a table", path.display()))?;
        rows += 1;
    }
    Ok(format!(
        "table       {rows} rows\ncolumns     {}\n",
        columns.join(", ")
    ))
}

/// Describes a recipe or mapping; none if the file is neither.
pub(crate) fn recipe_or_mapping(path: &Path) -> Option<String> {
    if let Ok(recipe) = Recipe::read(path) {
        let mut text = format!(
            "recipe      {} tables, {} manifests; doubles: {:?}\n",
            recipe.parts.len(),
            recipe.manifests.len(),
            recipe.duplicates
        );
        for part in &recipe.parts {
            let (table, mapping) = (part.table.display(), part.mapping.display());
            text += &format!("table       {table} by {mapping}\n");
        }
        for from in &recipe.manifests {
            text += &format!("manifest    {}\n", from.manifest.display());
        }
        return Some(text);
    }
    let mapping = Mapping::read(path).ok()?;
    Some(format!(
        "mapping     of {}, policy {}\nimage       {}\nlabel       {}\n",
        mapping.source,
        mapping.policy,
        mapping.image,
        serde_json::to_string(&mapping.label).unwrap_or_default()
    ))
}
