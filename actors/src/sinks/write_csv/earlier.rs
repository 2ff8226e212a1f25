//! What is kept of a table whose writer was killed: all rows of frames of which the machines that they came from know that they were settled.
//! The others come again. Owns which bytes those are; nothing is changed here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use super::row::HEADER;

const STREAM: usize = 0;
const SEQUENCE: usize = 2;

/// What an earlier writer left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Earlier {
    /// Rows that stay.
    pub(super) rows: u64,
    /// The bytes of those that do not, in order.
    pub(super) cuts: Vec<Range<u64>>,
}

impl Earlier {
    /// Goes through an unfinished table; `settled` tells of each stream below which sequence everything was settled. None if there is no
    /// table to go on with: no file, another one, or one with rows of streams of which nobody knows how far they were settled, whose
    /// sequences begin anew.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn of(part: &Path, settled: &BTreeMap<String, u64>) -> io::Result<Option<Self>> {
        let mut file = match File::open(part) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let is_torn = length > 0 && last_byte(&mut file)? != b'\n';
        file.rewind()?;
        let mut reader = csv::ReaderBuilder::new();
        let mut reader = { &mut reader }
            .has_headers(false)
            .flexible(true)
            .from_reader(file);
        let mut record = csv::StringRecord::new();
        let mut earlier = Self {
            rows: 0,
            cuts: Vec::new(),
        };
        if !reader.read_record(&mut record)? || record != HEADER[..] {
            return Ok(None);
        }
        loop {
            let begin = reader.position().byte();
            match reader.read_record(&mut record) {
                Ok(true) => {}
                Ok(false) => return Ok(Some(earlier)),
                // What a killed writer tore is no text.
                Err(error) if is_torn && reader.position().byte() >= length => {
                    tracing::debug!("the last row was torn: {error}");
                    earlier.cut(begin..length);
                    return Ok(Some(earlier));
                }
                Err(error) => return Err(error.into()),
            }
            let end = reader.position().byte();
            if is_torn && end >= length {
                earlier.cut(begin..length);
                continue;
            }
            let sequence = record
                .get(SEQUENCE)
                .and_then(|cell| cell.parse::<u64>().ok());
            let known = record.get(STREAM).and_then(|stream| settled.get(stream));
            match (known, sequence) {
                (Some(below), Some(sequence)) if sequence < *below => earlier.rows += 1,
                (Some(_), Some(_)) => earlier.cut(begin..end),
                _ => return Ok(None),
            }
        }
    }

    fn cut(&mut self, bytes: Range<u64>) {
        match self.cuts.last_mut() {
            Some(last) if last.end == bytes.start => last.end = bytes.end,
            _ => self.cuts.push(bytes),
        }
    }
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stays of a table with these rows.
    fn kept(rows: &str, settled: &[(&str, u64)]) -> Option<(u64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("faces.csv.part");
        let text = format!("{}\n{rows}", HEADER.join(","));
        std::fs::write(&part, &text).unwrap();
        let settled = settled
            .iter()
            .map(|&(stream, below)| (stream.to_owned(), below));
        let earlier = Earlier::of(&part, &settled.collect()).unwrap()?;
        let mut text = text.into_bytes();
        for cut in earlier.cuts.iter().rev() {
            text.drain(cut.start as usize..cut.end as usize);
        }
        let text = String::from_utf8(text).unwrap();
        let (_, rows) = text.split_once('\n').unwrap();
        Some((earlier.rows, rows.to_owned()))
    }

    #[test]
    fn rows_that_were_settled_stay_and_others_go() {
        let rows = "door,0,0,0\nyard,0,0,0\ndoor,0,1,40\ndoor,0,1,40\nyard,0,1,40\ndoor,1,2,0\n";
        let all = kept(rows, &[("door", 3), ("yard", 2)]);
        assert_eq!(all, Some((6, rows.to_owned())));
        let some = kept(rows, &[("door", 1), ("yard", 2)]);
        let expected = "door,0,0,0\nyard,0,0,0\nyard,0,1,40\n";
        assert_eq!(some, Some((3, expected.to_owned())));
        assert_eq!(
            kept(rows, &[("door", 0), ("yard", 0)]),
            Some((0, String::new()))
        );
        assert_eq!(kept("", &[("door", 1)]), Some((0, String::new())));
    }

    #[test]
    fn a_row_that_was_torn_goes() {
        let torn = kept("door,0,0,0\ndoor,0,1", &[("door", 9)]);
        assert_eq!(torn, Some((1, "door,0,0,0\n".to_owned())));
        let torn = kept("door,0,0,0\ndo", &[("door", 9)]);
        assert_eq!(torn, Some((1, "door,0,0,0\n".to_owned())));
    }

    #[test]
    fn a_table_with_streams_of_this_machine_does_not_go_on() {
        assert_eq!(kept("door,0,0,0\nown,0,0,0\n", &[("door", 9)]), None);
        let none = Earlier::of("/nowhere/faces.csv.part".as_ref(), &BTreeMap::new());
        assert_eq!(none.unwrap(), None);
    }
}
