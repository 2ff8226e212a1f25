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

/// A group of files that are synced together. Calls of [`SyncGroup::sync`] during a sync share the next one.
#[derive(Debug, Default)]
pub struct SyncGroup {
    files: Mutex<Vec<Arc<Synced>>>,
    /// Number of calls so far.
    asked: AtomicU64,
    done: Mutex<Done>,
}

/// A file of a [`SyncGroup`], for as long as it is being written. Data written before this is dropped is covered by the
/// next sync.
#[derive(Debug)]
pub struct Synced {
    file: File,
    path: PathBuf,
}

#[derive(Debug, Default)]
struct Done {
    /// Number of calls that are covered by what is on the disk.
    calls: u64,
    /// The first failure. It stays, because the system does not write again what it once failed to, even if it reports
    /// success.
    failure: Option<String>,
}

impl SyncGroup {
    /// Adds an existing file and makes its name durable.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn add(&self, path: &Path) -> Result<Arc<Synced>, FileError> {
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
        let synced = Arc::new(Synced {
            file,
            path: path.to_owned(),
        });
        lock(&self.files).push(Arc::clone(&synced));
        Ok(synced)
    }

    /// Returns whether there is nothing to sync.
    pub fn is_empty(&self) -> bool {
        lock(&self.files).is_empty()
    }

    /// Makes durable what has been written to the files.
    ///
    /// # Errors
    /// The error from the system, from this call or an earlier one.
    pub fn sync(&self) -> Result<(), String> {
        let call = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = lock(&self.done);
        if done.calls < call && done.failure.is_none() {
            done.calls = self.asked.load(Ordering::SeqCst);
            done.failure = self.sync_all().err();
        }
        match &done.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    fn sync_all(&self) -> Result<(), String> {
        let due = {
            let mut files = lock(&self.files);
            let due = files.clone();
            // Complete files are referenced only by `files` and `due`.
            files.retain(|file| Arc::strong_count(file) > 2);
            due
        };
        for synced in due {
            match synced.file.sync_data() {
                // Devices and pipes do not support this.
                Err(reason) if is_unknown(&reason) => {}
                Err(reason) => {
                    let path = synced.path.display();
                    return Err(format!("cannot sync `{path}` to disk: {reason}"));
                }
                Ok(()) => {}
            }
        }
        Ok(())
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
    fn a_file_stays_until_a_sync_after_its_last_writer() {
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
        assert!(!group.is_empty(), "what was written last is not synced yet");
        group.sync().expect("a disk");
        assert!(group.is_empty());
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
        lock(&group.done).calls = 2;
        group.sync().expect("an earlier one covers it");
        assert_eq!(lock(&group.done).calls, 2);
        lock(&group.done).failure = Some("gone".to_owned());
        assert_eq!(group.sync(), Err("gone".to_owned()));
        assert_eq!(group.sync(), Err("gone".to_owned()));
    }
}
