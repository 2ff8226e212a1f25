//! The run as routes see it: a handle, its graph, its journal, its newest numbers and pictures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use fermata_engine::graph::Secrets;
use fermata_engine::{Graph, RunHandle};
use fermata_vision::FrameHub;
use tokio::sync::{Semaphore, watch};

use crate::graph_view::GraphView;
use crate::journal::Journal;
use crate::lock::lock;
use crate::measures::Measures;
use crate::numbers::{Clocks, Workers};
use crate::tap::Tap;
use crate::video::Video;

/// Maximum number of browsers at once.
pub(crate) const MOST_BROWSERS: usize = 32;

/// How to end a run that is not ended through its own handle alone.
struct EndedBy {
    drain: Box<dyn Fn() + Send + Sync>,
    stop: Box<dyn Fn() + Send + Sync>,
}

/// A run as its routes see it.
pub struct WatchedRun {
    /// The run.
    pub handle: RunHandle,
    pub(crate) view: GraphView,
    /// What must not be shown.
    pub(crate) secrets: Secrets,
    pub(crate) video: Video,
    pub(crate) tap: Arc<Tap>,
    pub(crate) journal: Journal,
    pub(crate) measures: Option<Arc<Measures>>,
    pub(crate) workers: Option<Arc<Workers>>,
    pub(crate) clocks: Option<Arc<Clocks>>,
    /// How to drain and stop the run, if not through its handle.
    ended_by: Option<EndedBy>,
    pub(crate) numbers: watch::Sender<Published>,
    /// Places for browsers.
    pub(crate) seats: Arc<Semaphore>,
    /// Whether only this machine can see the page, without a proxy in between: then streams may be files and devices.
    pub(crate) is_local: bool,
    sources: Mutex<BTreeMap<String, Source>>,
    running: Mutex<BTreeSet<String>>,
    is_ready: AtomicBool,
    phase: AtomicU8,
}

/// Where a stream comes from, for reopening it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The name it was added under; it may have been renamed (`door.2`).
    pub(crate) name: String,
    /// May hold credentials: never shown.
    pub(crate) uri: String,
    /// The stream and those that were opened again in its place, in order. Locked while one of them is being opened, so
    /// that no two requests open the source at once.
    pub(crate) line: Arc<Mutex<Vec<String>>>,
}

impl Source {
    /// Creates the source of a stream that has not been opened yet.
    pub(crate) fn new(name: String, uri: String) -> Self {
        let line = Arc::default();
        Self { name, uri, line }
    }
}

/// The newest numbers.
#[derive(Clone, Default)]
pub(crate) struct Published {
    /// As JSON; empty before the first.
    pub(crate) json: Arc<str>,
    /// Whether the run is over and no others follow.
    pub(crate) is_last: bool,
}

/// The phase of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Going,
    Draining,
    Stopping,
    Over,
}

impl WatchedRun {
    /// Creates a watched run, whose nodes are still being created. `hub` holds the frames that its actors draw, `tap`
    /// receives packets from its observer.
    pub fn new(
        handle: RunHandle,
        graph: &Graph,
        hub: Option<Arc<FrameHub>>,
        tap: Arc<Tap>,
    ) -> Self {
        let sources = graph.streams.iter().map(|stream| {
            let source = Source::new(stream.name.clone(), stream.uri.clone());
            lock(&source.line).push(stream.name.clone());
            (stream.name.clone(), source)
        });
        Self {
            handle,
            view: GraphView::new(graph),
            secrets: graph.secrets().clone(),
            video: Video::new(hub),
            tap,
            journal: Journal::default(),
            measures: None,
            workers: None,
            clocks: None,
            ended_by: None,
            numbers: watch::Sender::new(Published::default()),
            seats: Arc::new(Semaphore::new(MOST_BROWSERS)),
            is_local: true,
            sources: Mutex::new(sources.collect()),
            running: Mutex::default(),
            is_ready: AtomicBool::new(false),
            phase: AtomicU8::new(Phase::Going as u8),
        }
    }

    /// Adds measures of the program's own.
    #[must_use]
    pub fn with_measures(self, measures: Option<Arc<Measures>>) -> Self {
        Self { measures, ..self }
    }

    /// Adds the workers of a job.
    #[must_use]
    pub fn with_workers(self, workers: Option<Arc<Workers>>) -> Self {
        Self { workers, ..self }
    }

    /// Adds clocks, for packets that come from other machines.
    #[must_use]
    pub fn with_clocks(self, clocks: Option<Arc<Clocks>>) -> Self {
        Self { clocks, ..self }
    }

    /// Sets how the run is drained and stopped: it may be a part of something larger, and its owner may need to know.
    #[must_use]
    pub fn ended_by(
        self,
        drain: impl Fn() + Send + Sync + 'static,
        stop: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (drain, stop) = (Box::new(drain), Box::new(stop));
        Self {
            ended_by: Some(EndedBy { drain, stop }),
            ..self
        }
    }

    /// Ends all streams and finishes what is in flight.
    pub(crate) fn drain(&self) {
        match &self.ended_by {
            Some(by) => (by.drain)(),
            None => self.handle.drain(),
        }
    }

    /// Gives up what is in flight.
    pub(crate) fn stop(&self) {
        match &self.ended_by {
            Some(by) => (by.stop)(),
            None => self.handle.stop(),
        }
    }

    /// Returns whether all nodes have been created.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// Sets whether all nodes have been created.
    pub(crate) fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Going,
            1 => Phase::Draining,
            2 => Phase::Stopping,
            _ => Phase::Over,
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }

    /// Returns `starting`, `running`, `draining`, `stopping` or `over`.
    pub(crate) fn phase_name(&self) -> &'static str {
        match self.phase() {
            Phase::Going if self.is_ready() => "running",
            Phase::Going => "starting",
            Phase::Draining => "draining",
            Phase::Stopping => "stopping",
            Phase::Over => "over",
        }
    }

    /// Returns the source of a stream with this name.
    pub(crate) fn source(&self, stream: &str) -> Option<Source> {
        self.sources().get(stream).cloned()
    }

    /// Remembers the source of a stream.
    pub(crate) fn remember(&self, stream: String, source: Source) {
        self.sources().insert(stream, source);
    }

    /// Returns the stream that has taken the place of this one and has not ended yet; `line` is that of its source.
    pub(crate) fn successor<'a>(&self, stream: &str, line: &'a [String]) -> Option<&'a String> {
        let later = line.iter().skip_while(|other| *other != stream).skip(1);
        let has_ended = |other: &str| {
            let report = self.handle.stream_report(other);
            self.journal.is_over(other) || report.is_none_or(|report| report.ended)
        };
        later.filter(|other| !has_ended(other)).last()
    }

    /// Returns whether a stream of this name was running when last seen.
    pub(crate) fn is_running(&self, stream: &str) -> bool {
        lock(&self.running).contains(stream)
    }

    /// Sets which streams are running.
    pub(crate) fn set_running(&self, streams: BTreeSet<String>) {
        *lock(&self.running) = streams;
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<String, Source>> {
        lock(&self.sources)
    }
}
