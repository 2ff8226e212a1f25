//! `fermata evaluate --compare A B …`: compares models on the same rows in one table.

use std::path::{Path, PathBuf};

use anyhow::bail;
use fermata::documents::{make_folder, read_json, write_json};
use fermata::evaluate_cli::EvaluateArguments;
use fermata::print::print;
use fermata::spared_inputs::refuse_to_write_over;
use fermata_files::remove_earlier;
use fermata_learn::evaluation::Evaluation;
use fermata_learn::in_memory::csv_text;
use fermata_learn::markup::escaped;
use fermata_learn::metrics::Interval;
use fermata_learn::model_comparison::{ModelComparison, Said, SeedComparison};
use fermata_learn::predictions::Predictions;

use super::files::{METRICS, PREDICTIONS};
use super::probability::probability;

const MODELS: &str = "models.csv";
const PAIRS: &str = "pairs.csv";
const SEEDS: &str = "seeds.csv";
const PAGE: &str = "comparison.html";
const COMPARISON: &str = "comparison.json";
/// All files that the comparison writes.
const FILES: [&str; 5] = [MODELS, PAIRS, SEEDS, PAGE, COMPARISON];

pub(super) fn compare(arguments: &EvaluateArguments, classes: &[String]) -> anyhow::Result<()> {
    if arguments.calibrate_on.is_some() {
        bail!(
            "--calibrate-on applies to a single model: evaluate each with it, and compare the folders, which keep the temperatures"
        );
    }
    let out = &arguments.out;
    let named = arguments.compare.iter();
    let given = named.flat_map(|named| paths_of(named).1);
    let given: Vec<&Path> = given.map(Path::new).collect();
    let written = FILES.map(|name| out.join(name));
    refuse_to_write_over(&given, &written.each_ref().map(PathBuf::as_path))?;
    let mut models = Vec::new();
    for named in &arguments.compare {
        models.extend(trainings(named, classes)?);
    }
    let compared = ModelComparison::of(models, arguments.common_rows)?;
    make_folder(out)?;
    // An earlier comparison is incomplete from here on, and its means over seeds are not of this one.
    for name in [COMPARISON, SEEDS] {
        remove_earlier(&out.join(name))?;
    }
    let header = compared.header();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let models_csv = csv_text(&header, compared.table());
    fermata_files::write(&out.join(MODELS), models_csv.as_bytes())?;
    let pairs: Vec<Vec<String>> = compared.pairs_table().into_iter().map(Vec::from).collect();
    let pairs_csv = csv_text(ModelComparison::PAIRS_HEADER, &pairs);
    fermata_files::write(&out.join(PAIRS), pairs_csv.as_bytes())?;
    let seeds = compared.seeds.as_ref().map(SeedComparison::table);
    if let Some(seeds) = &seeds {
        let csv = csv_text(SeedComparison::HEADER, seeds);
        fermata_files::write(&out.join(SEEDS), csv.as_bytes())?;
    }
    let page = page(&compared, &header, &pairs, seeds.as_deref());
    fermata_files::write(&out.join(PAGE), page.as_bytes())?;
    // Written last: if it exists, so do the others.
    write_json(&out.join(COMPARISON), &compared)?;
    print(&summary(&compared))?;
    print(&format!("\nwritten to {}\n", out.display()))
}

/// Splits `NAME=PATH[,PATH]` or `PATH`.
fn paths_of(named: &str) -> (Option<&str>, Vec<&str>) {
    match named.split_once('=') {
        Some((name, path)) if !name.is_empty() && !name.contains('/') => {
            let is_one = Path::new(path).exists();
            let paths = if is_one {
                vec![path]
            } else {
                path.split(',').collect()
            };
            (Some(name), paths)
        }
        _ => (None, vec![named]),
    }
}

/// Reads one argument of the command line: a model, or trainings of one network with different seeds.
fn trainings(named: &str, classes: &[String]) -> anyhow::Result<Vec<Said>> {
    let (name, paths) = paths_of(named);
    let is_one = paths.len() == 1;
    let each = paths.iter().enumerate().map(|(number, path)| {
        let said = said(named, name, path, classes)?;
        Ok(match name {
            Some(network) if !is_one => Said {
                name: format!("{network}.{}", number + 1),
                training_of: Some(network.to_owned()),
                ..said
            },
            _ => said,
        })
    });
    each.collect()
}

