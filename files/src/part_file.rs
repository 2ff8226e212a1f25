//! A file that gets its name only when it is complete: until then it is `NAME.part`.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::FileError;

/// What becomes of `NAME.part` when nobody finishes it: a failed write, an early end, a panic. (A process that is killed can
/// only leave it.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It stays as it is: what somebody recorded is worth keeping although it is not all.
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

/// A file on its way. What is written goes to [`PartFile::part`] at once, unbuffered.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    part: PathBuf,
    path: PathBuf,
    /// None when there is nothing left to do.
    unfinished: Option<Unfinished>,
}

impl PartFile {
    /// Begins the file `path`. What an earlier run left at `NAME.part` is overwritten; a file `path` that is there stays until
    /// [`PartFile::finish`].
    ///
    /// # Errors
    /// If `path` is a folder, or the system does not let the file be created.
    pub fn create(path: &Path, unfinished: Unfinished) -> Result<Self, FileError> {
        if path.is_dir() {
            let reason = ErrorKind::IsADirectory.into();
            return Err(FileError::new("write", path, reason));
        }
        let part = part_path(path);
        match File::create(&part) {
            Ok(file) => Ok(Self {
                file,
                part,
                path: path.to_owned(),
                unfinished: Some(unfinished),
            }),
            Err(reason) => Err(FileError::new("create", &part, reason)),
        }
    }

    /// Goes on with what an earlier run left at `NAME.part`, or begins it. What is written comes behind what is there, and is kept
    /// ([`Unfinished::Kept`]) if nobody finishes it.
    ///
    /// # Errors
    /// See [`PartFile::create`].
    pub fn go_on(path: &Path) -> Result<Self, FileError> {
        if path.is_dir() {
            let reason = ErrorKind::IsADirectory.into();
            return Err(FileError::new("write", path, reason));
        }
        let part = part_path(path);
        let file = File::options().create(true).append(true).open(&part);
        let file = file.map_err(|reason| FileError::new("create", &part, reason))?;
        Ok(Self {
            file,
            part,
            path: path.to_owned(),
            unfinished: Some(Unfinished::Kept),
        })
    }

    /// How many bytes there are.
    ///
    /// # Errors
    /// What the system says.
    pub fn length(&self) -> Result<u64, FileError> {
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(|reason| FileError::new("read", &self.part, reason))?;
        Ok(metadata.len())
    }

    /// Throws away what is there: what is written next is the beginning.
    ///
    /// # Errors
    /// What the system says.
    pub fn restart(&mut self) -> Result<(), FileError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|reason| FileError::new("empty", &self.part, reason))
    }

    /// Where the file is until it is complete, for what writes by name.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// The name that it gets.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the contents durable, gives the file its name, in the place of one that is there, and makes that durable too.
    ///
    /// # Errors
    /// What the system says; the message tells what became of the contents.
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
        sync_folder_of(&self.path)
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
        if self.unfinished != Some(Unfinished::Removed) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.part) {
            let part = self.part.display();
            tracing::warn!("cannot remove the incomplete file `{part}`: {error}");
        }
    }
}

/// Writes a whole file, in the place of one that is there.
///
/// # Errors
/// What the system says; there is then no file, or the old one.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let written = PartFile::create(path, Unfinished::Removed).and_then(|mut file| {
        file.write_all(bytes)
            .map_err(|reason| FileError::new("write", path, reason))?;
        file.finish()
    });
    // In which step is of no interest where there is only one call.
    written.map_err(|error| FileError::new("write", path, error.reason))
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
