//! `fermata evaluate`: metrics, tables and pictures of predictions.

mod compare;

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use fermata::evaluate_cli::EvaluateArguments;
use fermata::print::print;
use fermata_learn::calibration::fit_temperature;
use fermata_learn::charts::{confusion_matrix, reliability_diagram};
use fermata_learn::dataset::Dataset;
use fermata_learn::evaluation::{Evaluation, Measured, rows_fitted_and_evaluated};
use fermata_learn::inference;
use fermata_learn::manifest::{Manifest, Split};
use fermata_learn::predictions::Predictions;
use fermata_vision::ModelCard;
use fermata_vision::face::EXPRESSIONS;
use fermata_vision::scores::to_logits;
use serde_json::json;

use crate::classes::classes;
use crate::loaded_model::LoadedModel;

/// What was measured, for `--predictions` and `--compare`.
const PREDICTIONS: &str = "predictions.npz";

pub(crate) fn evaluate(arguments: &EvaluateArguments) -> anyhow::Result<()> {
    let classes = classes(&arguments.classes);
    if arguments.predictions.is_none() && arguments.model.is_none() {
        return compare::compare(arguments, &classes);
    }
    let read = |path: &Path| Predictions::read(path, &classes);
    // Read first: it is quicker to be wrong than a model.
    let other = match &arguments.compare[..] {
        [] => None,
        [path] => Some(read(Path::new(path))?),
        more => bail!(
            "--compare names {} models beside the one that is evaluated; expected one (a table of many: `fermata evaluate --compare A B C --out DIR`)",
            more.len()
        ),
    };
    let found = match (
        &arguments.predictions,
        &arguments.model,
        &arguments.manifest,
    ) {
        (None, Some(model), Some(manifest)) => of_model(model, manifest, arguments)?,
        (Some(path), ..) => Found {
            predictions: read(path)?,
            validation: arguments.calibrate_on.as_deref().map(read).transpose()?,
            source: None,
        },
        _ => bail!("name predictions, or a model and a manifest"),
    };
    let predictions = found.predictions;
    let temperature = match found.validation {
        Some(validation) => {
            let shared = rows_fitted_and_evaluated(&predictions, &validation)
                .context("--calibrate-on names rows that are evaluated")?;
            if shared > 0 {
                eprintln!(
                    "warning: {shared} of the {} rows are among those of --calibrate-on",
                    predictions.len()
                );
            }
            if validation.classes() != predictions.classes() {
                bail!(
                    "the predictions of --calibrate-on have other classes: {}",
                    validation.classes().join(", ")
                );
            }
            Some(fit_temperature(&validation))
        }
        None => None,
    };
    let mut evaluation = Evaluation::of(&predictions, temperature, other.as_ref())?;
    evaluation.source = found.source;
    fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make the folder {}", arguments.out.display()))?;
    predictions.write_npz(&arguments.out.join(PREDICTIONS))?;
    write(&arguments.out, &evaluation)?;
    print(&summary(&evaluation))?;
    print(&format!("\nwritten to {}\n", arguments.out.display()))
}

/// What is evaluated.
struct Found {
    predictions: Predictions,
    /// To fit a temperature on.
    validation: Option<Predictions>,
    source: Option<serde_json::Value>,
}

/// What a model says of a manifest's rows.
fn of_model(folder: &Path, path: &Path, arguments: &EvaluateArguments) -> anyhow::Result<Found> {
    let model = ModelCard::load(folder)?;
    let manifest = Manifest::read(path)?;
    let split: Split = arguments.split.parse().map_err(anyhow::Error::msg)?;
    let fitted_on = arguments.calibrate_on.as_ref().map(|name| {
        let split = name.to_string_lossy().parse::<Split>();
        split.map_err(|error| anyhow!("--calibrate-on: {error}"))
    });
    let fitted_on = fitted_on.transpose()?;
    if fitted_on == Some(split) {
        bail!(
            "--calibrate-on names the rows that are evaluated: a temperature is never fitted on those"
        );
    }
    let dataset = Dataset::new(&manifest, split, &model.card)?;
    let validation = fitted_on
        .map(|split| Dataset::new(&manifest, split, &model.card))
        .transpose()?;
    let card = model.card.clone();
    let mut loaded = LoadedModel::of_folder(model, &arguments.compute)?;
    let batch = loaded.batch(arguments.compute.batch);
    let mut predict = |dataset: &Dataset| {
        inference::predict(dataset, batch, |inputs| {
            let rows = inputs.len() / card.input.len();
            let [a, b, c] = card.input.shape();
            let said = loaded.run(&[rows, a, b, c], inputs)?;
            let mut logits = Vec::with_capacity(rows * EXPRESSIONS);
            for row in said.chunks(said.len().div_ceil(rows).max(1)) {
                logits.extend(to_logits(&card, row)?);
            }
            Ok::<_, anyhow::Error>(logits)
        })
    };
    let predictions = predict(&dataset)?;
    Ok(Found {
        validation: validation.map(|dataset| predict(&dataset)).transpose()?,
        predictions,
        source: Some(json!({
            "weights_sha256": card.sha256,
            "manifest_sha256": manifest.sha256,
            "split": split.to_string(),
        })),
    })
}

