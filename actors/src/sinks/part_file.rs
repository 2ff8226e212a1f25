//! A file that gets its name only when it is complete: until then it is `NAME.part`, and removed if nobody finishes it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What became of a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} `{}`: {source}; {advice}", path.display())]
pub(super) struct PartFileError {
    what: &'static str,
    path: PathBuf,
    advice: &'static str,
    source: io::Error,
}

/// See the module.
#[derive(Debug)]
pub(super) struct PartFile {
    file: File,
    part: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl PartFile {
    /// Begins the file; what an earlier, killed run left at `NAME.part` is overwritten.
    pub(super) fn create(path: &Path) -> Result<Self, PartFileError> {
        if path.is_dir() {
            return Err(PartFileError {
                what: "write",
                path: path.to_owned(),
                advice: "it is a folder",
                source: io::ErrorKind::IsADirectory.into(),
            });
        }
        let mut part = OsString::from(path);
        part.push(".part");
        let part = PathBuf::from(part);
        match File::create(&part) {
            Ok(file) => Ok(Self {
                file,
                part,
                path: path.to_owned(),
                finished: false,
            }),
            Err(source) => Err(PartFileError {
                what: "create",
                path: part,
                advice: "its folder must exist and be writable",
                source,
            }),
        }
    }

    /// Where the file is until it is complete, for what writes by name.
    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    /// Makes the contents durable and gives the file its name.
    pub(super) fn finish(mut self) -> Result<(), PartFileError> {
        let error = |what, path: &Path| {
            let path = path.to_owned();
            move |source| PartFileError {
                what,
                path,
                advice: "the file is incomplete and was removed",
                source,
            }
        };
        self.file
            .sync_all()
            .map_err(error("sync to disk", &self.part))?;
        fs::rename(&self.part, &self.path).map_err(error("give its name to", &self.path))?;
        self.finished = true;
        sync_folder(&self.path).map_err(|source| PartFileError {
            what: "sync to disk the folder of",
            path: self.path.clone(),
            advice: "the file is complete, but may be gone after a power cut",
            source,
        })
    }
}

/// Makes a rename durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Err(error) = fs::remove_file(&self.part) {
            tracing::warn!(
                "cannot remove the incomplete file `{}`: {error}",
                self.part.display()
            );
        }
    }
}
