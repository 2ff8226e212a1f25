//! A file that gets its name only when it is complete: until then it is `NAME.part`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::FileError;

/// What becomes of `NAME.part` when nobody finishes it: a failed write, an early end, a panic. (A process that is
/// killed can only leave it.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It stays as it is, unless it is empty: what somebody recorded is worth keeping although it is not all.
    Kept,
    /// It is removed: what can be made again is only in the way.
    Removed,
}

/// The name under which a file or folder is written until it is complete: `NAME.part`, in the same folder.
pub fn part_path(path: &Path) -> PathBuf {
    let mut part = path.file_name().unwrap_or_default().to_owned();
    part.push(".part");
    // Not appended to the path as it is written: `folder/` would become `folder/.part`.
    path.with_file_name(part)
}

/// A file on its way. What is written goes to [`PartFile::part`] at once, unbuffered. It is locked meanwhile
/// (flock(2)), so that no other process that uses this type writes to the same file.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    part: PathBuf,
    path: PathBuf,
    /// None when there is nothing left to do.
    unfinished: Option<Unfinished>,
}

impl PartFile {
    /// Begins the file `path`; one that is there stays until [`PartFile::finish`]. What an earlier writer left at
    /// `NAME.part` is overwritten, or, where an unfinished file is [kept](Unfinished::Kept), moved to `NAME.2.part`,
    /// `NAME.3.part` and so on. Where `NAME.part` is a link, nothing is written to what it leads to.
    ///
    /// # Errors
    /// If `path` is a folder, `NAME.part` is a pipe, somebody else is writing it, or the system does not let the file
    /// be created.
    pub fn create(path: &Path, unfinished: Unfinished) -> Result<Self, FileError> {
        refuse_folder(path)?;
        let part = part_path(path);
        let is_aside = unfinished == Unfinished::Kept
            && part
                .metadata()
                .is_ok_and(|found| found.is_file() && found.len() > 0);
        // What is moved aside is moved as it is, a link as a link.
        if !is_aside {
            remove_link(&part)?;
        }
        let file = locked(&part)?;
        let begun = match unfinished {
            Unfinished::Kept => move_aside(&part, path, file),
            Unfinished::Removed => Ok(file),
        };
        let file = begun.and_then(|file| {
            // A device has no length.
            let is_empty = file.metadata().is_ok_and(|found| found.len() == 0);
            let emptied = if is_empty { Ok(()) } else { file.set_len(0) };
            emptied.map_err(|reason| FileError::new("empty", &part, reason))?;
            Ok(file)
        })?;
        Ok(Self {
            file,
            part,
            path: path.to_owned(),
            unfinished: Some(unfinished),
        })
    }

    /// Goes on with what an earlier run left at `NAME.part`, or begins it. What is written comes behind what is there,
    /// and is kept ([`Unfinished::Kept`]) if nobody finishes it.
    ///
    /// # Errors
    /// See [`PartFile::create`].
    pub fn go_on(path: &Path) -> Result<Self, FileError> {
        refuse_folder(path)?;
        let part = part_path(path);
        remove_link(&part)?;
        let mut file = locked(&part)?;
        file.seek(SeekFrom::End(0))
            .map_err(|reason| FileError::new("go on with", &part, reason))?;
        Ok(Self {
            file,
            part,
            path: path.to_owned(),
            unfinished: Some(Unfinished::Kept),
        })
    }

    /// Where the file is until it is complete, for what writes by name.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// The name that it gets.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are in it.
    ///
    /// # Errors
    /// What the system says.
    pub fn length(&self) -> io::Result<u64> {
        self.file.metadata().map(|found| found.len())
    }

    /// Cuts the contents off behind `length` bytes, and goes on there.
    ///
    /// # Errors
    /// What the system says.
    pub fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length)).map(drop)
    }

    /// Makes the contents durable, gives the file its name, in the place of one that is there, and makes that durable
    /// too: where that last step fails, the file is whole under its name all the same, and a warning says that a loss
    /// of power may take the name away.
    ///
    /// # Errors
    /// What the system says; the message tells what became of the contents. Where only the name could not be made
    /// durable, the error [says so](FileError::is_named).
    pub fn finish(mut self) -> Result<(), FileError> {
        let kept = match self.unfinished {
            Some(Unfinished::Removed) => "the file is incomplete and was removed".to_owned(),
            _ => format!("what was written is in `{}`", self.part.display()),
        };
        self.file
            .sync_all()
            .map_err(|reason| FileError::new("sync to disk", &self.part, reason).and(&kept))?;
        fs::rename(&self.part, &self.path)
            .map_err(|reason| FileError::new("give its name to", &self.path, reason).and(&kept))?;
        self.unfinished = None;
        sync_folder_of(&self.path).map_err(|error| FileError {
            is_named: true,
            ..error
        })
    }

    /// Gives the file up and removes it, whatever was said at its beginning: nothing in it is worth keeping.
    ///
    /// # Errors
    /// If the system does not let it be removed.
    pub fn remove(mut self) -> Result<(), FileError> {
        self.unfinished = None;
        fs::remove_file(&self.part).map_err(|reason| FileError::new("remove", &self.part, reason))
    }
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for PartFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        let is_left = match self.unfinished {
            None => return,
            Some(Unfinished::Removed) => false,
            // A device has no length.
            Some(Unfinished::Kept) => {
                let found = self.file.metadata();
                !found.is_ok_and(|found| found.is_file() && found.len() == 0)
            }
        };
        if is_left {
            return;
        }
        if let Err(error) = fs::remove_file(&self.part) {
            let part = self.part.display();
            tracing::warn!("cannot remove the incomplete file `{part}`: {error}");
        }
    }
}

