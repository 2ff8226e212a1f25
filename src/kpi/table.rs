//! Reading the tables of a run: cells by column name, and errors in one sentence. `faces` and `truth` define the
//! columns.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fermata_files::MOST_TABLE;

/// A CSV file read row by row.
pub(super) struct Table {
    reader: csv::Reader<File>,
    path: PathBuf,
    header: Vec<String>,
}

/// A row of a table.
pub(super) struct Row<'a> {
    table: &'a Table,
    cells: &'a csv::StringRecord,
    /// Byte offset at which it begins in the file.
    byte: u64,
}

impl Table {
    /// Opens a table and checks that it has these columns.
    pub(super) fn open(path: &Path, needed: &[&str]) -> anyhow::Result<Self> {
        let name = path.display();
        let file = fermata_files::open(path, MOST_TABLE);
        let file = file.with_context(|| format!("cannot read {name}"))?;
        let mut reader = csv::Reader::from_reader(file);
        let header = reader.headers();
        let header = header.with_context(|| format!("cannot read {name}"))?;
        let mut header: Vec<String> = header.iter().map(str::to_owned).collect();
        if let Some(first) = header.first_mut() {
            // Spreadsheets start their files with a byte order mark.
            *first = first.trim_start_matches('\u{feff}').to_owned();
        }
        if header.is_empty() {
            bail!("{name} is empty: it lacks even the names of the columns");
        }
        for (column, name) in header.iter().enumerate() {
            let first = header[..column].iter().position(|other| other == name);
            if let Some(first) = first.filter(|_| !name.is_empty()) {
                bail!(
                    "{}: the columns {} and {} are both called `{name}`",
                    path.display(),
                    first + 1,
                    column + 1
                );
            }
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

    /// Returns whether the table has this column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.header.iter().any(|name| name == column)
    }

    /// Calls `take` for each row.
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
            let byte = cells.position().map_or(0, csv::Position::byte);
            take(&Row {
                table: &self,
                cells: &cells,
                byte,
            })?;
        }
    }

    fn unreadable(&self, error: &csv::Error) -> anyhow::Error {
        let name = self.path.display();
        let byte = error.position().map_or(0, csv::Position::byte);
        let line = line_at(&self.path, byte);
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
    /// Returns the text in a column; none if there is no such column or the cell is empty.
    pub(super) fn text(&self, column: &str) -> Option<&str> {
        let index = self.table.header.iter().position(|name| name == column)?;
        self.cells.get(index).filter(|text| !text.is_empty())
    }

    /// Returns a whole number.
    pub(super) fn count(&self, column: &str) -> anyhow::Result<Option<u64>> {
        let Some(text) = self.text(column) else {
            return Ok(None);
        };
        let number = text.parse();
        let number = number.map_err(|_| self.wrong(column, "a whole number that is 0 or more"))?;
        Ok(Some(number))
    }

    /// Returns a number, which may be NaN or infinite: detectors produce such boxes.
    pub(super) fn number(&self, column: &str) -> anyhow::Result<Option<f64>> {
        let Some(text) = self.text(column) else {
            return Ok(None);
        };
        let number = text.parse().map_err(|_| self.wrong(column, "a number"))?;
        Ok(Some(number))
    }

    /// Returns a time in milliseconds as whole microseconds.
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

    /// Returns `x`, `y`, `w` and `h`, pixels; none if one of them is missing.
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

    /// Returns a value that each row must have.
    pub(super) fn needed<T>(&self, column: &str, value: Option<T>) -> anyhow::Result<T> {
        value.ok_or_else(|| self.error(&format!("`{column}` is empty")))
    }

    fn wrong(&self, column: &str, expected: &str) -> anyhow::Error {
        let text = self.text(column).unwrap_or_default();
        self.error(&format!("`{column}` is `{text}`, but must be {expected}"))
    }

    /// Creates an error with its place.
    pub(super) fn error(&self, what: &str) -> anyhow::Error {
        let name = self.table.path.display();
        let line = line_at(&self.table.path, self.byte);
        anyhow::anyhow!("{name}, line {line}: {what}")
    }
}

/// Returns the line of the record that the reader places at this byte, counted like an editor: LF, CR LF and CR end a
/// line. The reader's own count is one too small for CR LF line ends, since it lets a record begin before the LF of the
/// previous line (<https://github.com/BurntSushi/rust-csv/issues/395>).
fn line_at(path: &Path, byte: u64) -> u64 {
    let Ok(file) = File::open(path) else {
        return 0;
    };
    let (mut line, mut was_return) = (1, false);
    for (at, read) in (0..).zip(BufReader::new(file).bytes().map_while(Result::ok)) {
        let ends_line = matches!(read, b'\n' | b'\r');
        if at >= byte && !ends_line {
            break;
        }
        line += u64::from(ends_line && !(read == b'\n' && was_return));
        was_return = read == b'\r';
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_columns_of_one_name_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faces.csv");
        std::fs::write(&path, "stream,label,x,label,,\n").unwrap();
        let error = Table::open(&path, &[]).map(drop).unwrap_err().to_string();
        let told = "the columns 2 and 4 are both called `label`";
        assert!(error.contains(told), "{error}");
        std::fs::write(&path, "stream,label,x,,\n").unwrap();
        assert!(Table::open(&path, &["label"]).is_ok());
    }

    #[test]
    fn wrong_cells_are_in_the_line_that_an_editor_shows_however_lines_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faces.csv");
        for end in ["\n", "\r\n", "\r"] {
            let error = |text: &str| {
                std::fs::write(&path, text.replace('\n', end)).unwrap();
                let table = Table::open(&path, &["x"]).unwrap();
                let read = table.each(|row| row.number("x").map(drop));
                read.unwrap_err().to_string()
            };
            let said = error("stream,x\ndoor,1\ndoor,one\n");
            assert!(said.contains("line 3: `x` is `one`"), "{end:?}: {said}");
            let said = error("stream,x\n\n\"do\nor\",1\ndoor,one\n");
            assert!(said.contains("line 5: `x`"), "{end:?}: {said}");
            let said = error("stream,x\ndoor,1\ndoor\n");
            assert!(said.contains("line 3: 1 cells"), "{end:?}: {said}");
        }
    }
}
