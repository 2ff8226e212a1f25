//! A trace from beginning to end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fermata_engine::Graph;
use fermata_engine::observer::Observer;
use fermata_files::{FileError, PartFile, Unfinished, part_path};

use crate::encoder::Encoder;
use crate::recorder::{Lanes, Observing};
use crate::records::Handed;
use crate::stream_names::StreamNames;
use crate::ways::ways;
use crate::writer::{self, Written};

/// Maximum number of buffers that wait for the writer, about 60 kB each.
const MOST_WAITING: usize = 256;
/// How long to wait for lanes that have not ended with the run.
const END_WAIT: Duration = Duration::from_secs(2);

/// A trace that is being written.
pub struct Trace {
    path: PathBuf,
    lanes: Arc<Lanes>,
    end: flume::Sender<Handed>,
    thread: JoinHandle<Written>,
}

/// A trace that has been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Path of the file.
    pub path: PathBuf,
    /// Number of packet events in the file.
    pub events: u64,
    /// Number of events lost because they came faster than they could be written.
    pub lost: u64,
}

/// Why a trace could not be written.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file could not be created or finished.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file could not be written to its end.
    #[error("cannot write the trace `{}`: {reason}; what was written is in `{}`", path.display(), part_path(path).display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error from the system.
        reason: io::Error,
    },
    /// The writer's thread could not be started.
    #[error("cannot start the thread that writes the trace: {0}")]
    Thread(io::Error),
}

impl Trace {
    /// Begins the file `path` for a run of this graph.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn begin(path: &Path, graph: &Graph) -> Result<Self, TraceError> {
        let file = PartFile::create(path, Unfinished::Kept)?;
        let (end, handed) = flume::bounded(MOST_WAITING);
        let names = Arc::new(StreamNames::default());
        let encoder = Encoder::new(&graph.name, ways(graph), Arc::clone(&names));
        let thread = std::thread::Builder::new()
            .name("trace".to_owned())
            .spawn(move || writer::write(file, encoder, &handed))
            .map_err(TraceError::Thread)?;
        Ok(Self {
            path: path.to_owned(),
            lanes: Arc::new(Lanes::new(end.clone(), names)),
            end,
            thread,
        })
    }

    /// Returns the observer for the run; see [`RunOptions::observer`](fermata_engine::RunOptions::observer).
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(Observing(Arc::clone(&self.lanes)))
    }

    /// Writes the remaining events and gives the file its name. Call this when the run is over; the last events of a
    /// lane with a call that never returned are missing.
    ///
    /// # Errors
    /// The file could not be written; what was written is kept.
    pub fn finish(self) -> Result<Traced, TraceError> {
        self.lanes.wait_until_closed(END_WAIT);
        let lost = self.lanes.lost();
        let (path, written) = self.end();
        let unwritten = |reason| TraceError::Write {
            path: path.clone(),
            reason,
        };
        let written = written.map_err(unwritten)?;
        written.file.map_err(unwritten)?.finish()?;
        Ok(Traced {
            events: written.records,
            lost: lost + written.lost,
            path,
        })
    }

    /// Removes the file of a run that did not start.
    pub fn take_back(self) {
        if let (_, Ok(written)) = self.end()
            && let Ok(file) = written.file
            && let Err(error) = file.remove()
        {
            tracing::warn!("{error}");
        }
    }

    fn end(self) -> (PathBuf, io::Result<Written>) {
        // Fails only if the writer is gone.
        let _ = self.end.send(Handed::End);
        let written = self.thread.join();
        let written = written.map_err(|_| io::Error::other("its thread died"));
        (self.path, written)
    }
}