fn write(folder: &Path, evaluation: &Evaluation) -> anyhow::Result<()> {
    let save = |name: &str, text: String| fermata_files::write(&folder.join(name), text.as_bytes());
    let raw = &evaluation.raw;
    save("per_class.csv", raw.per_class_csv())?;
    save(
        "confusion.svg",
        confusion_matrix("Confusion", &evaluation.classes, &raw.metrics),
    )?;
    save(
        "reliability.svg",
        reliability_diagram("Reliability", &raw.reliability, &raw.metrics),
    )?;
    if let (Some(scaled), Some(fit)) = (&evaluation.scaled, &evaluation.temperature) {
        let title = format!("Reliability at temperature {:.3}", fit.value);
        save(
            "reliability_scaled.svg",
            reliability_diagram(&title, &scaled.reliability, &scaled.metrics),
        )?;
    }
    // Last: where it is, the rest is there too.
    save("metrics.json", evaluation.to_json())?;
    Ok(())
}

fn summary(evaluation: &Evaluation) -> String {
    let mut text = format!(
        "{} rows\n\n{:<14}{:>10}  {:<20}",
        evaluation.rows, "", "raw", "95 %"
    );
    if let Some(fit) = &evaluation.temperature {
        text += &if fit.bound_hit {
            "no best T: not applied".to_owned()
        } else {
            format!("T = {:.3}", fit.value)
        };
    }
    text += "\n";
    let row = |name: &str, of: fn(&Measured) -> f64| {
        let interval = evaluation
            .raw
            .intervals
            .iter()
            .find(|interval| interval.metric == name);
        let interval = interval.map_or(String::new(), |found| {
            format!("{:.4} to {:.4}", found.low, found.high)
        });
        let scaled = evaluation
            .scaled
            .as_ref()
            .map_or(String::new(), |scaled| format!("{:.4}", of(scaled)));
        format!(
            "{name:<14}{:>10.4}  {interval:<20}{scaled}\n",
            of(&evaluation.raw)
        )
    };
    text += &row("accuracy", |measured| measured.metrics.accuracy);
    text += &row("macro_f1", |measured| measured.metrics.macro_f1);
    text += &row("nll", |measured| measured.metrics.nll);
    text += &row("brier", |measured| measured.metrics.brier);
    text += &row("ece", |measured| measured.metrics.ece);
    text += &row("ece_adaptive", |measured| measured.metrics.ece_adaptive);
    text += &row("ece_classwise", |measured| measured.metrics.ece_classwise);
    text += &format!(
        "\n{:<14}{:>10}{:>11}{:>9}{:>9}\n",
        "class", "support", "precision", "recall", "f1"
    );
    for class in &evaluation.raw.metrics.per_class {
        text += &format!(
            "{:<14}{:>10}{:>11.4}{:>9.4}{:>9.4}\n",
            class.class, class.support, class.precision, class.recall, class.f1
        );
    }
    if let Some(comparison) = &evaluation.comparison {
        text += "\nthis minus the other, 95 %\n";
        for difference in &comparison.differences {
            text += &format!(
                "{:<14}{:>+10.4}  {:+.4} to {:+.4}\n",
                difference.metric, difference.value, difference.low, difference.high
            );
        }
        text += &format!(
            "right only here {}, only there {}: McNemar p = {:.4}\n",
            comparison.only_second_right, comparison.only_first_right, comparison.mcnemar_p
        );
    }
    text
}
