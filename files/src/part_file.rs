//! A file that gets its name only when it is complete; until then it is `NAME.part`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::FileError;
use crate::same_place::is_at;

/// What happens to `NAME.part` if it is never finished because of a failed write, an early end or a panic. (A process
/// that is killed always leaves it.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It is kept as it is, unless it is empty. For recordings, which are useful even if incomplete.
    Kept,
    /// It is removed. For files that can be made again.
    Removed,
}

/// Returns the name under which a file or folder is written until it is complete: `NAME.part`, in the same folder.
pub fn part_path(path: &Path) -> PathBuf {
    let mut part = path.file_name().unwrap_or_default().to_owned();
    part.push(".part");
    // Not appended to the path as written: `folder/` would become `folder/.part`.
    path.with_file_name(part)
}

/// A file that is being written. Data goes to [`PartFile::part`] at once, unbuffered. The part is locked meanwhile
/// (flock(2)), so that no other process that uses this type writes to the same file.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    part: PathBuf,
    path: PathBuf,
    /// What to do on drop; none if nothing is left to do.
    unfinished: Option<Unfinished>,
}

impl PartFile {
    /// Begins the file `path`; an existing file stays until [`PartFile::finish`]. A `NAME.part` left by an earlier
    /// writer is overwritten or, if unfinished files are [kept](Unfinished::Kept), moved to `NAME.2.part`,
    /// `NAME.3.part` and so on. If `NAME.part` is a link, its target is not written to.
    ///
    /// # Errors
    /// `path` is a folder, `NAME.part` is a pipe, another writer has it, or the system refuses to create the file.
    pub fn create(path: &Path, unfinished: Unfinished) -> Result<Self, FileError> {
        refuse_folder(path)?;
        let part = part_path(path);
        let is_aside = unfinished == Unfinished::Kept
            && part
                .metadata()
                .is_ok_and(|found| found.is_file() && found.len() > 0);
        // A part that is moved aside is moved as it is, a link as a link.
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

    /// Continues what an earlier run left at `NAME.part`, or begins it. New data is appended, and kept
    /// ([`Unfinished::Kept`]) if the file is never finished.
    ///
    /// # Errors
    /// See [`PartFile::create`].
    pub fn go_on(path: &Path) -> Result<Self, FileError> {
        refuse_folder(path)?;
        let part = part_path(path);
        remove_link(&part)?;
        let mut file = locked(&part)?;
        file.seek(SeekFrom::End(0))
            .map_err(|reason| FileError::new("continue with", &part, reason))?;
        Ok(Self {
            file,
            part,
            path: path.to_owned(),
            unfinished: Some(Unfinished::Kept),
        })
    }

    /// Returns the path of the incomplete file, for code that writes by name.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Returns the final path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of bytes in it.
    ///
    /// # Errors
    /// The error from the system.
    pub fn length(&self) -> io::Result<u64> {
        self.file.metadata().map(|found| found.len())
    }

    /// Truncates the contents to `length` bytes and continues there.
    ///
    /// # Errors
    /// The error from the system.
    pub fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length)).map(drop)
    }

    /// Exchanges the contents for those of `fresh`, a part of this part, and continues after them. The part is locked
    /// all the time.
    ///
    /// # Errors
    /// The error from the system; the contents are then the old ones.
    pub(crate) fn replace_by(&mut self, mut fresh: Self) -> io::Result<()> {
        fresh.file.sync_all()?;
        fs::rename(&fresh.part, &self.part)?;
        fresh.unfinished = None;
        std::mem::swap(&mut self.file, &mut fresh.file);
        Ok(())
    }

    /// Makes the contents durable, gives the file its name, replacing an existing file, and makes the name durable too.
    ///
    /// # Errors
    /// The error from the system; the message says what became of the contents. If only the name could not be made
    /// durable, the file is nevertheless complete under its name, but may be lost in a power cut; the error [says
    /// so](FileError::is_named).
    pub fn finish(mut self) -> Result<(), FileError> {
        let kept = match self.unfinished {
            Some(Unfinished::Removed) => "the file is incomplete and was removed".to_owned(),
            _ => format!("what was written is in `{}`", self.part.display()),
        };
        self.file
            .sync_all()
            .map_err(|reason| FileError::new("sync to disk", &self.part, reason).and(&kept))?;
        fs::rename(&self.part, &self.path).map_err(|reason| {
            FileError::new("give the final name to", &self.path, reason).and(&kept)
        })?;
        self.unfinished = None;
        sync_folder_of(&self.path).map_err(|error| FileError {
            is_named: true,
            ..error
        })
    }

    /// Discards the file, whatever `unfinished` says, because nothing in it is worth keeping.
    ///
    /// # Errors
    /// The system refuses to remove it.
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

