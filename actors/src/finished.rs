//! Reporting of a file that was to be renamed to its final name.

use std::path::Path;

use fermata_engine::FileBook;
use fermata_files::FileError;

/// Marks the file as complete in its book if it got its final name, and passes any error on. Both happen when only
/// making the name durable failed.
pub(crate) fn note_finished(
    finished: Result<(), FileError>,
    book: &FileBook,
    path: &Path,
) -> Result<(), FileError> {
    if finished
        .as_ref()
        .map_or_else(|error| error.is_named, |()| true)
    {
        book.complete(path);
    }
    finished
}
