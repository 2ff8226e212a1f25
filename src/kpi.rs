//! `fermata kpi`: measures runs from their tables alone, so that old runs and tables of other programs can be measured
//! too.
//!
//! `table`, `faces`, `truth`, `report`, `segments` and `run_data` read; `named` orders; `books`, `flips`, `lag`,
//! `agreement`, `excess`, `streaming` and `quantiles` compute one measure each; `stream_parts` and `measures` assemble
//! the numbers of `kpi.json`; `comparison`, `paired_run` and `bootstrap` compare runs; `timeline` and `page` present
//! them.

mod agreement;
mod books;
mod bootstrap;
mod comparison;
mod excess;
mod faces;
mod flips;
mod lag;
mod measures;
mod named;
mod page;
mod paired_run;
mod quantiles;
mod report;
mod run_data;
mod segments;
mod stream_parts;
mod streaming;
mod table;
mod timeline;
mod truth;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::{KpiArguments, SUCCESS};
use crate::documents::{make_folder, write_json};
use crate::print::{print, print_line};
use crate::run_folder::RunFolder;
use crate::spared_inputs::refuse_to_write_over;
use crate::summary::by_two_clocks;
use comparison::compare;
pub(crate) use measures::{Measures, RunMeasures};
use page::Kpi;
use run_data::RunData;
use timeline::Timelines;

const JSON: &str = "kpi.json";
const PAGE: &str = "kpi.html";

/// Measures runs, and compares the first with each of the others.
///
/// # Errors
/// Fails if a run is missing or its files are wrong, or if nothing can be written.
pub(crate) fn kpi(arguments: &KpiArguments) -> anyhow::Result<u8> {
    if let Some(out) = &arguments.out {
        let given: Vec<&Path> = arguments.runs.iter().map(PathBuf::as_path).collect();
        refuse_to_write_over(&given, &[&out.join(JSON), &out.join(PAGE)])?;
    }
    let mut runs = Vec::new();
    for path in &arguments.runs {
        runs.push(RunData::read(path)?);
    }
    tell_apart(&mut runs, &arguments.runs);
    let measured: anyhow::Result<Vec<_>> = runs.iter().map(RunMeasures::of).collect();
    let mut kpi = Kpi {
        runs: measured?,
        differences: Vec::new(),
    };
    if let Some((first, others)) = runs.split_first() {
        for other in others {
            kpi.differences.push(compare(first, other)?);
        }
    }
    let out = out_folder(arguments, &runs);
    make_folder(&out)?;
    write(&kpi, &runs, &out)?;
    print(&summary(&kpi))?;
    for file in [JSON, PAGE] {
        print_line(&format!("wrote {}", out.join(file).display()))?;
    }
    Ok(SUCCESS)
}

/// Measures one run, and writes `kpi.json` and `kpi.html` into its folder.
///
/// # Errors
/// As for [`kpi`].
pub(crate) fn measure(folder: &Path) -> anyhow::Result<RunMeasures> {
    let run = RunData::read(folder)?;
    let measures = RunMeasures::of(&run)?;
    let kpi = Kpi {
        runs: vec![measures.clone()],
        differences: Vec::new(),
    };
    write(&kpi, &[run], folder)?;
    Ok(measures)
}

/// Returns `--out`, or the folder of a single run, or a fresh one.
fn out_folder(arguments: &KpiArguments, runs: &[RunData]) -> PathBuf {
    let alone = match runs {
        [run] => run.folder.clone(),
        _ => None,
    };
    let given = arguments.out.clone();
    given.or(alone).unwrap_or_else(|| RunFolder::fresh("kpi"))
}

/// Renames runs that share a name to their whole paths.
fn tell_apart(runs: &mut [RunData], paths: &[PathBuf]) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (run, path) in runs.iter_mut().zip(paths) {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name = path.display().to_string();
        }
    }
}

fn write(kpi: &Kpi, runs: &[RunData], out: &Path) -> anyhow::Result<()> {
    let timelines: Vec<_> = runs.iter().map(|run| Timelines::of(run, out)).collect();
    let page = page::page(kpi, &timelines)?;
    write_json(&out.join(JSON), kpi)?;
    fermata_files::write(&out.join(PAGE), page.as_bytes())?;
    Ok(())
}

/// Formats the most important numbers for the terminal.
fn summary(kpi: &Kpi) -> String {
    let mut rows = vec![(String::from("run"), None)];
    for run in &kpi.runs {
        rows.push((run.name.clone(), Some(&run.all)));
        if run.streams.len() > 1 {
            let streams = run.streams.iter();
            rows.extend(streams.map(|(name, measures)| (format!("  {name}"), Some(measures))));
        }
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max();
    let mut out = String::new();
    for (name, measures) in rows {
        let cells = measures.map_or_else(
            || COLUMNS.map(|(title, _)| title.to_owned()),
            |measures| COLUMNS.map(|(_, cell)| cell(measures)),
        );
        let _ = write!(out, "{name:width$}", width = width.unwrap_or(0));
        for (cell, (title, _)) in cells.iter().zip(COLUMNS) {
            let _ = write!(out, "  {cell:>width$}", width = title.len());
        }
        out.push('\n');
    }
    for run in &kpi.runs {
        if let Some(clocks) = run.clocks {
            let _ = writeln!(
                out,
                "{}: {}",
                run.name,
                by_two_clocks(clocks.latency_error_ms)
            );
        }
    }
    for comparison in &kpi.differences {
        let _ = writeln!(
            out,
            "\n{} compared with {}: {} frames in common, {} blocks",
            comparison.second, comparison.first, comparison.frames, comparison.blocks
        );
        out.push_str(&comparison.lines());
    }
    out.push('\n');
    out
}

/// How a cell of the summary is computed.
type Cell = fn(&Measures) -> String;

/// Columns of the summary.
const COLUMNS: [(&str, Cell); 9] = [
    ("  frames", |m| m.frames.to_string()),
    ("frames/s", |m| number(m.fps_processed, 1)),
    ("p50 ms", |m| number(m.latency_ms.p50, 1)),
    ("p99 ms", |m| number(m.latency_ms.p99, 1)),
    ("flips raw", |m| percent(m.flip_rate_raw)),
    ("smoothed", |m| percent(m.flip_rate)),
    (" lag ms", |m| number(m.lag_ms, 0)),
    ("faces in", |m| percent(m.detection_rate)),
    ("  right", |m| percent(m.accuracy)),
];

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.2}%", value * 100.0))
}