impl PartFile {
    /// Removes the part where nothing of it is to be kept.
    fn tidy(&self) {
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

impl Drop for PartFile {
    fn drop(&mut self) {
        self.tidy();
        // Closing alone does not unlock it while a process that is just being started has a copy of the descriptor.
        let _ = self.file.unlock();
    }
}

/// Refuses a folder in the place of the file.
fn refuse_folder(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        let reason = io::Error::new(ErrorKind::IsADirectory, "it is a folder");
        return Err(FileError::new("write", path, reason));
    }
    Ok(())
}

/// Removes a part that is a link, symbolic or hard: its target belongs to something else, possibly an input. A link to
/// a device stays.
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
    // A part that is being written is reported by `locked`.
    if !is_link || (!found.is_symlink() && is_held(part)) {
        return Ok(());
    }
    fs::remove_file(part).map_err(|reason| FileError::new("remove the link", part, reason))
}

/// Returns whether the file `path` is being written with a [`PartFile`], in this process or in another one.
pub fn is_being_written(path: &Path) -> bool {
    let part = part_path(path);
    // Opening a pipe would block until it has a writer.
    part.is_file() && is_held(&part)
}

fn is_held(part: &Path) -> bool {
    let Ok(file) = File::open(part) else {
        return false;
    };
    let is_held = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    // As where a part is dropped.
    let _ = file.unlock();
    is_held
}

/// Opens a part for writing without truncating it, and locks it. Anything but a regular file (a device) is not locked.
fn locked(part: &Path) -> Result<File, FileError> {
    // Opening a pipe would block until it has a reader.
    if part
        .metadata()
        .is_ok_and(|found| found.file_type().is_fifo())
    {
        let reason = io::Error::other("it is a pipe");
        return Err(FileError::new("write", part, reason));
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    loop {
        let opened = options.open(part);
        let file = opened.map_err(|reason| FileError::new("create", part, reason))?;
        if let Some(file) = lock_part(file, part)? {
            return Ok(file);
        }
    }
}

/// Locks an open part, a file or a folder. Returns none if it is no longer there: its writer has finished or removed it
/// since it was opened, and a finished one must not be written to.
pub(crate) fn lock_part(open: File, part: &Path) -> Result<Option<File>, FileError> {
    let found = open.metadata();
    let is_lockable = found.is_ok_and(|found| found.is_file() || found.is_dir());
    match open.try_lock() {
        Err(TryLockError::WouldBlock) if is_lockable => {
            let reason = ErrorKind::ResourceBusy.into();
            Err(FileError::new("write", part, reason).and("another writer has it"))
        }
        // Some file systems do not support locks.
        _ => Ok(is_at(&open, part).then_some(open)),
    }
}

/// Renames a part that has contents, and begins a new one.
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
    tracing::warn!(
        "an earlier run left `{part}`, which is incomplete; it was renamed to `{aside}`"
    );
    locked(&part_path(path))
}

/// Writes a whole file, replacing an existing one.
///
/// # Errors
/// The error from the system; there is then no file, or still the old one, unless the error says that the file
/// [has its name](FileError::is_named).
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let written = PartFile::create(path, Unfinished::Removed).and_then(|mut file| {
        file.write_all(bytes)
            .map_err(|reason| FileError::new("write", path, reason))?;
        file.finish()
    });
    written.map_err(|error| in_one_call(path, error))
}

/// Removes a file that an earlier run may have left: before others are replaced whose completeness it stands for, or
/// where a run has nothing to write in its place.
///
/// # Errors
/// The error from the system; none if there is no such file.
pub fn remove_earlier(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(reason) if reason.kind() != ErrorKind::NotFound => {
            Err(FileError::new("replace", path, reason))
        }
        _ => Ok(()),
    }
}

/// Returns the error of a call that writes a whole file: the step that failed is irrelevant, unless the file is
/// complete nevertheless.
fn in_one_call(path: &Path, error: FileError) -> FileError {
    if error.is_named {
        return error;
    }
    FileError::new("write", path, error.reason)
}

/// Makes creations, renames and removals in a file's folder durable, as far as its file system can.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some network and foreign file systems do not support this.
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
