//! `fermata evaluate`: metrics, tables and pictures of predictions.

mod answer;
mod compare;
mod files;
mod of_model;
mod of_softlabels;
mod probability;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fermata::cli::SUCCESS;
use fermata::documents::make_folder;
use fermata::evaluate_cli::EvaluateArguments;
use fermata::print::{complain, print};
use fermata::run::Ran;
use fermata::spared_inputs::refuse_to_write_over;
use fermata_files::{is_same_file, remove_earlier};
use fermata_learn::calibration::{Temperature, fit_temperature};
use fermata_learn::charts::{confusion_matrix, reliability_diagram};
use fermata_learn::evaluation::{Evaluation, Measured, rows_fitted_and_evaluated};
use fermata_learn::predictions::Predictions;

use self::answer::Answer;
use self::files::{
    CONFUSION, FILES, METRICS, PER_CLASS, PREDICTIONS, RELIABILITY, RELIABILITY_SCALED,
};
use self::of_model::ask;
use self::probability::probability;
use crate::classes::classes;

pub(crate) fn evaluate(arguments: &EvaluateArguments) -> anyhow::Result<u8> {
    let classes = classes(&arguments.classes);
    let (of_model, of_softlabels) = (&arguments.model, &arguments.softlabels);
    if arguments.predictions.is_none() && of_model.is_none() && of_softlabels.is_none() {
        return compare::compare(arguments, &classes).map(|()| SUCCESS);
    }
    refuse_to_lose_predictions(arguments)?;
    let read = |path: &Path| Predictions::read(path, &classes);
    // Read first: a mistake here shows sooner than a model's.
    let other = match &arguments.compare[..] {
        [] => None,
        [path] => Some(read(Path::new(path))?),
        more => bail!(
            "--compare names {} models besides the one that is evaluated; expected one (a table of many: `fermata evaluate --compare A B C --out DIR`)",
            more.len()
        ),
    };
    // Keeps the folder of a model's run locked until everything is written.
    let (ran, answer) = match answer_of(arguments, &classes)? {
        (Some(failed), None) => return Ok(failed.code),
        (ran, answer) => (
            ran,
            answer.context("name predictions, softlabels, or a model and a manifest")?,
        ),
    };
    let predictions = answer.predictions;
    let temperature = answer.validation.map(|rows| fitted(&predictions, &rows));
    let temperature = temperature.transpose()?;
    let mut evaluation = Evaluation::of(&predictions, temperature, other.as_ref())?;
    evaluation.source = answer.source;
    make_folder(&arguments.out)?;
    // An earlier evaluation is incomplete from here on: its temperature must not be applied to these predictions.
    for name in [METRICS, RELIABILITY_SCALED] {
        remove_earlier(&arguments.out.join(name))?;
    }
    let kept = arguments.out.join(PREDICTIONS);
    // A model's predictions are there already, and so are those that are evaluated again.
    let are_there = |given: &PathBuf| is_same_file(given, &kept);
    if arguments.model.is_none() && !arguments.predictions.as_ref().is_some_and(are_there) {
        predictions.write_npz(&kept)?;
    }
    write(&arguments.out, &evaluation)?;
    drop(ran);
    print(&summary(&evaluation))?;
    print(&format!("\nwritten to {}\n", arguments.out.display()))?;
    Ok(SUCCESS)
}

/// Returns the predictions to evaluate. Those of a model come with the run that made them, or without them if it failed.
fn answer_of(
    arguments: &EvaluateArguments,
    classes: &[String],
) -> anyhow::Result<(Option<Ran>, Option<Answer>)> {
    let read = |path: &Path| Predictions::read(path, classes);
    if let Some(path) = &arguments.predictions {
        let answer = Answer {
            predictions: read(path)?,
            validation: arguments.calibrate_on.as_deref().map(read).transpose()?,
            source: None,
        };
        return Ok((None, Some(answer)));
    }
    if let Some(model) = &arguments.model {
        let (ran, answer) = ask(model, arguments, classes)?;
        return Ok((Some(ran), answer));
    }
    let of_softlabels = arguments.softlabels.as_deref();
    let answer = of_softlabels.map(|folder| of_softlabels::read(folder, arguments));
    Ok((None, answer.transpose()?))
}

/// Fits a temperature on validation rows.
fn fitted(predictions: &Predictions, validation: &Predictions) -> anyhow::Result<Temperature> {
    let shared = rows_fitted_and_evaluated(predictions, validation)
        .context("--calibrate-on names rows that are evaluated")?;
    if shared > 0 {
        complain(&format!(
            "warning: {shared} of the {} rows are among those of --calibrate-on",
            predictions.len()
        ));
    }
    if validation.classes() != predictions.classes() {
        bail!(
            "the predictions of --calibrate-on have other classes: {}",
            validation.classes().join(", ")
        );
    }
    Ok(fit_temperature(validation))
}

/// Refuses to overwrite inputs; only the predictions being evaluated may be at the place where they would be kept.
fn refuse_to_lose_predictions(arguments: &EvaluateArguments) -> anyhow::Result<()> {
    let given = arguments.compare.iter().map(Path::new);
    let given: Vec<&Path> = given.chain(arguments.calibrate_on.as_deref()).collect();
    let written = FILES.map(|name| arguments.out.join(name));
    let written = written.each_ref().map(PathBuf::as_path);
    refuse_to_write_over(&given, &written)?;
    let predictions: Vec<&Path> = arguments.predictions.iter().map(PathBuf::as_path).collect();
    let others: Vec<&Path> = written
        .into_iter()
        .filter(|path| !path.ends_with(PREDICTIONS))
        .collect();
    refuse_to_write_over(&predictions, &others)
}

fn write(folder: &Path, evaluation: &Evaluation) -> anyhow::Result<()> {
    let save = |name: &str, text: String| fermata_files::write(&folder.join(name), text.as_bytes());
    let raw = &evaluation.raw;
    save(PER_CLASS, raw.per_class_csv())?;
    save(
        CONFUSION,
        confusion_matrix("Confusion", &evaluation.classes, &raw.metrics),
    )?;
    save(
        RELIABILITY,
        reliability_diagram("Reliability", &raw.reliability, &raw.metrics),
    )?;
    if let (Some(scaled), Some(fit)) = (&evaluation.scaled, &evaluation.temperature) {
        let title = format!("Reliability at temperature {:.3}", fit.value);
        save(
            RELIABILITY_SCALED,
            reliability_diagram(&title, &scaled.reliability, &scaled.metrics),
        )?;
    }
    // Written last: if it exists, so do the others.
    save(METRICS, evaluation.to_json())?;
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
            "right only here {}, only there {}: McNemar p {}\n",
            comparison.only_second_right,
            comparison.only_first_right,
            probability(comparison.mcnemar_p)
        );
    }
    text
}
