//! Line numbers of a table's records as an editor counts them. The csv reader's own count is one too small where lines
//! end in CR LF: it takes a record to begin before the LF of the line above
//! (<https://github.com/BurntSushi/rust-csv/issues/395>).

use std::str::Bytes;

/// Returns the column names of a table, which must be unique, since a second column of the same name would never be
/// read.
///
/// # Errors
/// A message: the header cannot be read, or two columns have the same name.
pub(crate) fn columns(reader: &mut csv::Reader<&[u8]>) -> Result<Vec<String>, String> {
    let header = reader.headers().map_err(|error| error.to_string())?;
    let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    for (place, name) in names.iter().enumerate() {
        let first = names.iter().position(|other| other == name);
        if let Some(first) = first.filter(|&first| first < place && !name.is_empty()) {
            let (first, place) = (first + 1, place + 1);
            return Err(format!(
                "line 1: the columns {first} and {place} are both called `{name}`"
            ));
        }
    }
    Ok(names)
}

/// Returns a reader that accepts records of any length; the caller checks their length.
pub(crate) fn reader(text: &str) -> csv::Reader<&[u8]> {
    let mut settings = csv::ReaderBuilder::new();
    settings.flexible(true).from_reader(text.as_bytes())
}

/// Checks that a record has as many values as there are columns.
///
/// # Errors
/// A message with both numbers.
pub(crate) fn as_wide(record: &csv::StringRecord, columns: usize) -> Result<(), String> {
    match record.len() {
        values if values == columns => Ok(()),
        values => Err(format!("{values} columns; expected {columns}")),
    }
}

/// Counts the lines of a text while its records are read in order.
pub(crate) struct LineNumbers<'a> {
    rest: Bytes<'a>,
    /// Number of bytes counted.
    byte: u64,
    line: u64,
    was_return: bool,
}

impl<'a> LineNumbers<'a> {
    /// Starts at the beginning of a text, which is line 1.
    pub(crate) fn of(text: &'a str) -> Self {
        Self {
            rest: text.bytes(),
            byte: 0,
            line: 1,
            was_return: false,
        }
    }

    /// Returns the line of a record, which must come after those passed before; 0 if it has no position. Lines end in
    /// LF, CR LF or CR.
    pub(crate) fn of_record(&mut self, record: &csv::StringRecord) -> u64 {
        let Some(position) = record.position() else {
            return 0;
        };
        while self.byte < position.byte() || self.is_at_an_end() {
            match self.rest.next() {
                None => break,
                Some(b'\n') if self.was_return => self.was_return = false,
                Some(byte) => {
                    self.was_return = byte == b'\r';
                    self.line += u64::from(byte == b'\n' || byte == b'\r');
                }
            }
            self.byte += 1;
        }
        self.line
    }

    /// Returns whether the next byte ends an empty line or the line above, so that no record begins with it.
    fn is_at_an_end(&self) -> bool {
        matches!(self.rest.clone().next(), Some(b'\n' | b'\r'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the line of each record of a table.
    fn lines(text: &str) -> Vec<u64> {
        let mut reader = reader(text);
        let mut lines = LineNumbers::of(text);
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        records
            .iter()
            .map(|record| lines.of_record(record))
            .collect()
    }

    #[test]
    fn a_column_has_a_name_of_its_own() {
        let columns = |text: &str| columns(&mut reader(text));
        assert_eq!(
            columns("\u{feff}a, b ,\"c\nd\"\n"),
            Ok(["a", "b", "c\nd"].map(str::to_owned).to_vec())
        );
        assert_eq!(
            columns("a,,\n").map(|names| names.len()),
            Ok(3),
            "nobody asks for one without a name"
        );
        let twice = columns("label,b,label\n").unwrap_err();
        assert_eq!(twice, "line 1: the columns 1 and 3 are both called `label`");
    }

    #[test]
    fn lines_are_those_of_an_editor_however_they_end() {
        for end in ["\n", "\r\n", "\r"] {
            let of = |text: &str| lines(&text.replace('\n', end));
            assert_eq!(of("a,b\n1,2\n3,4\n"), [2, 3], "{end:?}");
            assert_eq!(of("a,b\n\n\n1,2\n\n3,4"), [4, 6], "{end:?}");
            // A value that spans two lines.
            assert_eq!(of("a,b\n\"1\n1\",2\n3,4\n"), [2, 4], "{end:?}");
            assert_eq!(of("\u{feff}a,b\n1,2\n"), [2], "{end:?}");
        }
        assert_eq!(lines("a,b\r\n1,2\n3,4\r\n5,6\n"), [2, 3, 4]);
    }
}
