//! Opening files that are read to their end: others need not have one, and opening a pipe would wait for its writer.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a regular file.
///
/// # Errors
/// What the system says, or it is not a regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    match path.metadata()?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is not a regular file")),
    }
}
