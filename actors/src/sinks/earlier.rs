//! Resumption of a file of rows or lines whose writer was killed: rows are kept if the machines that sent their frames
//! know that these were settled; the other frames are sent again. Owns which bytes are kept, and under which name the
//! file continues.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use fermata_engine::{ActorError, Life};
use fermata_files::{RecordFile, part_path};
use serde::Deserialize;

const STREAM: usize = 0;
const SEQUENCE: usize = 2;

/// Format of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form<'a> {
    /// A table with these columns.
    Table(&'a [&'a str]),
    /// JSON, one object per line.
    Lines,
}

/// Contents left by an earlier writer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// Number of rows that are kept.
    rows: u64,
    /// Last sequence number of the kept rows, by stream.
    last: BTreeMap<String, u64>,
    /// Byte ranges of the rows that are not kept, in order.
    cuts: Vec<Range<u64>>,
}

/// An unfinished file that is continued.
pub(crate) struct GoesOn {
    pub(crate) file: RecordFile,
    /// Number of rows or lines in it.
    pub(crate) rows: u64,
}

/// The frame that a line belongs to.
#[derive(Deserialize)]
struct Line {
    stream: String,
    sequence: u64,
}

/// Reopens the unfinished file of an earlier life of this part, if there is one.
///
/// # Errors
/// Fails if it cannot be read or written.
pub(crate) fn go_on(
    path: &Path,
    life: &Life,
    form: Form<'_>,
) -> Result<Option<GoesOn>, ActorError> {
    let part = part_path(path);
    let Some(earlier) = found(&part, life, form)? else {
        return Ok(None);
    };
    for (stream, last) in &earlier.last {
        let below = life.settled.get(stream).copied().unwrap_or_default();
        if last.saturating_add(1) < below {
            tracing::warn!(
                "`{}` ends at frame {last} of stream {stream}, although everything below {below} had been settled: the frames in between were not written to it, or were lost in a power failure",
                part.display()
            );
        }
    }
    let file = RecordFile::go_on(path, &earlier.cuts)?;
    let rows = earlier.rows;
    Ok(Some(GoesOn { file, rows }))
}

/// Turns a file that an earlier life finished back into an unfinished one if what arrives now belongs after it. Returns
/// whether it did.
///
/// # Errors
/// Fails if the file cannot be read or renamed.
pub(crate) fn take_up(path: &Path, life: &Life, form: Form<'_>) -> Result<bool, ActorError> {
    let part = part_path(path);
    let is_finished = !part.exists() && life.wrote(path).unwrap_or(true);
    if !is_finished || found(path, life, form)?.is_none() {
        return Ok(false);
    }
    fs::rename(path, &part).map_err(|error| stuck(path, &error))?;
    Ok(true)
}

/// Cuts rows that will arrive again out of segments that an earlier life finished, given from first to last.
///
/// # Errors
/// Fails if a segment cannot be read or written.
pub(crate) fn cut_segments(
    segments: &[impl AsRef<Path>],
    life: &Life,
    form: Form<'_>,
) -> Result<(), ActorError> {
    let mut open: BTreeSet<&String> = life.settled.keys().collect();
    for path in segments.iter().rev().map(AsRef::as_ref) {
        // Segments of other runs must not be cut.
        if open.is_empty() || life.wrote(path) != Some(true) {
            return Ok(());
        }
        let Some(earlier) = found(path, life, form)? else {
            continue;
        };
        // Before a row that is kept, all rows of its stream are kept.
        open.retain(|stream| !earlier.last.contains_key(*stream));
        if !earlier.cuts.is_empty() {
            fs::rename(path, part_path(path)).map_err(|error| stuck(path, &error))?;
            RecordFile::go_on(path, &earlier.cuts)?.finish()?;
        }
    }
    Ok(())
}

fn found(path: &Path, life: &Life, form: Form<'_>) -> Result<Option<Earlier>, ActorError> {
    let earlier = Earlier::of(path, &life.settled, form);
    earlier.map_err(|error| stuck(path, &error))
}

