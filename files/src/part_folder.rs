//! A folder that is there whole or not at all: it is filled as `NAME.part` and gets its name when it is complete.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::FileError;
use crate::part_file::{part_path, sync_folder_of};

/// A folder on its way. One that nobody finishes is removed with all that is in it.
#[derive(Debug)]
pub struct PartFolder {
    part: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl PartFolder {
    /// Begins the folder `path` and those above it; what an earlier run left at `NAME.part` is removed.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let part = part_path(path);
        remove_if_there(&part)?;
        fs::create_dir_all(&part).map_err(|reason| FileError::new("create", &part, reason))?;
        Ok(Self {
            part,
            path: path.to_owned(),
            finished: false,
        })
    }

    /// Where the files go; [`crate::write()`] makes them durable.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Gives the folder its name. One that is there is replaced in one step, and then removed, so that under the name
    /// there is always the old folder or the new one (where the file system cannot exchange two folders: for a moment
    /// none).
    ///
    /// # Errors
    /// What the system says; what was there is then still there.
    pub fn finish(mut self) -> Result<(), FileError> {
        let (part, path) = (&self.part, &self.path);
        File::open(part)
            .and_then(|folder| folder.sync_all())
            .map_err(|reason| FileError::new("sync to disk", part, reason))?;
        let named = |reason| FileError::new("give its name to", path, reason);
        if path.symlink_metadata().is_err() {
            fs::rename(part, path).map_err(named)?;
            self.finished = true;
            return sync_folder_of(path);
        }
        match renameat_with(CWD, part, CWD, path, RenameFlags::EXCHANGE) {
            // What is the part now is what was there, and goes.
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::XDEV) => {
                let beside = part_path(part);
                remove_if_there(&beside)?;
                fs::rename(path, &beside).map_err(named)?;
                if let Err(reason) = fs::rename(part, path) {
                    let _ = fs::rename(&beside, path);
                    return Err(named(reason));
                }
                fs::rename(&beside, part).map_err(named)?;
            }
            Err(errno) => return Err(named(errno.into())),
        }
        sync_folder_of(path)?;
        self.finished = true;
        remove_if_there(&self.part)
    }
}

impl Drop for PartFolder {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Err(error) = remove_if_there(&self.part) {
            tracing::warn!("{error}");
        }
    }
}

/// Removes a folder and all in it, or a link to one without following it.
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
