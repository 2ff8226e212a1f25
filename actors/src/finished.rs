//! What the report says of a file that was to get its name.

use std::path::Path;

use fermata_engine::FileBook;
use fermata_files::FileError;

/// Notes in a file's book that it is complete under its name, if it is; passes on what went wrong. It may be both,
/// where only the name could not be made durable.
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
