//! In which line of a table a record begins, as an editor counts them. The reader's own count is one too small where lines end in CR LF: it
//! takes a record to begin before the LF of the line above (<https://github.com/BurntSushi/rust-csv/issues/395>).

use std::str::Bytes;

/// Counts lines of a text while its records go by, in order.
pub(crate) struct LineNumbers<'a> {
    rest: Bytes<'a>,
    /// How many bytes are counted.
    byte: u64,
    line: u64,
    was_return: bool,
}

impl<'a> LineNumbers<'a> {
    /// At the beginning of a text, which is line 1.
    pub(crate) fn of(text: &'a str) -> Self {
        Self {
            rest: text.bytes(),
            byte: 0,
            line: 1,
            was_return: false,
        }
    }

    /// The line of a record of this text, which comes after all that were asked about; 0 if it has no position. Lines end in LF, CR LF or CR.
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

    /// Whether what follows ends a line that is empty, or the one above: no record begins with it.
    fn is_at_an_end(&self) -> bool {
        matches!(self.rest.clone().next(), Some(b'\n' | b'\r'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the records of a table.
    fn lines(text: &str) -> Vec<u64> {
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut lines = LineNumbers::of(text);
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        records
            .iter()
            .map(|record| lines.of_record(record))
            .collect()
    }

    #[test]
    fn lines_are_those_of_an_editor_however_they_end() {
        for end in ["\n", "\r\n", "\r"] {
            let of = |text: &str| lines(&text.replace('\n', end));
            assert_eq!(of("a,b\n1,2\n3,4\n"), [2, 3], "{end:?}");
            assert_eq!(of("a,b\n\n\n1,2\n\n3,4"), [4, 6], "{end:?}");
            // A value of two lines.
            assert_eq!(of("a,b\n\"1\n1\",2\n3,4\n"), [2, 4], "{end:?}");
            assert_eq!(of("\u{feff}a,b\n1,2\n"), [2], "{end:?}");
        }
        assert_eq!(lines("a,b\r\n1,2\n3,4\r\n5,6\n"), [2, 3, 4]);
    }
}
