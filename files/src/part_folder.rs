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
    /// What the system says; what was there is then still there, unless the error says that the new folder
    /// [has its name](FileError::is_named). Where that could not be made durable, what was there is kept as
    /// `NAME.part`: a power cut may take the new name away.
    pub fn finish(self) -> Result<(), FileError> {
        self.finish_by(sync_folder_of)
    }

    /// The same; `sync` makes names in the folder of a path durable.
    fn finish_by(mut self, sync: impl Fn(&Path) -> Result<(), FileError>) -> Result<(), FileError> {
        File::open(&self.part)
            .and_then(|folder| folder.sync_all())
            .map_err(|reason| FileError::new("sync to disk", &self.part, reason))?;
        let old = self.name()?;
        self.finished = true;
        let named = |error| FileError {
            is_named: true,
            ..error
        };
        let Some(old) = old else {
            return sync(&self.path).map_err(named);
        };
        sync(&self.path).map_err(|error| {
            let kept = format!("what was there before is in `{}`", old.display());
            named(error.and(&kept))
        })?;
        remove_if_there(&old).map_err(named)
    }

    /// Gives the folder its name, and returns where what had that name is then.
    fn name(&self) -> Result<Option<PathBuf>, FileError> {
        let (part, path) = (&self.part, &self.path);
        let named = |reason| FileError::new("give its name to", path, reason);
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
                // Where the next writer looks for what was left; it is as well where it is.
                let is_moved = fs::rename(&beside, part).is_ok();
                Ok(Some(if is_moved { part.clone() } else { beside }))
            }
            Err(errno) => Err(named(errno.into())),
        }
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Finishes a folder whose name cannot be made durable; what that says.
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
