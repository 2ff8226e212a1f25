//! Files that are made durable together: several writers write them, and one caller promises that the data survives a
//! power cut.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::FileError;

/// Number of folders above a file whose entries may be new.
const FOLDERS: usize = 3;

/// A group of files that are synced together. Calls of [`SyncGroup::sync`] during a sync share the next one. It holds a
/// file only for as long as somebody writes it, so one that nobody ever syncs does not grow.
#[derive(Debug, Default)]
pub struct SyncGroup {
    files: Arc<Mutex<Files>>,
    /// Number of calls so far.
    asked: AtomicU64,
    /// Number of calls that are covered by what is on the disk.
    done: Mutex<u64>,
}

/// A file of a [`SyncGroup`], for as long as it is being written. Data written before this is dropped is made durable
/// by then; if that fails, the next [`SyncGroup::sync`] says so.
#[derive(Debug)]
pub struct Synced {
    written: Arc<Written>,
    files: Arc<Mutex<Files>>,
}

#[derive(Debug, Default)]
struct Files {
    written: Vec<Arc<Written>>,
    /// The first failure. It stays, because the system does not write again what it once failed to, even if it reports
    /// success.
    failure: Option<String>,
}

/// A file that is being written.
#[derive(Debug)]
struct Written {
    /// Locked until a failure is noted: the system tells it to one caller only.
    file: Mutex<File>,
    path: PathBuf,
}

impl SyncGroup {
    /// Adds an existing file and makes its name durable.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn add(&self, path: &Path) -> Result<Synced, FileError> {
        let file = File::open(path).map_err(|reason| FileError::new("open", path, reason))?;
        for folder in path.ancestors().skip(1).take(FOLDERS) {
            let folder = if folder == Path::new("") {
                Path::new(".")
            } else {
                folder
            };
            // Some network and foreign file systems do not support this.
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        let written = Arc::new(Written {
            file: Mutex::new(file),
            path: path.to_owned(),
        });
        lock(&self.files).written.push(Arc::clone(&written));
        Ok(Synced {
            written,
            files: Arc::clone(&self.files),
        })
    }

    /// Returns whether there is nothing to sync, and nothing that a sync would report.
    pub fn is_empty(&self) -> bool {
        let files = lock(&self.files);
        files.written.is_empty() && files.failure.is_none()
    }

    /// Makes durable what has been written to the files.
    ///
    /// # Errors
    /// The error from the system, from this call or an earlier one, or from the end of a file.
    pub fn sync(&self) -> Result<(), String> {
        let call = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = lock(&self.done);
        if *done < call && lock(&self.files).failure.is_none() {
            *done = self.asked.load(Ordering::SeqCst);
            let due = lock(&self.files).written.clone();
            due.iter().for_each(|written| written.sync(&self.files));
        }
        match &lock(&self.files).failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }
}

impl Written {
    /// Makes durable what has been written, or notes why that failed.
    fn sync(&self, files: &Mutex<Files>) {
        let file = lock(&self.file);
        match file.sync_data() {
            // Devices and pipes do not support this.
            Err(reason) if is_unknown(&reason) => {}
            Err(reason) => {
                let path = self.path.display();
                let failure = format!("cannot sync `{path}` to disk: {reason}");
                lock(files).failure.get_or_insert(failure);
            }
            Ok(()) => {}
        }
    }
}

impl Drop for Synced {
    fn drop(&mut self) {
        // The group has it until it is synced: a sync meanwhile must not miss it.
        self.written.sync(&self.files);
        let mut files = lock(&self.files);
        files
            .written
            .retain(|written| !Arc::ptr_eq(written, &self.written));
    }
}

fn is_unknown(reason: &io::Error) -> bool {
    matches!(
        reason.kind(),
        ErrorKind::InvalidInput | ErrorKind::Unsupported
    )
}

/// Locks a mutex, even after a panic under the lock: its data is never left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stays_until_its_writer_is_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let group = SyncGroup::default();
        assert!(group.is_empty() && group.sync().is_ok());
        let path = folder.path().join("rows");
        assert!(group.add(&path).is_err(), "it is not there");
        std::fs::write(&path, "one").expect("a file");
        let synced = group.add(&path).expect("a file");
        group.sync().expect("a disk");
        assert!(!group.is_empty());
        drop(synced);
        assert!(group.is_empty(), "what was written last is synced already");
    }

    #[test]
    fn a_failure_at_the_end_of_a_file_is_reported_by_the_next_sync() {
        let folder = tempfile::tempdir().expect("a folder");
        let group = SyncGroup::default();
        let path = folder.path().join("rows");
        std::fs::write(&path, "one").expect("a file");
        let synced = group.add(&path).expect("a file");
        lock(&group.files).failure = Some("gone".to_owned());
        drop(synced);
        assert!(!group.is_empty(), "a failure is to be reported");
        assert_eq!(group.sync(), Err("gone".to_owned()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_cannot_be_synced_is_no_failure_where_the_system_knows_no_such_thing() {
        let group = SyncGroup::default();
        let _device = group.add(Path::new("/dev/null")).expect("a device");
        group.sync().expect("nothing to do");
    }

    #[test]
    fn calls_share_one_sync_and_a_failure_stays() {
        let group = SyncGroup::default();
        *lock(&group.done) = 2;
        group.sync().expect("an earlier one covers it");
        assert_eq!(*lock(&group.done), 2);
        lock(&group.files).failure = Some("gone".to_owned());
        assert_eq!(group.sync(), Err("gone".to_owned()));
        assert_eq!(group.sync(), Err("gone".to_owned()));
    }
}
