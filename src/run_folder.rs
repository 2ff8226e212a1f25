//! The folder that a run owns: its outputs, the resolved graph, the report and the log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use fermata_engine::{Graph, Report};
use fermata_files::{FolderLock, LOCK_FILE, remove_earlier};

use crate::documents::{make_folder, write_json};

/// The folder of a run, locked for as long as this value exists.
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Whether this run created it.
    made: bool,
    /// Whether an earlier run is resumed, whose graph and log stay.
    resumed: bool,
    /// Where the files of an earlier run are now.
    moved: Option<PathBuf>,
    lock: Arc<FolderLock>,
}

/// How a run takes its folder.
pub enum Taking {
    /// A new run: the files of an earlier run are moved away.
    Afresh(PathBuf),
    /// An earlier run is resumed.
    Again(PathBuf),
}

pub(crate) const REPORT: &str = "report.json";
const GRAPH: &str = "graph.yaml";
const LOG: &str = "run.log";
const EARLIER: &str = "earlier";
/// The record of the lives of a part of a site.
pub(crate) const LIVES: &str = "lives.json";

/// The files that the program itself writes into a run folder.
pub(crate) const OWN_FILES: [&str; 6] = [REPORT, GRAPH, LOG, LOCK_FILE, EARLIER, LIVES];

impl RunFolder {
    /// Returns the folder of a run without `--out`: `runs/NAME-TIME`, with a number appended if that is taken.
    pub(crate) fn fresh(name: &str) -> PathBuf {
        let time = jiff::ZonedDateTime::now()
            .strftime("%Y%m%d-%H%M%S")
            .to_string();
        let first = PathBuf::from(format!("runs/{name}-{time}"));
        if !first.exists() {
            return first;
        }
        (2..)
            .map(|number| PathBuf::from(format!("runs/{name}-{time}-{number}")))
            .find(|path| !path.exists())
            .unwrap_or(first)
    }

    /// Creates the folder, or takes an existing one. What an earlier run left in it is moved to `earlier/N/`, so that
    /// one run's files never stand beside another's graph; if a run is resumed, only its report is removed. `lock` is
    /// the folder's lock, if the caller has it already.
    ///
    /// # Errors
    /// Fails if another process has the folder, or it cannot be created.
    pub(crate) fn open(taking: &Taking, lock: Option<Arc<FolderLock>>) -> anyhow::Result<Self> {
        let (path, resumed) = match taking {
            Taking::Afresh(path) => (path, false),
            Taking::Again(path) => (path, true),
        };
        let made = !path.exists();
        make_folder(path)?;
        let lock = match lock {
            Some(lock) => lock,
            None => Arc::new(FolderLock::take(path)?),
        };
        let moved = if !resumed && is_used(path) {
            Some(move_aside(path)?)
        } else {
            None
        };
        let folder = Self {
            path: path.clone(),
            made,
            resumed,
            moved,
            lock,
        };
        if resumed {
            remove_earlier(&path.join(REPORT))?;
        }
        Ok(folder)
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the lock: nothing of the run itself is written any more.
    pub(crate) fn into_lock(self) -> Arc<FolderLock> {
        self.lock
    }

    /// Opens the log for appending.
    pub(crate) fn log(&self) -> anyhow::Result<fs::File> {
        let path = self.path.join(LOG);
        let mut options = fs::OpenOptions::new();
        options.create(true).append(true);
        options
            .open(&path)
            .with_context(|| format!("cannot write into the output folder: {}", path.display()))
    }

    /// Writes the resolved graph, unless the run is resumed.
    pub(crate) fn write_graph(&self, graph: &Graph) -> anyhow::Result<()> {
        if self.resumed {
            return Ok(());
        }
        let text = graph.resolved_yaml();
        Ok(fermata_files::write(
            &self.path.join(GRAPH),
            text.as_bytes(),
        )?)
    }

    /// Writes the report.
    pub(crate) fn write_report(&self, report: &Report) -> anyhow::Result<PathBuf> {
        let path = self.path.join(REPORT);
        write_json(&path, report)?;
        Ok(path)
    }

    /// Removes what was written for a run that did not start.
    pub(crate) fn take_back(self) {
        let Self {
            path,
            made,
            resumed,
            moved,
            lock,
        } = self;
        if resumed {
            return;
        }
        for file in [GRAPH, LOG, LIVES] {
            let _ = fs::remove_file(path.join(file));
        }
        if let Some(earlier) = moved
            && let Err(error) = move_back(&earlier, &path)
        {
            let earlier = earlier.display();
            tracing::warn!("the files of the earlier run stay in {earlier}: {error}");
        }
        // Dropping the lock removes its file.
        drop(lock);
        if made {
            // Only an empty folder is removed.
            let _ = fs::remove_dir(&path);
        }
    }
}

/// Returns whether a run has used this folder.
fn is_used(path: &Path) -> bool {
    [REPORT, GRAPH, LOG]
        .iter()
        .any(|name| path.join(name).exists())
}

/// Moves everything in a folder to the first free `earlier/N`.
fn move_aside(path: &Path) -> anyhow::Result<PathBuf> {
    let cannot = || format!("cannot move what is in {} to {EARLIER}/", path.display());
    let names = names_in(path).with_context(cannot)?;
    let mut numbered = (1_u32..).map(|number| path.join(EARLIER).join(number.to_string()));
    let free = numbered.find(|folder| !folder.exists());
    let earlier = free.with_context(cannot)?;
    fs::create_dir_all(&earlier).with_context(cannot)?;
    for name in names {
        if name == EARLIER || name == LOCK_FILE {
            continue;
        }
        if let Err(error) = fs::rename(path.join(&name), earlier.join(&name)) {
            // Move back what has been moved: no run is left half here and half there.
            let back = move_back(&earlier, path);
            let said = anyhow::Error::new(error).context(format!(
                "cannot move {} to {EARLIER}/; name another folder with --out",
                path.join(&name).display()
            ));
            return Err(match back {
                Ok(()) => said,
                Err(error) => said.context(format!(
                    "files of the earlier run stay in {}: {error}",
                    earlier.display()
                )),
            });
        }
    }
    Ok(earlier)
}

/// Undoes [`move_aside`].
fn move_back(earlier: &Path, path: &Path) -> io::Result<()> {
    for name in names_in(earlier)? {
        fs::rename(earlier.join(&name), path.join(&name))?;
    }
    fs::remove_dir(earlier)?;
    // Only an empty folder is removed.
    let _ = fs::remove_dir(path.join(EARLIER));
    Ok(())
}

fn names_in(path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let entries = fs::read_dir(path)?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}

/// Fails if a run in `folder` would move a file that it needs, because an earlier run has used the folder.
pub(crate) fn refuse_to_move(folder: &Path, needed: &Path) -> anyhow::Result<()> {
    let (Ok(folder), Ok(needed)) = (folder.canonicalize(), needed.canonicalize()) else {
        return Ok(());
    };
    if is_used(&folder) && needed.starts_with(&folder) && !needed.starts_with(folder.join(EARLIER))
    {
        anyhow::bail!(
            "{} is in {}, which holds an earlier run whose files would be moved to {EARLIER}/: name another folder with --out",
            needed.display(),
            folder.display()
        );
    }
    Ok(())
}
