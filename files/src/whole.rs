//! Reading whole files. Files that have no end (devices), block (pipes) or would fill the memory are refused before
//! they are read.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Maximum size in bytes of texts that people write or that a program writes about itself: settings, recipes, cards,
/// reports.
pub const MOST_TEXT: u64 = 64 << 20;
/// Maximum size in bytes of tables: rows of a manifest, of predictions, of a run.
pub const MOST_TABLE: u64 = 4 << 30;
/// Maximum size in bytes of files of numbers: weights, checkpoints, arrays.
pub const MOST_NUMBERS: u64 = 32 << 30;

/// Opens a file of at most `most` bytes that is read to its end.
///
/// # Errors
/// The error from the system; the path is a folder ([`ErrorKind::IsADirectory`]) or not a regular file
/// ([`ErrorKind::InvalidInput`]); the file is larger ([`ErrorKind::FileTooLarge`]).
pub fn open(path: &Path, most: u64) -> io::Result<File> {
    // Opening a pipe would block until it has a writer.
    let found = path.metadata()?;
    if found.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        let reason = "it is not a regular file";
        return Err(io::Error::new(ErrorKind::InvalidInput, reason));
    }
    if found.len() > most {
        return Err(too_large(most));
    }
    File::open(path)
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// See [`open`]; also if there is not enough memory.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path, most)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    // An allocation that fails elsewhere aborts the process.
    bytes.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX))?;
    // The file may grow meanwhile.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_large(most));
    }
    Ok(bytes)
}

/// Reads a text of at most `most` bytes.
///
/// # Errors
/// See [`read`]; also if the text is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, most)?);
    text.map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not valid UTF-8"))
}

fn too_large(most: u64) -> io::Error {
    let (size, unit) = match most {
        0..1024 => (most, "bytes"),
        1024..0x10_0000 => (most >> 10, "KiB"),
        0x10_0000..0x4000_0000 => (most >> 20, "MiB"),
        _ => (most >> 30, "GiB"),
    };
    let reason = format!("it is larger than {size} {unit}, the most that is read");
    io::Error::new(ErrorKind::FileTooLarge, reason)
}
