//! `fermata ensemble search`: a graph computes the teachers' predictions for validation rows; the best weights of a
//! grid are chosen.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use fermata::cli::SUCCESS;
use fermata::learn_cli::{EnsembleSearchArguments, TeacherArguments};
use fermata::print::print;
use fermata::run::{JobRows, Taking};
use fermata_jobs::manifests::Manifests;
use fermata_learn::charts::bars;
use fermata_learn::ensemble::{Search, parts_of, search};
use fermata_learn::manifest::Split;
use fermata_learn::predictions::Predictions;
use fermata_vision::Expression;
use serde_json::json;

use crate::graph_run::GraphRun;
use crate::seen_rows::{self, Seen};
use crate::teachers::{Teachers, absolute};

/// Number of candidates shown in the picture and the summary.
const SHOWN: usize = 20;

pub(crate) fn ensemble_search(arguments: &EnsembleSearchArguments) -> anyhow::Result<u8> {
    let given = &arguments.teachers;
    let teachers = Teachers::read(given)?;
    parts_of(arguments.step, teachers.0.len()).context("--step")?;
    let split: Split = arguments
        .split
        .parse()
        .map_err(|error| anyhow::anyhow!("--split: {error}"))?;
    let path = absolute(&given.manifest)?;
    let manifests = Arc::new(Manifests::default());
    let manifest = manifests.get(&path)?;
    let rows = manifest.split(split).count();
    // Memorised rows make a teacher look better than it is; the search is still allowed, since nothing is trained on
    // it.
    seen_rows::look_at(&teachers, &manifest, Some(split), given, Seen::Allowed)?;
    let text = graph_text(&teachers, given, &path, split);
    let out = &arguments.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let out = absolute(out)?;
    let rows = JobRows { all: rows, done: 0 };
    let run = GraphRun::new(&text, Taking::Afresh(out.clone()), given.quiet);
    let ran = run.of(Some(rows)).reading(manifests).run()?;
    if ran.code != SUCCESS {
        return Ok(ran.code);
    }
    let names: Vec<String> = teachers.0.keys().cloned().collect();
    let predictions = predictions_of(&names, &out)?;
    let found = search(&names, &predictions, arguments.step)?;
    write(&found, &out, split, &manifest.sha256)?;
    print(&summary(&found))?;
    print(&format!("\nwritten to {}\n", out.display()))?;
    Ok(SUCCESS)
}

/// Returns a graph in which each teacher writes predictions to a file named after it.
fn graph_text(
    teachers: &Teachers,
    given: &TeacherArguments,
    manifest: &Path,
    split: Split,
) -> String {
    let streams = json!({
        "use": "manifest_units",
        "manifest": manifest,
        "split": split.to_string(),
        "open": 2,
    });
    let writers: String = teachers
        .0
        .keys()
        .map(|name| {
            format!("  write-{name}: {{use: write_predictions, in: {name}, path: \"${{run.dir}}/{name}.npz\", on_error: stop}}\n")
        })
        .collect();
    format!(
        "fermata: 1
name: ensemble_search
streams: {streams}
nodes:
  rows: {{use: manifest_rows, each: stream, unit: \"${{stream.uri}}\"}}
{}{writers}run: {{clock: asap, call_deadline: 30m, drain: 30m}}
",
        teachers.nodes(given, &json!({}), true),
    )
}

fn predictions_of(teachers: &[String], out: &Path) -> anyhow::Result<Vec<Predictions>> {
    let classes = Expression::ALL.map(|class| class.to_string()).to_vec();
    let mut predictions = Vec::with_capacity(teachers.len());
    for name in teachers {
        let path = out.join(format!("{name}.npz"));
        predictions.push(Predictions::read(&path, &classes)?);
    }
    Ok(predictions)
}

/// Writes the results into an existing folder.
fn write(found: &Search, out: &Path, split: Split, manifest_sha256: &str) -> anyhow::Result<()> {
    let save = |name: &str, text: String| fermata_files::write(&out.join(name), text.as_bytes());
    save("search.csv", found.to_csv())?;
    let title = format!("Ensembles on {} {split} rows", found.rows);
    save("search.svg", bars(&title, "macro-F1", &found.ranked(SHOWN)))?;
    let chosen = json!({
        "split": split.to_string(),
        "manifest_sha256": manifest_sha256,
        "rows": found.rows,
        "step": found.step,
        "teachers": found.teachers,
        "best": found.best,
    });
    // Written last: if it exists, so do the others.
    save("ensemble.json", format!("{chosen:#}\n"))?;
    Ok(())
}

fn summary(found: &Search) -> String {
    let mut text = format!(
        "\n{:<20}{:>8}{:>10}{:>10}{:>10}{:>10}\n",
        "teacher", "T", "accuracy", "macro-F1", "NLL", "ECE"
    );
    for teacher in &found.teachers {
        let alone = &teacher.alone;
        text += &format!(
            "{:<20}{:>8.3}{:>10.4}{:>10.4}{:>10.4}{:>10.4}\n",
            teacher.name,
            teacher.temperature.applied(),
            alone.accuracy,
            alone.macro_f1,
            alone.nll,
            alone.ece
        );
    }
    let best = &found.best.quality;
    text += &format!(
        "{:<20}{:>8}{:>10.4}{:>10.4}{:>10.4}{:>10.4}\n\nbest of {} weightings:",
        "ensemble",
        "",
        best.accuracy,
        best.macro_f1,
        best.nll,
        best.ece,
        found.candidates.len()
    );
    for (teacher, weight) in found.teachers.iter().zip(&found.best.weights) {
        text += &format!(
            " --weight {}={weight} --temperature {}={:.4}",
            teacher.name,
            teacher.name,
            teacher.temperature.applied()
        );
    }
    let gain = best.macro_f1 - found.best_teacher().alone.macro_f1;
    text + &format!(
        "\nmacro-F1 {gain:+.4} compared with the best teacher, {}\n",
        found.best_teacher().name
    )
}
