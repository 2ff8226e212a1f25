//! `fermata evaluate --compare A B …`: all models on the same rows, as one table.

use std::path::{Path, PathBuf};

use anyhow::bail;
use fermata::documents::{make_folder, read_json, write_json};
use fermata::evaluate_cli::EvaluateArguments;
use fermata::print::print;
use fermata::spared_inputs::refuse_to_write_over;
use fermata_learn::evaluation::Evaluation;
use fermata_learn::in_memory::csv_text;
use fermata_learn::markup::escaped;
use fermata_learn::model_comparison::{ModelComparison, Said};
use fermata_learn::predictions::Predictions;

use super::files::{METRICS, PREDICTIONS};

const MODELS: &str = "models.csv";
const PAIRS: &str = "pairs.csv";
const PAGE: &str = "comparison.html";
const COMPARISON: &str = "comparison.json";
/// All that it writes.
const FILES: [&str; 4] = [MODELS, PAIRS, PAGE, COMPARISON];

pub(super) fn compare(arguments: &EvaluateArguments, classes: &[String]) -> anyhow::Result<()> {
    if arguments.calibrate_on.is_some() {
        bail!(
            "--calibrate-on is of one model: evaluate each with it, and compare the folders, which keep the temperatures"
        );
    }
    let out = &arguments.out;
    let named = arguments.compare.iter();
    let given: Vec<&Path> = named
        .map(|named| Path::new(name_and_path(named).1))
        .collect();
    let written = FILES.map(|name| out.join(name));
    refuse_to_write_over(&given, &written.each_ref().map(PathBuf::as_path))?;
    let models = arguments.compare.iter().map(|named| said(named, classes));
    let models = models.collect::<anyhow::Result<_>>()?;
    let compared = ModelComparison::of(models, arguments.common_rows)?;
    make_folder(out)?;
    let header = compared.header();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let models_csv = csv_text(&header, compared.table());
    fermata_files::write(&out.join(MODELS), models_csv.as_bytes())?;
    let pairs: Vec<Vec<String>> = compared.pairs_table().into_iter().map(Vec::from).collect();
    let pairs_csv = csv_text(ModelComparison::PAIRS_HEADER, &pairs);
    fermata_files::write(&out.join(PAIRS), pairs_csv.as_bytes())?;
    let page = page(&compared, &header, &pairs);
    fermata_files::write(&out.join(PAGE), page.as_bytes())?;
    // Last: where it is, the rest is there too.
    write_json(&out.join(COMPARISON), &compared)?;
    print(&summary(&compared))?;
    print(&format!("\nwritten to {}\n", out.display()))
}

/// `NAME=PATH` or `PATH`.
fn name_and_path(named: &str) -> (Option<&str>, &str) {
    match named.split_once('=') {
        Some((name, path)) if !name.is_empty() && !name.contains('/') => (Some(name), path),
        _ => (None, named),
    }
}

/// `NAME=PATH` or `PATH`, which is a file of predictions or the folder of an evaluation.
fn said(named: &str, classes: &[String]) -> anyhow::Result<Said> {
    let (name, path) = name_and_path(named);
    let path = PathBuf::from(path);
    if !path.exists() {
        bail!("--compare {named}: there is no {}", path.display());
    }
    let of_path = || {
        let name = path.file_stem().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    };
    let name = name.map_or_else(of_path, str::to_owned);
    if !path.is_dir() {
        return Ok(Said {
            predictions: Predictions::read(&path, classes)?,
            name,
            temperature: None,
        });
    }
    let file = path.join(PREDICTIONS);
    if !file.is_file() {
        bail!(
            "{} has no {PREDICTIONS}: it is not an evaluation's folder. `fermata evaluate --model {} --manifest M.csv --calibrate-on validation --out DIR` makes one",
            path.display(),
            model_in(&path).display()
        );
    }
    let (temperature, classes) = match evaluated(&path.join(METRICS))? {
        Some(found) => (found.temperature, found.classes),
        None => (None, classes.to_vec()),
    };
    Ok(Said {
        name,
        predictions: Predictions::read(&file, &classes)?,
        temperature,
    })
}

/// The model in a training's folder, else the folder itself.
fn model_in(folder: &Path) -> PathBuf {
    let model = folder.join("model");
    if model.is_dir() {
        model
    } else {
        folder.to_owned()
    }
}

fn evaluated(path: &Path) -> anyhow::Result<Option<Evaluation>> {
    if !path.is_file() {
        return Ok(None);
    }
    read_json(path, "report of an evaluation").map(Some)
}

