//! A folder that is either complete or absent: it is filled as `NAME.part` and gets its name when it is complete.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::FileError;
use crate::part_file::{part_path, sync_folder_of};

/// A folder that is being filled. If it is never finished, it is removed with its contents.
#[derive(Debug)]
pub struct PartFolder {
    part: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl PartFolder {
    /// Begins the folder `path`, creating its parents; a `NAME.part` left by an earlier run is removed.
    ///
    /// # Errors
    /// The error from the system.
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

    /// Returns the folder for the files; [`crate::write()`] makes them durable.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Gives the folder its name. An existing folder is replaced in one step and then removed, so that the name always
    /// refers to the old folder or the new one (to none for a moment, if the file system cannot exchange two folders).
    ///
    /// # Errors
    /// The error from the system. The old folder is then still there, unless only the new name could not be made
    /// durable.
    pub fn finish(mut self) -> Result<(), FileError> {
        let (part, path) = (&self.part, &self.path);
        File::open(part)
            .and_then(|folder| folder.sync_all())
            .map_err(|reason| FileError::new("sync to disk", part, reason))?;
        let named = |reason| FileError::new("give the final name to", path, reason);
        if path.symlink_metadata().is_err() {
            fs::rename(part, path).map_err(named)?;
            self.finished = true;
            return sync_folder_of(path);
        }
        match renameat_with(CWD, part, CWD, path, RenameFlags::EXCHANGE) {
            // The part is now the old folder, which is removed below.
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
