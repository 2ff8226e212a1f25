//! Writes a softlabel folder from rows that can be iterated several times: only one row is in memory at a time, except
//! for the metrics, which need one model's logits of view 0.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use fermata_files::{FileError, PartFile, Unfinished};
use fermata_vision::Expression;
use fermata_vision::face::EXPRESSIONS;
use serde::Serialize;

use super::alignment::{Alignment, SeenRows};
use super::files::{
    CLASSES, ClassOrder, Counts, FAILED, FailedLine, HASHES, Hashes, INDEX, IndexLine, LOGITS,
    METRICS, REPORT, Report, SOFTLABELS, SoftlabelsError, TEACHER_LOGITS,
};
use super::measured::{ENSEMBLE, EnsembleMetrics, Gathered};
use crate::in_memory::json_text;
use crate::manifest::Split;
use crate::npz::NpzStream;
use crate::row_hash::RowHash;

/// Logits of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Fused logits Σ w_k z_k / T_k, [V, 7].
    pub logits: Vec<f32>,
    /// Teacher logits z_k, [V, K, 7].
    pub teachers: Vec<f32>,
    /// For each teacher whether it was trained on the row, if that is known.
    pub seen: Vec<Option<bool>>,
}

/// Row of an export.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportedRow {
    /// Hash of the image file.
    pub sha256: RowHash,
    /// Image as the manifest names it.
    pub image: String,
    /// Label in the manifest.
    pub label: Expression,
    /// Split in the manifest.
    pub split: Split,
    /// Logits of the row, or why there are none.
    pub scores: Result<Scores, String>,
}

/// Writes the files into an existing folder. `rows` returns all rows in the manifest's order, from the beginning on
/// each call.
///
/// # Errors
/// See [`SoftlabelsError`]; the folder is then incomplete.
pub fn write<I>(
    folder: &Path,
    alignment: &Alignment,
    rows: impl Fn() -> I,
) -> Result<Counts, SoftlabelsError>
where
    I: Iterator<Item = Result<ExportedRow, String>>,
{
    let checked = || {
        rows().enumerate().map(|(row, exported)| {
            let exported = exported.and_then(|exported| fitting(exported, alignment));
            exported.map_err(|reason| SoftlabelsError::Row { row, reason })
        })
    };
    // Softlabels from an earlier export are incomplete from here on.
    fermata_files::remove_earlier(&folder.join(HASHES))?;
    let counts = write_lines(folder, alignment, checked())?;
    write_arrays(folder, alignment, counts.rows_out, checked)?;
    write_json(
        &folder.join(CLASSES),
        &ClassOrder {
            classes: alignment.classes.clone(),
        },
    )?;
    let report = Report {
        alignment_sha256: alignment.sha256(),
        counts,
        alignment: alignment.clone(),
    };
    write_json(&folder.join(REPORT), &report)?;
    write_json(&folder.join(METRICS), &measured(alignment, checked)?)?;
    let mut hashes = Hashes::default();
    for name in [SOFTLABELS, INDEX, FAILED, CLASSES, REPORT, METRICS] {
        let sha256 = fermata_files::sha256_of_file(&folder.join(name))?;
        hashes.files.insert(name.to_owned(), sha256);
    }
    write_json(&folder.join(HASHES), &hashes)?;
    Ok(report.counts)
}

fn fitting(row: ExportedRow, alignment: &Alignment) -> Result<ExportedRow, String> {
    if let Ok(scores) = &row.scores {
        let found = [
            scores.logits.len(),
            scores.teachers.len(),
            scores.seen.len(),
        ];
        let expected = [
            alignment.logits_len(),
            alignment.teachers_len(),
            alignment.teachers.len(),
        ];
        if found != expected {
            return Err(format!(
                "it has {found:?} logits, teachers' logits and teachers; expected {expected:?}"
            ));
        }
    }
    Ok(row)
}