fn stuck(path: &Path, error: &io::Error) -> ActorError {
    format!(
        "cannot continue `{}`: {error}; move it away to start a new one",
        path.display()
    )
    .into()
}

impl Earlier {
    /// Scans a file; `settled` has for each stream the sequence number below which everything was settled. Returns
    /// `None` if there is no file to continue: none at all, an unrelated one, or one with rows of streams of which it
    /// is not known how far they were settled, and whose sequence numbers start over.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    fn of(
        path: &Path,
        settled: &BTreeMap<String, u64>,
        form: Form<'_>,
    ) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let length = file.metadata()?.len();
        let is_torn = length > 0 && last_byte(&mut file)? != b'\n';
        file.rewind()?;
        let whole = Whole { length, is_torn };
        match form {
            Form::Table(header) => Self::of_table(file, whole, settled, header),
            Form::Lines => Self::of_lines(file, whole, settled),
        }
    }

    fn of_table(
        file: File,
        whole: Whole,
        settled: &BTreeMap<String, u64>,
        header: &[&str],
    ) -> io::Result<Option<Self>> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(file);
        let mut record = csv::StringRecord::new();
        let mut earlier = Self::default();
        if !reader.read_record(&mut record)? || record != *header {
            return Ok(None);
        }
        loop {
            let begin = reader.position().byte();
            match reader.read_record(&mut record) {
                Ok(true) => {}
                Ok(false) => return Ok(Some(earlier)),
                // The torn row of a killed writer may not be valid text.
                Err(error) if whole.is_torn_at(reader.position().byte()) => {
                    tracing::debug!("the last row is incomplete: {error}");
                    earlier.cut(begin..whole.length);
                    return Ok(Some(earlier));
                }
                Err(error) => return Err(error.into()),
            }
            let end = reader.position().byte();
            if whole.is_torn_at(end) {
                earlier.cut(begin..whole.length);
                continue;
            }
            let stream = record.get(STREAM);
            let sequence = record.get(SEQUENCE).and_then(|cell| cell.parse().ok());
            if !stream.zip(sequence).is_some_and(|(stream, sequence)| {
                earlier.add(stream, sequence, begin..end, settled)
            }) {
                return Ok(None);
            }
        }
    }

    fn of_lines(
        file: File,
        whole: Whole,
        settled: &BTreeMap<String, u64>,
    ) -> io::Result<Option<Self>> {
        let mut reader = BufReader::new(file);
        let mut earlier = Self::default();
        let (mut begin, mut bytes) = (0, Vec::new());
        loop {
            bytes.clear();
            let end = begin + reader.read_until(b'\n', &mut bytes)? as u64;
            if end == begin {
                return Ok(Some(earlier));
            }
            if whole.is_torn_at(end) {
                earlier.cut(begin..whole.length);
            } else {
                let line = serde_json::from_slice::<Line>(&bytes).ok();
                if !line.is_some_and(|Line { stream, sequence }| {
                    earlier.add(&stream, sequence, begin..end, settled)
                }) {
                    return Ok(None);
                }
            }
            begin = end;
        }
    }

    /// Adds a row of a frame. Returns false if it is not known how far its stream was settled.
    fn add(
        &mut self,
        stream: &str,
        sequence: u64,
        bytes: Range<u64>,
        settled: &BTreeMap<String, u64>,
    ) -> bool {
        let Some(below) = settled.get(stream) else {
            return false;
        };
        if sequence >= *below {
            self.cut(bytes);
            return true;
        }
        self.rows += 1;
        match self.last.get_mut(stream) {
            Some(last) => *last = sequence.max(*last),
            None => drop(self.last.insert(stream.to_owned(), sequence)),
        }
        true
    }

    fn cut(&mut self, bytes: Range<u64>) {
        match self.cuts.last_mut() {
            Some(last) if last.end == bytes.start => last.end = bytes.end,
            _ => self.cuts.push(bytes),
        }
    }
}

