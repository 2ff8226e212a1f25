//! Lets one process at a time own a folder. This module owns the lock file, its holder, and passing the lock through
//! `exec`.
//!
//! The lock is advisory: flock(2) on [`LOCK_FILE`] in the folder. The system releases it however the process ends, so a
//! lock file without a process locks nothing.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::OFlags;

use crate::error::FileError;
use crate::same_place::is_at;

mod handed_over;

/// Name of the file in a locked folder that carries the lock and names its holder. It is removed when the lock is
/// released; a process that is killed leaves it.
pub const LOCK_FILE: &str = ".lock";

/// A process that holds a lock, as it described itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub process: u32,
    /// Name of its program.
    pub program: String,
    /// Machine that it runs on, since folders may be shared.
    pub host: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            process,
            program,
            host,
        } = self;
        write!(f, "{program} (process {process} on {host})")
    }
}

impl Holder {
    fn this() -> Self {
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(Path::file_name);
        let host = rustix::system::uname();
        Self {
            process: std::process::id(),
            program: program.map_or("a program".into(), |name| {
                name.to_string_lossy().replace('\n', " ")
            }),
            host: host.nodename().to_string_lossy().replace('\n', " "),
        }
    }

    /// Formats the holder, one value per line.
    fn to_text(&self) -> String {
        let Self {
            process,
            program,
            host,
        } = self;
        format!("{process}\n{program}\n{host}\n")
    }

    /// Parses a holder; none if the text is incomplete or was not written by one.
    fn of_text(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let holder = Self {
            process: lines.next()?.parse().ok()?,
            program: lines.next()?.to_owned(),
            host: lines.next()?.to_owned(),
        };
        lines.next().is_none().then_some(holder)
    }
}

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process, or another part of this one, holds it.
    #[error("`{}` is in use by {}; wait until it ends, or name another folder", folder.display(), named(holder.as_ref()))]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The holder, if known.
        holder: Option<Holder>,
    },
    /// The system refuses to lock it.
    #[error(transparent)]
    File(#[from] FileError),
}

fn named(holder: Option<&Holder>) -> String {
    holder.map_or("another process".to_owned(), Holder::to_string)
}

/// The right to write into a folder, until it is dropped or the process ends. Child processes do not inherit it.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    file: File,
}

impl FolderLock {
    /// Returns whether a folder is locked, by this process or by another one. Nothing is written.
    pub fn is_held(folder: &Path) -> bool {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(folder.join(LOCK_FILE));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Locks an existing folder, or takes over the lock that the previous program handed over
    /// ([`FolderLock::hand_over`]) before `exec`. Never waits.
    ///
    /// # Errors
    /// [`LockError::Held`] if another holder has it; [`LockError::File`] if the folder does not exist, it cannot be
    /// written to, its file system does not support locks, or [`LOCK_FILE`] is a symbolic link or not a regular file: a
    /// link's target is not written to.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(LOCK_FILE);
        if let Some(file) = handed_over::take(&path) {
            return Self::held(folder, file);
        }
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)
                .map_err(|reason| not_opened(&path, reason))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held {
                        folder: folder.to_owned(),
                        holder: read_holder(file),
                    });
                }
                Err(TryLockError::Error(reason)) => {
                    return Err(FileError::new("lock", &path, reason).into());
                }
            }
            // The previous holder removed the file: a lock on a file without a name locks nothing.
            if !is_at(&file, &path) {
                continue;
            }
            let found = file.metadata();
            let found = found.map_err(|reason| FileError::new("lock", &path, reason))?;
            match (found.is_file(), found.nlink()) {
                (true, 1) => return Self::held(folder, file),
                // A file with another name belongs to something else; remove only this name.
                (true, _) => fs::remove_file(&path)
                    .map_err(|reason| FileError::new("remove the link", &path, reason))?,
                (false, _) => {
                    let reason = io::Error::other("it is not a regular file");
                    return Err(FileError::new("lock", &path, reason).into());
                }
            }
        }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps the lock in the program that this process becomes by `exec` with `command`; there, [`FolderLock::take`] of
    /// the same folder takes it over. Without this call the lock ends with the program. Only for `exec`: a child
    /// process would share the lock.
    ///
    /// # Errors
    /// The system refuses to let it be inherited.
    pub fn hand_over(&self, command: &mut Command) -> Result<(), FileError> {
        handed_over::give(&self.file, command)
            .map_err(|reason| FileError::new("hand over the lock of", &self.folder, reason))
    }

    /// Records the holder. If that fails (because of a full disk, say), others only cannot name it.
    fn held(folder: &Path, mut file: File) -> Result<Self, LockError> {
        let text = Holder::this().to_text();
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()));
        if let Err(error) = written {
            tracing::debug!(folder = %folder.display(), "cannot record the holder of the lock: {error}");
        }
        Ok(Self {
            folder: folder.to_owned(),
            file,
        })
    }
}

impl Drop for FolderLock {
    /// Removes the file while it is still locked, so that it cannot belong to another holder.
    fn drop(&mut self) {
        let path = self.folder.join(LOCK_FILE);
        if is_at(&self.file, &path) {
            let _ = fs::remove_file(&path);
        }
        // Closing alone would keep a lock that was handed over to this process, since its first descriptor stays open.
        let _ = self.file.unlock();
    }
}

fn not_opened(path: &Path, reason: io::Error) -> FileError {
    let error = FileError::new("create", path, reason);
    if path.is_symlink() {
        error.and("it is a link, through which nothing is written: remove it")
    } else {
        error
    }
}

fn read_holder(mut file: File) -> Option<Holder> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    Holder::of_text(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_as_it_was_written_and_half_of_one_not_at_all() {
        let holder = Holder {
            process: 42,
            program: "fermata run".to_owned(),
            host: "lobby".to_owned(),
        };
        let text = holder.to_text();
        assert_eq!(Holder::of_text(&text), Some(holder));
        for end in 0..text.len() {
            assert_eq!(Holder::of_text(&text[..end]), None, "{end}");
        }
        assert_eq!(Holder::of_text("12\na\nb\nc\n"), None);
    }
}
