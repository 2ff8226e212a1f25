//! Tables of a run as they are read: cells by the names of their columns, and what is wrong with a table in one sentence.
//! Owns how cells are read; which columns there are is `faces` and `truth`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fermata_files::MOST_TABLE;

/// A CSV file that is read row by row.
pub(super) struct Table {
    reader: csv::Reader<File>,
    path: PathBuf,
    header: Vec<String>,
}

/// A row of a table.
pub(super) struct Row<'a> {
    table: &'a Table,
    cells: &'a csv::StringRecord,
    /// Its line in the file, from 1.
    pub(super) line: u64,
}

impl Table {
    /// Opens a table and looks whether it has these columns.
    pub(super) fn open(path: &Path, needed: &[&str]) -> anyhow::Result<Self> {
        let name = path.display();
        let file = fermata_files::open(path, MOST_TABLE);
        let file = file.with_context(|| format!("cannot read {name}"))?;
        let mut reader = csv::Reader::from_reader(file);
        let header = reader.headers();
        let header = header.with_context(|| format!("cannot read {name}"))?;
        let mut header: Vec<String> = header.iter().map(str::to_owned).collect();
        if let Some(first) = header.first_mut() {
            // Spreadsheets begin their files with a mark of the encoding.
            *first = first.trim_start_matches('\u{feff}').to_owned();
        }
        if header.is_empty() {
            bail!("{name} is empty: not even the names of the columns are there");
        }
        let columns = needed.iter().copied();
        let missing: Vec<&str> = columns
            .filter(|column| !header.iter().any(|name| name == column))
            .collect();
        if !missing.is_empty() {
            bail!(
                "{name} has no column {}; its columns are {}",
                missing.join(", "),
                header.join(", ")
            );
        }
        Ok(Self {
            reader,
            path: path.to_owned(),
            header,
        })
    }

    /// Whether there is such a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.header.iter().any(|name| name == column)
    }

    /// Hands over each row.
    pub(super) fn each(
        mut self,
        mut take: impl FnMut(&Row<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut cells = csv::StringRecord::new();
        loop {
            match self.reader.read_record(&mut cells) {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(error) => return Err(self.unreadable(&error)),
            }
            let line = cells.position().map_or(0, csv::Position::line);
            take(&Row {
                table: &self,
                cells: &cells,
                line,
            })?;
        }
    }

    fn unreadable(&self, error: &csv::Error) -> anyhow::Error {
        let name = self.path.display();
        let line = error.position().map_or(0, csv::Position::line);
        match error.kind() {
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => anyhow::anyhow!(
                "{name}, line {line}: {len} cells where the header has {expected_len}; the file is cut off or damaged here"
            ),
            csv::ErrorKind::Utf8 { .. } => anyhow::anyhow!("{name}, line {line}: not UTF-8"),
            _ => anyhow::anyhow!("cannot read {name}: {error}"),
        }
    }
}

impl Row<'_> {
    /// The text in a column; none if the column is not there or the cell is empty.
    pub(super) fn text(&self, column: &str) -> Option<&str> {
        let index = self.table.header.iter().position(|name| name == column)?;
        self.cells.get(index).filter(|text| !text.is_empty())
    }

    /// A whole number.
    pub(super) fn count(&self, column: &str) -> anyhow::Result<Option<u64>> {
        let Some(text) = self.text(column) else {
            return Ok(None);
        };
        let number = text.parse();
        let number = number.map_err(|_| self.wrong(column, "a whole number that is 0 or more"))?;
        Ok(Some(number))
    }

    /// A number that may be NaN or infinite: detectors come up with such boxes.
    pub(super) fn number(&self, column: &str) -> anyhow::Result<Option<f64>> {
        let Some(text) = self.text(column) else {
            return Ok(None);
        };
        let number = text.parse().map_err(|_| self.wrong(column, "a number"))?;
        Ok(Some(number))
    }

    /// Milliseconds, as whole microseconds.
    pub(super) fn time_us(&self, column: &str) -> anyhow::Result<Option<i64>> {
        let Some(ms) = self.number(column)? else {
            return Ok(None);
        };
        // Whole numbers up to 2^53 are exact: 285 years of microseconds.
        if !ms.is_finite() || ms.abs() > 9e12 {
            return Err(self.wrong(column, "a time in milliseconds"));
        }
        Ok(Some((ms * 1e3).round() as i64))
    }

    /// `x`, `y`, `w` and `h`, pixels; none if one of them is not there.
    pub(super) fn rect(&self) -> anyhow::Result<Option<[f64; 4]>> {
        let mut rect = [0.0; 4];
        for (side, column) in rect.iter_mut().zip(["x", "y", "w", "h"]) {
            match self.number(column)? {
                Some(number) => *side = number,
                None => return Ok(None),
            }
        }
        Ok(Some(rect))
    }

    /// A value that each row must have.
    pub(super) fn needed<T>(&self, column: &str, value: Option<T>) -> anyhow::Result<T> {
        value.ok_or_else(|| self.error(&format!("`{column}` is empty")))
    }

    fn wrong(&self, column: &str, expected: &str) -> anyhow::Error {
        let text = self.text(column).unwrap_or_default();
        self.error(&format!("`{column}` is `{text}`, but must be {expected}"))
    }

    /// What is wrong, with the place.
    pub(super) fn error(&self, what: &str) -> anyhow::Error {
        let name = self.table.path.display();
        anyhow::anyhow!("{name}, line {}: {what}", self.line)
    }
}