/// Reads a path: a file of predictions or the folder of an evaluation.
fn said(named: &str, name: Option<&str>, path: &str, classes: &[String]) -> anyhow::Result<Said> {
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
            training_of: None,
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
        training_of: None,
    })
}

/// Returns the model in a training's folder, or the folder itself.
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
    text += &match &compared.seeds {
        Some(seeds) => seeds_text(seeds, width),
        None => differences(compared, width),
    };
    text
}

/// Formats means over the trainings of each network, and their differences from the first network's; single trainings
/// are in the files.
fn seeds_text(seeds: &SeedComparison, width: usize) -> String {
    let mut text =
        "\nmean over trainings, ± deviation, 95 % of drawn rows and trainings\n".to_owned();
    let line = |name: &str, metric: &str, kind: &str, value: String, interval: &Interval| {
        format!(
            "{name:<width$}{:<12}{value:>18}  {:.4} to {:.4}",
            format!("{metric}{kind}"),
            interval.low,
            interval.high
        )
    };
    for network in &seeds.networks {
        for (kind, metrics) in [("", Some(&network.raw)), ("/T", network.scaled.as_ref())] {
            for metric in metrics.into_iter().flatten() {
                let mean = &metric.mean;
                if is_said(&mean.metric, kind) {
                    let spread = metric.deviation.map(|value| format!(" ± {value:.4}"));
                    let value = format!("{:.4}{}", mean.value, spread.unwrap_or_default());
                    text += &(line(&network.name, &mean.metric, kind, value, mean) + "\n");
                }
            }
        }
    }
    let first = &seeds.networks[0].name;
    text += &format!("\nminus {first}, means: * is above or below 0\n");
    let beside_first = seeds.differences.iter().filter(|d| d.first == *first);
    for found in beside_first {
        for (kind, intervals) in [("", Some(&found.raw)), ("/T", found.scaled.as_ref())] {
            for interval in intervals.into_iter().flatten() {
                if is_said(&interval.metric, kind) {
                    let value = format!("{:+.4}", interval.value);
                    text += &line(&found.second, &interval.metric, kind, value, interval);
                    text += if is_sure(interval) { " *\n" } else { "\n" };
                }
            }
        }
    }
    text
}

fn is_sure(difference: &Interval) -> bool {
    difference.low > 0.0 || difference.high < 0.0
}

/// Returns whether to show a metric: temperatures change neither accuracy nor F1.
fn is_said(metric: &str, kind: &str) -> bool {
    kind.is_empty() || !["accuracy", "macro_f1"].contains(&metric)
}

/// Formats the differences of each model from the first; the other pairs are in the files.
fn differences(compared: &ModelComparison, width: usize) -> String {
    let first = &compared.models[0].name;
    let mut text = format!("\nminus {first}, 95 %: * is above or below 0\n");
    for pair in compared.pairs.iter().filter(|pair| pair.first == *first) {
        for (kind, comparison) in [("", Some(&pair.raw)), ("/T", pair.scaled.as_ref())] {
            let Some(comparison) = comparison else {
                continue;
            };
            for difference in &comparison.differences {
                if is_said(&difference.metric, kind) {
                    text += &format!(
                        "{:<width$}{:<12}{:>+9.4}  {:+.4} to {:+.4}{}\n",
                        pair.second,
                        format!("{}{kind}", difference.metric),
                        difference.value,
                        difference.low,
                        difference.high,
                        if is_sure(difference) { " *" } else { "" }
                    );
                }
            }
        }
        text += &format!(
            "{:<width$}{:<12}right only here {}, only there {}: p {}\n",
            pair.second,
            "McNemar",
            pair.raw.only_second_right,
            pair.raw.only_first_right,
            probability(pair.raw.mcnemar_p)
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

fn page(
    compared: &ModelComparison,
    header: &[&str],
    pairs: &[Vec<String>],
    seeds: Option<&[Vec<String>]>,
) -> String {
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
    if let Some(seeds) = seeds {
        text += "<h2>Means over trainings with other seeds</h2>\n";
        text += &html_table(&SeedComparison::HEADER, seeds);
    }
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