fn summary(compared: &ModelComparison) -> String {
    let mut text = format!("{} rows\n", compared.rows);
    for (name, count) in &compared.left_out {
        text += &format!("{count} rows of {name} are left out: not all models have them\n");
    }
    let longest = compared
        .models
        .iter()
        .map(|model| model.name.chars().count());
    let width = longest.max().unwrap_or(0).max("model".len()) + 2;
    text += &format!(
        "\n{:<width$}{:>9}{:>18}{:>10}{:>18}{:>8}{:>8}{:>8}{:>8}{:>9}{:>9}{:>9}\n",
        "model",
        "accuracy",
        "95 %",
        "macro-F1",
        "95 %",
        "NLL",
        "ECE",
        "Brier",
        "T",
        "NLL/T",
        "ECE/T",
        "Brier/T"
    );
    let classes = compared.classes.len();
    for line in compared.table() {
        let interval = |low: usize| format!("{} to {}", line[low], line[low + 1]);
        let after = 7 + classes;
        text += &format!(
            "{:<width$}{:>9}{:>18}{:>10}{:>18}{:>8}{:>8}{:>8}{:>8}{:>9}{:>9}{:>9}\n",
            line[0],
            line[1],
            interval(2),
            line[4],
            interval(5),
            line[after],
            line[after + 1],
            line[after + 2],
            short(&line[after + 3]),
            line[after + 4],
            line[after + 5],
            line[after + 6],
        );
    }
    text += &format!("\n{:<width$}", "F1");
    for class in &compared.classes {
        text += &format!("{class:>10}");
    }
    text += "\n";
    for line in compared.table() {
        text += &format!("{:<width$}", line[0]);
        for value in &line[7..7 + classes] {
            text += &format!("{value:>10}");
        }
        text += "\n";
    }
    text += &differences(compared, width);
    text
}

/// Each model beside the first; the rest is in the files.
fn differences(compared: &ModelComparison, width: usize) -> String {
    let first = &compared.models[0].name;
    let mut text = format!("\nminus {first}, 95 %: * is above or below 0\n");
    for pair in compared.pairs.iter().filter(|pair| pair.first == *first) {
        for (kind, comparison) in [("", Some(&pair.raw)), ("/T", pair.scaled.as_ref())] {
            let Some(comparison) = comparison else {
                continue;
            };
            for difference in &comparison.differences {
                let is_sure = difference.low > 0.0 || difference.high < 0.0;
                // Temperatures change neither.
                let is_said =
                    kind.is_empty() || !["accuracy", "macro_f1"].contains(&&*difference.metric);
                if is_said {
                    text += &format!(
                        "{:<width$}{:<12}{:>+9.4}  {:+.4} to {:+.4}{}\n",
                        pair.second,
                        format!("{}{kind}", difference.metric),
                        difference.value,
                        difference.low,
                        difference.high,
                        if is_sure { " *" } else { "" }
                    );
                }
            }
        }
        text += &format!(
            "{:<width$}{:<12}right only here {}, only there {}: p = {:.4}\n",
            pair.second,
            "McNemar",
            pair.raw.only_second_right,
            pair.raw.only_first_right,
            pair.raw.mcnemar_p
        );
    }
    text
}

fn short(temperature: &str) -> &str {
    if temperature == "bound hit" {
        "none"
    } else {
        temperature
    }
}

fn page(compared: &ModelComparison, header: &[&str], pairs: &[Vec<String>]) -> String {
    let mut text = format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Comparison of models</title>\n<style>\n\
         body {{ font: 14px Helvetica, Arial, sans-serif; color: #222; margin: 24px; }}\n\
         table {{ border-collapse: collapse; margin: 12px 0; }}\n\
         td, th {{ padding: 3px 9px; border-bottom: 1px solid #ddd; text-align: right; }}\n\
         td:first-child, th:first-child {{ text-align: left; }}\n\
         </style>\n<h1>Comparison of models</h1>\n<p>{} rows; intervals: 95 %, bootstrap of 1,000 samples; scaled: logits divided by the temperature.</p>\n",
        compared.rows
    );
    for (name, count) in &compared.left_out {
        text += &format!("<p>{count} rows of {} are left out.</p>\n", escaped(name));
    }
    text += &html_table(header, &compared.table());
    text += "<h2>Second minus first, on the same rows</h2>\n";
    text + &html_table(&ModelComparison::PAIRS_HEADER, pairs)
}

fn html_table(header: &[&str], lines: &[Vec<String>]) -> String {
    let row = |cells: &mut dyn Iterator<Item = &str>, tag: &str| {
        let cells = cells.map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let mut text = "<table>\n".to_owned() + &row(&mut header.iter().copied(), "th");
    for line in lines {
        text += &row(&mut line.iter().map(String::as_str), "td");
    }
    text + "</table>\n"
}
