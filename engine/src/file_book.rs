//! Books of the files that actors write: which files there are, how much is in each, and whether it is complete.
//!
//! Books live apart from their actors, so that the report includes a file even if the actor hung, panicked or was given
//! up.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::lock::lock;
use crate::report::{FileReport, FileSegmentReport, FileState};

/// Maximum number of segments in a file's report; a camera that reconnects more often than that has bigger problems.
const MOST_SEGMENTS: usize = 10_000;

/// The book of a file that an actor writes; see [`Setup::file`](crate::Setup::file). Counting takes no lock.
#[derive(Clone, Debug)]
pub struct FileBook(Arc<Book>);

#[derive(Debug)]
struct Book {
    node: String,
    unit: &'static str,
    holds: AtomicU64,
    given: AtomicU64,
    /// Whether the file has its final name.
    complete: AtomicBool,
    /// Path of the file, and whether it has been removed.
    place: Mutex<(PathBuf, bool)>,
    segments: Mutex<Vec<FileSegmentReport>>,
}

impl FileBook {
    /// Counts rows or frames that were given to the file.
    pub fn give(&self, count: u64) {
        self.0.given.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts rows or frames that are in the file, where they survive this process.
    pub fn hold(&self, count: u64) {
        self.0.holds.fetch_add(count, Ordering::Relaxed);
    }

    /// Records that a segment of the stream begins in the file.
    pub fn begin_segment(&self, segment: FileSegmentReport) {
        let mut segments = self.0.segments();
        if segments.len() < MOST_SEGMENTS {
            segments.push(segment);
        }
    }

    /// Records that the file is complete and has this name now.
    pub fn complete(&self, path: &Path) {
        self.0.place().0 = path.to_owned();
        self.0.complete.store(true, Ordering::Relaxed);
    }

    /// Records that the file has been removed.
    pub fn removed(&self) {
        self.0.place().1 = true;
    }
}

impl Book {
    fn place(&self) -> MutexGuard<'_, (PathBuf, bool)> {
        lock(&self.place)
    }

    fn segments(&self) -> MutexGuard<'_, Vec<FileSegmentReport>> {
        lock(&self.segments)
    }

    fn report(&self) -> FileReport {
        let (path, is_removed) = self.place().clone();
        let holds = self.holds.load(Ordering::Relaxed);
        FileReport {
            node: self.node.clone(),
            path: path.display().to_string(),
            state: match self.complete.load(Ordering::Relaxed) {
                _ if is_removed => FileState::Removed,
                true => FileState::Complete,
                // An empty file is removed by whatever began it, whatever becomes of its actor.
                false if holds == 0 && !path.exists() => FileState::Removed,
                false => FileState::Part,
            },
            unit: self.unit.to_owned(),
            holds,
            discarded: self.given.load(Ordering::Relaxed).saturating_sub(holds),
            segments: self.segments().clone(),
        }
    }
}

/// The books of a run's files.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileBooks(Arc<Mutex<Vec<FileBook>>>);

impl FileBooks {
    /// Opens the book of a file.
    pub(crate) fn open(&self, node: &str, path: &Path, unit: &'static str) -> FileBook {
        let book = FileBook(Arc::new(Book {
            node: node.to_owned(),
            unit,
            holds: AtomicU64::new(0),
            given: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            place: Mutex::new((path.to_owned(), false)),
            segments: Mutex::default(),
        }));
        self.books().push(book.clone());
        book
    }

    /// Returns the current content of each file.
    pub(crate) fn report(&self) -> Vec<FileReport> {
        self.books().iter().map(|book| book.0.report()).collect()
    }

    fn books(&self) -> MutexGuard<'_, Vec<FileBook>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_tells_where_a_file_is_and_what_is_in_it() {
        let books = FileBooks::default();
        let book = books.open("log", Path::new("a.csv.part"), "rows");
        book.give(5);
        book.hold(3);
        let part = &books.report()[0];
        assert_eq!((part.holds, part.discarded), (3, 2));
        assert_eq!(
            (part.state, part.path.as_str()),
            (FileState::Part, "a.csv.part")
        );
        book.hold(2);
        book.complete(Path::new("a.csv"));
        let whole = &books.report()[0];
        assert_eq!((whole.holds, whole.discarded), (5, 0));
        assert_eq!(
            (whole.state, whole.path.as_str()),
            (FileState::Complete, "a.csv")
        );
        book.removed();
        assert_eq!(books.report()[0].state, FileState::Removed);
    }
}
