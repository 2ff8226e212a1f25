//! `fermata evaluate`: metrics, tables and pictures of predictions.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use fermata_learn::calibration::fit_temperature;
use fermata_learn::charts::{confusion_matrix, reliability_diagram};
use fermata_learn::evaluation::{Evaluation, Measured};
use fermata_learn::part_file;
use fermata_learn::predictions::Predictions;

use crate::learn_cli::EvaluateArguments;
use crate::print::print;

pub(crate) fn evaluate(arguments: &EvaluateArguments) -> anyhow::Result<()> {
    let classes = crate::classes(&arguments.predictions.classes);
    let read = |path: &Path| Predictions::read(path, &classes);
    let predictions = read(&arguments.predictions.predictions)?;
    let other = arguments.compare.as_deref().map(read).transpose()?;
    let temperature = match &arguments.calibrate_on {
        Some(path) => {
            let validation = read(path)?;
            if validation == predictions {
                bail!(
                    "{} holds the rows that are evaluated: a temperature is never fitted on those",
                    path.display()
                );
            }
            if validation.classes() != predictions.classes() {
                bail!(
                    "{} has other classes: {}",
                    path.display(),
                    validation.classes().join(", ")
                );
            }
            Some(fit_temperature(&validation))
        }
        None => None,
    };
    let evaluation = Evaluation::of(&predictions, temperature, other.as_ref())?;
    write(&arguments.out, &evaluation)?;
    print(&summary(&evaluation))?;
    print(&format!("\nwritten to {}\n", arguments.out.display()))
}

fn write(folder: &Path, evaluation: &Evaluation) -> anyhow::Result<()> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let save = |name: &str, text: String| {
        let path = folder.join(name);
        part_file::write(&path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    };
    let raw = &evaluation.raw;
    save("per_class.csv", per_class(raw))?;
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
    save("metrics.json", evaluation.to_json())
}

fn per_class(measured: &Measured) -> String {
    let mut text = "class,support,precision,recall,f1\n".to_owned();
    for class in &measured.metrics.per_class {
        text += &format!(
            "{},{},{:.6},{:.6},{:.6}\n",
            class.class, class.support, class.precision, class.recall, class.f1
        );
    }
    text
}

fn summary(evaluation: &Evaluation) -> String {
    let mut text = format!(
        "{} rows\n\n{:<14}{:>10}  {:<20}",
        evaluation.rows, "", "raw", "95 %"
    );
    if let Some(fit) = &evaluation.temperature {
        text += &format!(
            "T = {:.3}{}",
            fit.value,
            if fit.bound_hit { " (a bound)" } else { "" }
        );
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
