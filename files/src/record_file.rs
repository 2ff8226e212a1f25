//! A part file of whole records: its content on disk never ends within a record, as far as this process can ensure it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use crate::error::FileError;
use crate::part_file::{PartFile, Unfinished, part_path};

/// A file of records (rows, lines). Data is buffered, and each [`flush`](Write::flush) writes all of it to the file;
/// from then on it survives this process. A flush that fails (because of a full disk, say) leaves the data of earlier
/// flushes and loses its own; the next one may succeed again. The file is kept as `NAME.part` if it is never finished.
#[derive(Debug)]
pub struct RecordFile {
    file: PartFile,
    pending: Vec<u8>,
    /// Length of the whole records in bytes.
    length: u64,
}

impl RecordFile {
    /// Begins the file `path`.
    ///
    /// # Errors
    /// See [`PartFile::create`].
    pub fn create(path: &Path) -> Result<Self, FileError> {
        Ok(Self {
            file: PartFile::create(path, Unfinished::Kept)?,
            pending: Vec::new(),
            length: 0,
        })
    }

    /// Continues what an earlier run left at `NAME.part`, without some ranges of its bytes, which must be in order.
    /// Whatever happens meanwhile, data outside these ranges is preserved.
    ///
    /// # Errors
    /// See [`PartFile::go_on`]; also if there is no `NAME.part`, it is a link, or the remaining data cannot be written.
    pub fn go_on(path: &Path, without: &[Range<u64>]) -> Result<Self, FileError> {
        let part = part_path(path);
        let failed = |reason| FileError::new("continue with", &part, reason);
        let found = fs::metadata(&part).map_err(failed)?.len();
        // Locked before anything is changed: another writer may have it.
        let mut file = PartFile::go_on(path)?;
        let length = file.length().map_err(failed)?;
        if length != found {
            let reason = "it is a link, or another writer has just changed it";
            return Err(failed(io::Error::other(reason)));
        }
        match without {
            [] => {}
            [tail] if tail.end >= length => file.cut(tail.start).map_err(failed)?,
            cuts => {
                let fresh = rest(&part, cuts)?;
                file.replace_by(fresh).map_err(failed)?;
            }
        }
        let length = file.length().map_err(failed)?;
        Ok(Self {
            file,
            pending: Vec::new(),
            length,
        })
    }

    /// Returns the number of bytes that have been flushed.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the path of the incomplete file.
    pub fn part(&self) -> &Path {
        self.file.part()
    }

    /// Gives the file its name; data that has not been flushed is not in it.
    ///
    /// # Errors
    /// See [`PartFile::finish`].
    pub fn finish(self) -> Result<(), FileError> {
        self.file.finish()
    }

    /// Discards the file because nothing in it is worth keeping.
    ///
    /// # Errors
    /// See [`PartFile::remove`].
    pub fn remove(self) -> Result<(), FileError> {
        self.file.remove()
    }
}

/// Copies a part without some ranges of its bytes to a part of its own.
fn rest(part: &Path, without: &[Range<u64>]) -> Result<PartFile, FileError> {
    let mut to = PartFile::create(part, Unfinished::Removed)?;
    let mut copy = || -> io::Result<()> {
        let mut from = File::open(part)?;
        let mut at = 0;
        for cut in without {
            from.seek(SeekFrom::Start(at))?;
            io::copy(&mut (&mut from).take(cut.start.saturating_sub(at)), &mut to)?;
            at = cut.end;
        }
        from.seek(SeekFrom::Start(at))?;
        io::copy(&mut from, &mut to).map(drop)
    };
    copy().map_err(|reason| FileError::new("continue with", part, reason))?;
    Ok(to)
}

impl Write for RecordFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.pending);
        match written {
            Ok(()) => self.length += self.pending.len() as u64,
            // A device cannot be truncated. Its records are then incomplete, but are never read back.
            Err(_) => {
                let cut = self.file.cut(self.length);
                let _ = cut.or_else(|_| self.file.seek(SeekFrom::Start(self.length)).map(drop));
            }
        }
        self.pending.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(cuts: &[(u64, u64)]) -> String {
        let cuts: Vec<Range<u64>> = cuts.iter().map(|&(from, to)| from..to).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows");
        let mut file = RecordFile::create(&path).expect("a file");
        file.write_all(b"one\ntwo\nthree\n").expect("memory");
        file.flush().expect("a disk");
        drop(file);
        let mut file = RecordFile::go_on(&path, &cuts).expect("what was there");
        assert_eq!(file.length(), fs::metadata(file.part()).expect("it").len());
        file.write_all(b"four\n").expect("memory");
        file.flush().expect("a disk");
        file.finish().expect("a name");
        assert!(!part_path(&part_path(&path)).exists());
        fs::read_to_string(path).expect("text")
    }

    #[test]
    fn an_earlier_runs_records_stay_but_for_those_that_are_cut_out() {
        assert_eq!(left(&[]), "one\ntwo\nthree\nfour\n");
        assert_eq!(left(&[(8, 14)]), "one\ntwo\nfour\n");
        assert_eq!(left(&[(4, 8)]), "one\nthree\nfour\n");
        assert_eq!(left(&[(0, 4), (8, 14)]), "two\nfour\n");
    }

    #[test]
    fn cutting_records_out_writes_through_no_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("rows"), folder.path().join("other"));
        fs::write(part_path(&path), "one\ntwo\nthree\n").expect("a file");
        fs::write(&other, "kept").expect("a file");
        std::os::unix::fs::symlink(&other, part_path(&part_path(&path))).expect("a link");
        RecordFile::go_on(&path, &[4..8, 14..14]).expect("what was there");
        assert_eq!(fs::read_to_string(other).expect("text"), "kept");
        let left = fs::read_to_string(part_path(&path)).expect("text");
        assert_eq!(left, "one\nthree\n");
    }
}
