//! The result of a softlabel unit on disk: one JSON line per row, followed by the row's logits, f32, little-endian.
//! Owns the format; the sink decides when a file is written and which one counts.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use fermata_learn::manifest::Split;
use fermata_learn::row_hash::RowHash;
use fermata_learn::softlabels::{ExportedRow, Scores};
use fermata_vision::Expression;
use serde::{Deserialize, Serialize};

/// Folder of the finished units in the job's folder, until all are finished.
pub const UNITS: &str = "units";
/// Maximum size of a row's line in bytes: names and reasons are short.
const MOST_LINE: u64 = 64 << 10;

/// Returns the path of a unit's file in a job's folder.
pub(crate) fn unit_path(dir: &Path, unit: usize) -> PathBuf {
    dir.join(UNITS).join(format!("{unit:06}.unit"))
}

/// Returns the maximum size in bytes of a unit's file, given its number of rows and of logits per row.
pub fn most_bytes(rows: usize, values: usize) -> u64 {
    (rows as u64).saturating_mul(MOST_LINE + 4 * values as u64)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowLine {
    sha256: RowHash,
    image: String,
    label: Expression,
    split: Split,
    /// Why the row has no logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// The numbers of fused logits and of teachers' logits that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<[usize; 2]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seen: Vec<Option<bool>>,
}

/// Encodes rows as the contents of a file.
pub(crate) fn to_bytes(rows: impl Iterator<Item = ExportedRow>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        let ExportedRow {
            sha256,
            image,
            label,
            split,
            scores,
        } = row;
        let (failure, scores) = match scores {
            Ok(scores) => (None, Some(scores)),
            Err(reason) => (Some(reason), None),
        };
        let lens = |scores: &Scores| [scores.logits.len(), scores.teachers.len()];
        let line = RowLine {
            sha256,
            image,
            label,
            split,
            failure,
            values: scores.as_ref().map(lens),
            seen: scores
                .as_ref()
                .map(|scores| scores.seen.clone())
                .unwrap_or_default(),
        };
        let line = serde_json::to_vec(&line).expect("numbers and names are JSON");
        bytes.extend(line);
        bytes.push(b'\n');
        if let Some(scores) = scores {
            let values = scores.logits.iter().chain(&scores.teachers);
            bytes.extend(values.flat_map(|value| value.to_le_bytes()));
        }
    }
    bytes
}

/// The rows of several files, one file after the other.
pub(crate) struct UnitRows {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<(PathBuf, BufReader<File>)>,
}

impl UnitRows {
    pub(crate) fn of(files: Vec<PathBuf>) -> Self {
        Self {
            files: files.into_iter(),
            open: None,
        }
    }

    fn read(&mut self) -> Result<Option<ExportedRow>, String> {
        loop {
            if let Some((path, file)) = &mut self.open {
                match read_row(file) {
                    Ok(Some(row)) => return Ok(Some(row)),
                    Ok(None) => self.open = None,
                    Err(error) => return Err(told(path, &error)),
                }
            }
            let Some(path) = self.files.next() else {
                return Ok(None);
            };
            let file = fermata_files::open(&path, u64::MAX).map_err(|error| told(&path, &error))?;
            self.open = Some((path, BufReader::with_capacity(1 << 18, file)));
        }
    }
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

impl Iterator for UnitRows {
    type Item = Result<ExportedRow, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Decodes the rows of a file received from another machine: each must have the given numbers of logits and teachers'
/// logits, or a failure. Ends after the first error.
pub(crate) fn rows_of_bytes(
    bytes: &[u8],
    logits: usize,
    teachers: usize,
) -> impl Iterator<Item = Result<ExportedRow, String>> {
    let (mut rest, mut is_over) = (bytes, false);
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let row = read_expected(&mut rest, Some([logits, teachers]));
        is_over = !matches!(row, Ok(Some(_)));
        row.map_err(|error| error.to_string()).transpose()
    })
}

fn read_row(file: &mut impl BufRead) -> io::Result<Option<ExportedRow>> {
    read_expected(file, None)
}

fn read_expected(
    file: &mut impl BufRead,
    expected: Option<[usize; 2]>,
) -> io::Result<Option<ExportedRow>> {
    let mut line = Vec::new();
    if file.by_ref().take(MOST_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let RowLine {
        sha256,
        image,
        label,
        split,
        failure,
        values,
        seen,
    } = serde_json::from_slice(&line)?;
    if expected.is_some() && failure.is_none() && values != expected {
        let reason = format!("a row has {values:?} logits; expected {expected:?}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let scores = match (failure, values) {
        (Some(reason), _) => Err(reason),
        (None, Some([logits, teachers])) => Ok(Scores {
            logits: read_values(file, logits)?,
            teachers: read_values(file, teachers)?,
            seen,
        }),
        (None, None) => {
            let reason = "a row has neither logits nor a failure";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
    };
    Ok(Some(ExportedRow {
        sha256,
        image,
        label,
        split,
        scores,
    }))
}

fn read_values(file: &mut impl Read, count: usize) -> io::Result<Vec<f32>> {
    let length = (count as u64).saturating_mul(4);
    let mut bytes = Vec::new();
    // A wrong count allocates no memory.
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let values = bytes.chunks_exact(4);
    Ok(values
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written_over_several_files() {
        let folder = tempfile::tempdir().unwrap();
        let row = |number: usize| ExportedRow {
            sha256: RowHash::digest(b"a"),
            image: format!("a \"b\"\n{number}.png"),
            label: Expression::Sad,
            split: Split::Validation,
            scores: match number % 3 {
                0 => Err("it is damaged".to_owned()),
                _ => Ok(Scores {
                    // A byte of a logit may equal a line feed.
                    logits: vec![f32::from_le_bytes([10; 4]), number as f32],
                    teachers: vec![-1.5, f32::MIN_POSITIVE, 3.0],
                    seen: vec![Some(true), None],
                }),
            },
        };
        let mut files = Vec::new();
        for (name, rows) in [("a", 0..4), ("b", 4..4), ("c", 4..6)] {
            let path = folder.path().join(name);
            std::fs::write(&path, to_bytes(rows.map(row))).unwrap();
            files.push(path);
        }
        let read: Result<Vec<_>, _> = UnitRows::of(files.clone()).collect();
        assert_eq!(read.unwrap(), (0..6).map(row).collect::<Vec<_>>());
        let cut = std::fs::read(&files[2]).unwrap();
        std::fs::write(&files[2], &cut[..cut.len() - 1]).unwrap();
        let last = UnitRows::of(files).last().unwrap();
        assert!(last.unwrap_err().contains("cannot read"));
    }
}
