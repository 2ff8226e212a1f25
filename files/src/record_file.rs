//! A part file of whole records: what is on the disk never ends within a record, as far as this process can help it.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::FileError;
use crate::part_file::{PartFile, Unfinished};

/// A file of records (rows, lines). What is written is collected, and each [`flush`](Write::flush) hands it to the system as a whole:
/// from then on it survives this process. A flush that fails (a full disk) leaves what the flushes before it wrote, and loses what
/// it was to write; the next one may succeed again. The file is kept as `NAME.part` when nobody finishes it.
#[derive(Debug)]
pub struct RecordFile {
    file: PartFile,
    pending: Vec<u8>,
    /// Bytes of whole records.
    length: u64,
}

impl RecordFile {
    /// Begins the file `path`.
    ///
    /// # Errors
    /// As [`PartFile::create`].
    pub fn create(path: &Path) -> Result<Self, FileError> {
        Ok(Self {
            file: PartFile::create(path, Unfinished::Kept)?,
            pending: Vec::new(),
            length: 0,
        })
    }

    /// Bytes that have been flushed.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where the file is until it is complete.
    pub fn part(&self) -> &Path {
        self.file.part()
    }

    /// Gives the file its name; what has not been flushed is not in it.
    ///
    /// # Errors
    /// As [`PartFile::finish`].
    pub fn finish(self) -> Result<(), FileError> {
        self.file.finish()
    }

    /// Gives the file up and removes it: nothing in it is worth keeping.
    ///
    /// # Errors
    /// As [`PartFile::remove`].
    pub fn remove(self) -> Result<(), FileError> {
        self.file.remove()
    }
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
            // A device cannot be cut. Its records are not whole, and nobody reads them from there.
            Err(_) => {
                let cut = self.file.cut(self.length);
                let _ = cut.or_else(|_| self.file.seek(SeekFrom::Start(self.length)).map(drop));
            }
        }
        self.pending.clear();
        written
    }
}
