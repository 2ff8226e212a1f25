//! The folder that a run owns: its outputs, the resolved graph, the report and the log.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use fermata_engine::{Graph, Report};
use fermata_files::FolderLock;

/// A run's folder. It is this run's alone while this is there.
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Whether this run made it.
    made: bool,
    /// Whether an earlier run is taken up again, whose graph and log stay.
    resumed: bool,
    lock: FolderLock,
}

/// How a run takes its folder.
pub enum Taking {
    /// A new run: what an earlier one said of itself goes.
    Afresh(PathBuf),
    /// An earlier run is taken up again.
    Again(PathBuf),
}

const REPORT: &str = "report.json";
const GRAPH: &str = "graph.yaml";
const LOG: &str = "run.log";

impl RunFolder {
    /// Where a run without `--out` goes: `runs/NAME-TIME`, with a number behind it if that is taken.
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

    /// Makes the folder, or takes one that is there; what an earlier run said of itself is removed.
    ///
    /// # Errors
    /// Another process has it, or the system does not let it be made.
    pub(crate) fn open(taking: &Taking) -> anyhow::Result<Self> {
        let (path, resumed) = match taking {
            Taking::Afresh(path) => (path, false),
            Taking::Again(path) => (path, true),
        };
        let made = !path.exists();
        fs::create_dir_all(path)
            .with_context(|| format!("cannot make the output folder {}", path.display()))?;
        let folder = Self {
            path: path.clone(),
            made,
            resumed,
            lock: FolderLock::take(path)?,
        };
        let stale: &[&str] = if resumed {
            &[REPORT]
        } else {
            &[REPORT, GRAPH, LOG]
        };
        for file in stale {
            let file = path.join(file);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("cannot replace {}", file.display()));
                }
                _ => {}
            }
        }
        Ok(folder)
    }

    /// The log, open for writing.
    pub(crate) fn log(&self) -> anyhow::Result<fs::File> {
        let path = self.path.join(LOG);
        let mut options = fs::OpenOptions::new();
        options.create(true).append(true);
        options
            .open(&path)
            .with_context(|| format!("cannot write into the output folder: {}", path.display()))
    }

    /// Writes the resolved graph, if it is not there already.
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
        let mut text = serde_json::to_vec_pretty(report).context("the report is not JSON")?;
        text.push(b'\n');
        let path = self.path.join(REPORT);
        fermata_files::write(&path, &text)?;
        Ok(path)
    }

    /// Takes back what was written for a run that did not start.
    pub(crate) fn take_back(self) {
        let Self {
            path,
            made,
            resumed,
            lock,
        } = self;
        if resumed {
            return;
        }
        for file in [GRAPH, LOG] {
            let _ = fs::remove_file(path.join(file));
        }
        // Its file goes with it.
        drop(lock);
        if made {
            // Only an empty folder is removed.
            let _ = fs::remove_dir(&path);
        }
    }
}
