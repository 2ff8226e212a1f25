//! The data of a run to be measured: its table, its report and its truth.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::faces::FacesTable;
use super::report::RunReport;
use super::segments;
use super::truth::{self, StreamTruth};
use crate::print::complain;

const FACES: &str = "faces.csv";
const REPORT: &str = "report.json";
const TRUTH: &str = "truth.csv";

/// The files of a run, read.
#[derive(Clone, Debug, Default)]
pub(super) struct RunData {
    /// The name of its folder or table.
    pub(super) name: String,
    /// The folder, if one was given.
    pub(super) folder: Option<PathBuf>,
    /// The names of the files in it, sorted.
    pub(super) files: Vec<String>,
    pub(super) faces: FacesTable,
    pub(super) report: Option<RunReport>,
    /// The truth, by stream.
    pub(super) truth: BTreeMap<String, StreamTruth>,
}

impl RunData {
    /// Reads a run's folder, or a table alone.
    ///
    /// # Errors
    /// Fails if there is no table, or one of the files is wrong.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let kind = fs::metadata(path).with_context(|| format!("there is no run {shown}"))?;
        let mut run = Self {
            name: name_of(path),
            ..Self::default()
        };
        if !kind.is_dir() {
            run.faces = FacesTable::read(&[path.to_owned()])?;
            return Ok(run);
        }
        let files = listing(path)?;
        let has = |name: &str| files.iter().any(|file| file == name);
        let tables = segments::of(&files, "faces", "csv");
        if tables.is_empty() {
            bail!("{}", without_faces(path, &files));
        }
        for part in segments::parts_of(&files, "faces", "csv") {
            complain(&format!("left out: {shown}/{part} is incomplete"));
        }
        let tables: Vec<PathBuf> = tables.into_iter().map(|table| path.join(table)).collect();
        run.faces = FacesTable::read(&tables)?;
        if has(REPORT) {
            run.report = Some(RunReport::read(&path.join(REPORT))?);
        }
        for file in &files {
            if file == TRUTH || file.ends_with(".truth.csv") {
                truth::read_into(&mut run.truth, &path.join(file))?;
            }
        }
        run.folder = Some(path.to_owned());
        run.files = files;
        Ok(run)
    }

    /// See [`RunReport::speed`]; a run without a report is assumed to have run at the recording's own speed.
    pub(super) fn speed(&self) -> Option<f64> {
        self.report.as_ref().map_or(Some(1.0), RunReport::speed)
    }
}

fn name_of(path: &Path) -> String {
    let whole = path.canonicalize();
    let whole = whole.as_deref().unwrap_or(path);
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    name.to_string_lossy().into_owned()
}

fn listing(folder: &Path) -> anyhow::Result<Vec<String>> {
    let shown = folder.display();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {shown}"))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {shown}"))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn without_faces(folder: &Path, files: &[String]) -> String {
    let shown = folder.display();
    if let Some(part) = segments::parts_of(files, "faces", "csv").first() {
        return format!(
            "{shown} has no {FACES}, only {part}: the run was stopped or is not over yet, so its table is incomplete"
        );
    }
    let tables: Vec<&str> = (files.iter())
        .filter(|file| file.ends_with(".csv"))
        .map(String::as_str)
        .collect();
    let hint = if tables.is_empty() {
        "a graph writes it with `log: {use: write_csv, …, path: \"${run.dir}/faces.csv\"}`"
            .to_owned()
    } else {
        format!(
            "give the table itself if it is one of {}",
            tables.join(", ")
        )
    };
    format!("{shown} has no {FACES}: {hint}")
}