/// Refuses a folder that stands where the file is to be.
fn refuse_folder(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        let reason = io::Error::new(ErrorKind::IsADirectory, "it is a folder");
        return Err(FileError::new("write", path, reason));
    }
    Ok(())
}

/// Removes a part that is a link, symbolic or hard: what it leads to is somebody else's, an input even. A link to a
/// device stays.
fn remove_link(part: &Path) -> Result<(), FileError> {
    let Ok(found) = part.symlink_metadata() else {
        return Ok(());
    };
    let leads_to_a_file = || part.metadata().map_or(true, |found| found.is_file());
    let is_link = if found.is_symlink() {
        leads_to_a_file()
    } else {
        found.is_file() && found.nlink() > 1
    };
    // A part that somebody is writing is told as such by `locked`.
    if !is_link || (!found.is_symlink() && is_held(part)) {
        return Ok(());
    }
    fs::remove_file(part).map_err(|reason| FileError::new("remove the link", part, reason))
}

/// Whether somebody who uses [`PartFile`], in this process or in another one, is writing the file `path`.
pub fn is_being_written(path: &Path) -> bool {
    let part = part_path(path);
    // Opening a pipe would wait for its writer.
    part.is_file() && is_held(&part)
}

fn is_held(part: &Path) -> bool {
    let file = File::open(part);
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Opens a part for writing as it is, and locks it. What is no regular file (a device) is not locked.
fn locked(part: &Path) -> Result<File, FileError> {
    // Opening a pipe would wait for its reader.
    if part
        .metadata()
        .is_ok_and(|found| found.file_type().is_fifo())
    {
        let reason = io::Error::other("it is a pipe");
        return Err(FileError::new("write", part, reason));
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let opened = options.open(part);
    let file = opened.map_err(|reason| FileError::new("create", part, reason))?;
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    match file.try_lock() {
        Err(TryLockError::WouldBlock) if is_file => {
            let reason = ErrorKind::ResourceBusy.into();
            Err(FileError::new("write", part, reason).and("another writer has it"))
        }
        // Some file systems know no locks.
        _ => Ok(file),
    }
}

/// Gives what stands in a part another name, and begins the part anew.
fn move_aside(part: &Path, path: &Path, file: File) -> Result<File, FileError> {
    let found = file.metadata();
    if !found.is_ok_and(|found| found.is_file() && found.len() > 0) {
        return Ok(file);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut names = (2..).map(|number: u32| part.with_file_name(format!("{name}.{number}.part")));
    let Some(aside) = names.find(|aside| aside.symlink_metadata().is_err()) else {
        return Ok(file);
    };
    fs::rename(part, &aside).map_err(|reason| FileError::new("move aside", part, reason))?;
    let (part, aside) = (part.display(), aside.display());
    tracing::warn!("an earlier run left `{part}`, which is incomplete: it is `{aside}` now");
    locked(&part_path(path))
}

/// Writes a whole file, in the place of one that is there.
///
/// # Errors
/// What the system says; there is then no file, or the old one, unless the error says that the file
/// [has its name](FileError::is_named).
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let written = PartFile::create(path, Unfinished::Removed).and_then(|mut file| {
        file.write_all(bytes)
            .map_err(|reason| FileError::new("write", path, reason))?;
        file.finish()
    });
    written.map_err(|error| in_one_call(path, error))
}

/// Returns the error of a call that writes a whole file: in which step it failed is of no interest then, unless the
/// file is whole all the same.
fn in_one_call(path: &Path, error: FileError) -> FileError {
    if error.is_named {
        return error;
    }
    FileError::new("write", path, error.reason)
}

/// Makes what was created, renamed or removed in a file's folder durable, as far as its file system can.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some file systems of networks and of other systems know no such thing.
        Err(reason)
            if matches!(
                reason.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        Err(reason) => Err(FileError::new("sync to disk the folder of", path, reason)
            .and("it is complete, but may be gone after a power cut")),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_whole_all_the_same_is_said_to_be() {
        let path = Path::new("faces.csv");
        let error = |is_named| FileError {
            is_named,
            ..FileError::new(
                "sync to disk the folder of",
                path,
                io::Error::other("broken"),
            )
            .and("complete")
        };
        let told = in_one_call(path, error(true));
        assert!(told.is_named);
        assert_eq!(
            told.to_string(),
            "cannot sync to disk the folder of `faces.csv`: broken; complete"
        );
        let told = in_one_call(path, error(false));
        assert!(!told.is_named);
        assert_eq!(told.to_string(), "cannot write `faces.csv`: broken");
    }
}