/// Length of a file and how it ends.
#[derive(Clone, Copy)]
struct Whole {
    length: u64,
    /// Whether it ends within a row.
    is_torn: bool,
}

impl Whole {
    fn is_torn_at(self, end: u64) -> bool {
        self.is_torn && end >= self.length
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

    const HEADER: [&str; 4] = ["stream", "segment", "sequence", "pts_ms"];

    fn life(settled: &[(&str, u64)]) -> Life {
        let settled = settled
            .iter()
            .map(|&(stream, below)| (stream.to_owned(), below));
        Life {
            number: 2,
            settled: settled.collect(),
            since: Some(std::time::SystemTime::now()),
        }
    }

    /// Returns what is kept of a table with these rows.
    fn kept(rows: &str, settled: &[(&str, u64)]) -> Option<(u64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("faces.csv.part");
        let text = format!("{}\n{rows}", HEADER.join(","));
        std::fs::write(&part, &text).unwrap();
        let earlier = Earlier::of(&part, &life(settled).settled, Form::Table(&HEADER)).unwrap()?;
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
        let none = Earlier::of(
            "/nowhere/faces.csv.part".as_ref(),
            &BTreeMap::new(),
            Form::Lines,
        );
        assert_eq!(none.unwrap(), None);
    }

    #[test]
    fn lines_that_were_settled_stay_and_others_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faces.jsonl");
        let line = |stream: &str, sequence: u64| {
            format!(
                "{{\"stream\":\"{stream}\",\"segment\":0,\"sequence\":{sequence},\"faces\":[]}}\n"
            )
        };
        let kept = [line("door", 0), line("yard", 0)].concat();
        let torn = [&kept, &line("yard", 1), "{\"stream\":\"do"].concat();
        fs::write(part_path(&path), torn).unwrap();
        let life = life(&[("door", 1), ("yard", 1)]);
        let GoesOn { file, rows } = go_on(&path, &life, Form::Lines).unwrap().unwrap();
        assert_eq!((rows, file.length()), (2, kept.len() as u64));
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), kept);
    }

    #[test]
    fn a_finished_file_is_taken_up_unless_it_is_another_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faces.csv");
        let form = Form::Table(&HEADER);
        fs::write(&path, format!("{}\nown,0,0,0\n", HEADER.join(","))).unwrap();
        let life = life(&[("door", 1)]);
        assert!(!take_up(&path, &life, form).unwrap(), "streams of its own");
        fs::write(&path, format!("{}\ndoor,0,0,0\n", HEADER.join(","))).unwrap();
        let since = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        let later = Life {
            since: Some(since),
            ..life.clone()
        };
        assert!(!take_up(&path, &later, form).unwrap());
        assert!(path.exists() && take_up(&path, &life, form).unwrap());
        assert!(!path.exists() && part_path(&path).exists());
    }

    #[test]
    fn rows_that_come_again_go_out_of_finished_segments() {
        let folder = tempfile::tempdir().unwrap();
        let header = HEADER.join(",");
        let rows = [
            "door,0,0,0\nyard,0,0,0\nyard,0,1,0\n",
            "door,0,1,0\ndoor,0,2,0\n",
            "door,0,3,0\n",
        ];
        let paths = [1, 2, 3].map(|number| folder.path().join(format!("faces.{number}.csv")));
        for (path, rows) in paths.iter().zip(rows) {
            fs::write(path, format!("{header}\n{rows}")).unwrap();
        }
        let life = life(&[("door", 2), ("yard", 1)]);
        cut_segments(&paths, &life, Form::Table(&HEADER)).unwrap();
        let left = paths
            .each_ref()
            .map(|path| fs::read_to_string(path).unwrap());
        let expected = ["door,0,0,0\nyard,0,0,0\n", "door,0,1,0\n", ""];
        assert_eq!(left, expected.map(|rows| format!("{header}\n{rows}")));
        // Another run's segments are left alone.
        let since = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        let later = Life {
            since: Some(since),
            ..Life::default()
        };
        cut_segments(&paths, &later, Form::Table(&HEADER)).unwrap();
    }
}