/// Writes the index and the failed rows.
fn write_lines(
    folder: &Path,
    alignment: &Alignment,
    rows: impl Iterator<Item = Result<ExportedRow, SoftlabelsError>>,
) -> Result<Counts, SoftlabelsError> {
    let mut index = Lines::create(&folder.join(INDEX))?;
    let mut failed = Lines::create(&folder.join(FAILED))?;
    let mut seen = vec![SeenRows::default(); alignment.teachers.len()];
    let mut counts = Counts::default();
    for row in rows {
        let ExportedRow {
            sha256,
            image,
            label,
            split,
            scores,
        } = row?;
        counts.rows_in += 1;
        match scores {
            Ok(scores) => {
                for (seen, known) in seen.iter_mut().zip(scores.seen) {
                    match known {
                        Some(true) => seen.seen += 1,
                        Some(false) => seen.unseen += 1,
                        None => seen.unknown += 1,
                    }
                }
                index.push(&IndexLine {
                    row: counts.rows_out,
                    sha256,
                    image,
                    label,
                    split,
                })?;
                counts.rows_out += 1;
            }
            Err(reason) => {
                failed.push(&FailedLine {
                    sha256,
                    image,
                    label,
                    split,
                    reason,
                })?;
                counts.failed += 1;
            }
        }
    }
    index.finish()?;
    failed.finish()?;
    let names = alignment.teachers.iter().map(|teacher| &teacher.name);
    counts.seen = names.cloned().zip(seen).collect();
    Ok(counts)
}

/// Writes the arrays, one after the other.
fn write_arrays<I>(
    folder: &Path,
    alignment: &Alignment,
    rows: usize,
    checked: impl Fn() -> I,
) -> Result<(), SoftlabelsError>
where
    I: Iterator<Item = Result<ExportedRow, SoftlabelsError>>,
{
    let (views, teachers) = (alignment.views as usize, alignment.teachers.len());
    let mut arrays = NpzStream::create(&folder.join(SOFTLABELS))?;
    let scores = || checked().filter_map(|row| row.map(|row| row.scores.ok()).transpose());
    let shape = [rows, views, EXPRESSIONS];
    arrays.array(
        LOGITS,
        &shape,
        scores().map(|scores| Ok::<_, SoftlabelsError>(scores?.logits)),
    )?;
    let shape = [rows, views, teachers, EXPRESSIONS];
    arrays.array(
        TEACHER_LOGITS,
        &shape,
        scores().map(|scores| Ok::<_, SoftlabelsError>(scores?.teachers)),
    )?;
    Ok(arrays.finish()?)
}

/// Computes the metrics of one model after the other, so that only one model's logits are in memory.
fn measured<I>(
    alignment: &Alignment,
    checked: impl Fn() -> I,
) -> Result<EnsembleMetrics, SoftlabelsError>
where
    I: Iterator<Item = Result<ExportedRow, SoftlabelsError>>,
{
    let mut metrics = EnsembleMetrics::default();
    let teachers = alignment.teachers.iter().enumerate();
    let teachers = teachers.map(|(number, teacher)| (Some(number), teacher.name.as_str()));
    for (teacher, name) in [(None, ENSEMBLE)].into_iter().chain(teachers) {
        let mut gathered: BTreeMap<Split, Gathered> = BTreeMap::new();
        for row in checked() {
            let row = row?;
            let Ok(scores) = row.scores else { continue };
            let logits = match teacher {
                None => &scores.logits[..],
                Some(number) => &scores.teachers[number * EXPRESSIONS..],
            };
            let of_split = gathered.entry(row.split).or_default();
            of_split.push(logits, row.label);
        }
        metrics.add(name, gathered)?;
    }
    Ok(metrics)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), SoftlabelsError> {
    Ok(fermata_files::write(path, json_text(value).as_bytes())?)
}

/// File of JSON lines, which appears only when complete.
struct Lines(BufWriter<PartFile>);

impl Lines {
    fn create(path: &Path) -> Result<Self, SoftlabelsError> {
        let file = PartFile::create(path, Unfinished::Removed)?;
        Ok(Self(BufWriter::new(file)))
    }

    fn push(&mut self, line: &impl Serialize) -> Result<(), SoftlabelsError> {
        let mut text = serde_json::to_vec(line).expect("names and numbers are JSON");
        text.push(b'\n');
        let written = self.0.write_all(&text);
        Ok(written.map_err(|reason| FileError::plain("write", self.0.get_ref().path(), reason))?)
    }

    fn finish(self) -> Result<(), SoftlabelsError> {
        let path = self.0.get_ref().path().to_owned();
        let file = self.0.into_inner();
        let file = file.map_err(|error| FileError::plain("write", &path, error.into_error()))?;
        Ok(file.finish()?)
    }
}
