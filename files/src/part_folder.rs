//! A folder that is either complete or absent: it is filled as `NAME.part` and gets its name when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::FileError;
use crate::part_file::{lock_part, part_path, sync_folder_of};

/// A folder that is being filled. If it is never finished, it is removed with its contents. The part is locked meanwhile
/// (flock(2)), so that no other process that uses this type fills or removes the same folder.
#[derive(Debug)]
pub struct PartFolder {
    lock: File,
    part: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl PartFolder {
    /// Begins the folder `path`, creating its parents; a `NAME.part` left by an earlier run is removed.
    ///
    /// # Errors
    /// Another writer has it, or the error from the system.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let part = part_path(path);
        let lock = locked(&part)?;
        empty(&part)?;
        Ok(Self {
            lock,
            part,
            path: path.to_owned(),
            finished: false,
        })
    }

    /// Returns the folder for the files; [`crate::write()`] makes them durable.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Gives the folder its name. An existing folder is replaced in one step and then removed, so that the name always
    /// refers to the old folder or the new one (to none for a moment, if the file system cannot exchange two folders).
    ///
    /// # Errors
    /// The error from the system. The old folder is then still there, unless the error says that the new folder
    /// [has its name](FileError::is_named). If that name could not be made durable, the old folder is kept as
    /// `NAME.part`, since a power cut may undo the renaming.
    pub fn finish(self) -> Result<(), FileError> {
        self.finish_by(sync_folder_of)
    }

    /// Finishes like [`PartFolder::finish`]; `sync` makes the names in the folder of a path durable.
    fn finish_by(mut self, sync: impl Fn(&Path) -> Result<(), FileError>) -> Result<(), FileError> {
        self.lock
            .sync_all()
            .map_err(|reason| FileError::new("sync to disk", &self.part, reason))?;
        // Where it is moved to, others look for leftovers to take over: it is locked until it is removed.
        let _old_lock = opened(&self.path).ok().filter(|old| old.try_lock().is_ok());
        let old = self.name()?;
        self.finished = true;
        // The next writer cannot begin before the old folder is removed, and must then find this one unlocked: it locks
        // what it replaces.
        let _ = self.lock.unlock();
        let named = |error| FileError {
            is_named: true,
            ..error
        };
        let Some(old) = old else {
            return sync(&self.path).map_err(named);
        };
        sync(&self.path).map_err(|error| {
            let kept = format!("the old folder is in `{}`", old.display());
            named(error.and(&kept))
        })?;
        remove_if_there(&old).map_err(named)
    }

    /// Gives the folder its name, and returns the path that the old folder of that name has now.
    fn name(&self) -> Result<Option<PathBuf>, FileError> {
        let (part, path) = (&self.part, &self.path);
        let named = |reason| FileError::new("give the final name to", path, reason);
        if path.symlink_metadata().is_err() {
            fs::rename(part, path).map_err(named)?;
            return Ok(None);
        }
        match renameat_with(CWD, part, CWD, path, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(Some(part.clone())),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::XDEV) => {
                let beside = part_path(part);
                remove_if_there(&beside)?;
                fs::rename(path, &beside).map_err(named)?;
                if let Err(reason) = fs::rename(part, path) {
                    let _ = fs::rename(&beside, path);
                    return Err(named(reason));
                }
                // The next writer looks for leftovers at `part`, but `beside` is safe too.
                let is_moved = fs::rename(&beside, part).is_ok();
                Ok(Some(if is_moved { part.clone() } else { beside }))
            }
            Err(errno) => Err(named(errno.into())),
        }
    }
}

impl Drop for PartFolder {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = remove_if_there(&self.part)
        {
            tracing::warn!("{error}");
        }
        // Closing alone does not unlock it while a process that is just being started has a copy of the descriptor.
        let _ = self.lock.unlock();
    }
}

/// Creates a folder, or takes over what an earlier run left of it, and locks it.
fn locked(part: &Path) -> Result<File, FileError> {
    let refused = |reason| FileError::new("create", part, reason);
    loop {
        // A link leads to what belongs to something else.
        if part.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            remove_if_there(part)?;
        }
        fs::create_dir_all(part).map_err(refused)?;
        let folder = match opened(part) {
            // Another writer has just removed it.
            Err(reason) if reason.kind() == ErrorKind::NotFound => continue,
            opened => opened.map_err(refused)?,
        };
        if let Some(folder) = lock_part(folder, part)? {
            return Ok(folder);
        }
    }
}

/// Opens a folder, not through a link.
fn opened(folder: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(folder)
}

/// Removes everything in a folder.
fn empty(folder: &Path) -> Result<(), FileError> {
    let failed = |reason| FileError::new("empty", folder, reason);
    for entry in fs::read_dir(folder).map_err(failed)? {
        remove_if_there(&entry.map_err(failed)?.path())?;
    }
    Ok(())
}

/// Removes a folder and its contents, or a link without following it.
fn remove_if_there(folder: &Path) -> Result<(), FileError> {
    let removed = match folder.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(folder),
        Ok(_) => fs::remove_file(folder),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|reason| FileError::new("remove", folder, reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finishes a folder whose name cannot be made durable, and returns the error.
    fn unsynced(path: &Path) -> FileError {
        let part = PartFolder::create(path).expect("a folder");
        fs::write(part.part().join("card.yaml"), "new").expect("a file");
        let refused = |path: &Path| Err(FileError::plain("sync", path, io::Error::other("broken")));
        part.finish_by(refused).expect_err("it is not durable")
    }

    fn read(folder: &Path) -> String {
        fs::read_to_string(folder.join("card.yaml")).expect("a file")
    }

    #[test]
    fn a_folder_whose_name_is_not_durable_is_said_to_be_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("face");
        let error = unsynced(&path);
        assert!(error.is_named, "{error}");
        assert_eq!(read(&path), "new");
        assert!(!part_path(&path).exists());
    }

    #[test]
    fn what_was_there_is_kept_until_the_new_name_is_durable() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("face");
        fs::create_dir(&path).expect("a folder");
        fs::write(path.join("card.yaml"), "old").expect("a file");
        let error = unsynced(&path);
        assert!(error.is_named, "{error}");
        assert!(error.to_string().ends_with("face.part`"), "{error}");
        assert_eq!(read(&path), "new");
        assert_eq!(read(&part_path(&path)), "old");
    }
}
