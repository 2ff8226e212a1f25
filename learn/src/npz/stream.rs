//! Writing an archive value by value.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use fermata_files::{PartFile, Unfinished};
use npyz::WriterBuilder;

use super::error::ArrayError;

/// Archive of f32 arrays that is written value by value, completely or not at all: no array is held in memory.
pub struct NpzStream {
    archive: zip::ZipWriter<BufWriter<PartFile>>,
    path: PathBuf,
}

/// Entry size in bytes beyond which the archive needs 64-bit sizes; leaves room for the array's header.
const LARGE: u64 = u32::MAX as u64 - (1 << 16);

impl NpzStream {
    /// Creates an archive.
    ///
    /// # Errors
    /// See [`ArrayError`].
    pub fn create(path: &Path) -> Result<Self, ArrayError> {
        let file = PartFile::create(path, Unfinished::Removed);
        let file = file.map_err(|error| unwritten(path, error.reason))?;
        Ok(Self {
            archive: zip::ZipWriter::new(BufWriter::new(file)),
            path: path.to_owned(),
        })
    }

    /// Writes an array of this shape from its values in row-major order, in pieces of any length.
    ///
    /// # Errors
    /// See [`ArrayError`]; also errors of the pieces, or fewer or more values than the shape needs.
    pub fn array<E: From<ArrayError>>(
        &mut self,
        name: &str,
        shape: &[usize],
        pieces: impl Iterator<Item = Result<Vec<f32>, E>>,
    ) -> Result<(), E> {
        let path = self.path.clone();
        let failed = |reason: io::Error| E::from(unwritten(&path, reason));
        let count: usize = shape.iter().product();
        let is_large = 4 * count as u64 > LARGE;
        let options = stored().large_file(is_large);
        let started = self.archive.start_file(format!("{name}.npy"), options);
        started.map_err(|error| failed(error.into()))?;
        let sides: Vec<u64> = shape.iter().map(|&side| side as u64).collect();
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&sides)
            .writer(&mut self.archive)
            .begin_nd()
            .map_err(failed)?;
        let mut written = 0;
        for piece in pieces {
            let piece: Vec<f32> = piece?;
            written += piece.len();
            if written > count {
                break;
            }
            writer.extend(piece).map_err(failed)?;
        }
        if written != count {
            let reason =
                format!("`{name}` has {written} values or more, not the {count} of its shape");
            return Err(failed(io::Error::other(reason)));
        }
        writer.finish().map_err(failed)
    }

    /// Completes the archive and gives it its final name.
    ///
    /// # Errors
    /// See [`ArrayError`].
    pub fn finish(mut self) -> Result<(), ArrayError> {
        let failed = |reason| unwritten(&self.path, reason);
        let file = self
            .archive
            .finish()
            .map_err(|error| failed(error.into()))?;
        let file = file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.finish().map_err(|error| failed(error.reason))
    }
}

fn unwritten(path: &Path, reason: io::Error) -> ArrayError {
    ArrayError::File {
        doing: "write",
        path: path.to_owned(),
        reason,
    }
}

/// Returns options for uncompressed entries, as numpy.savez writes them, with the format's first date, since the time
/// of writing would make the bytes differ.
pub(super) fn stored() -> zip::write::FileOptions {
    zip::write::FileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
}
