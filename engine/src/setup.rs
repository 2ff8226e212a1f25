//! What an actor or a source receives when it is created.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, ClockMode, nanoseconds};
use crate::connection::Connection;
use crate::file_book::{FileBook, FileBooks};
use crate::graph::secrets::Secrets;
use crate::life::Life;
use crate::packet::Stream;
use crate::services::Services;
use crate::settled::Settled;
use crate::tallies::Tallies;

/// What an actor or a source receives when it is created.
#[derive(Clone)]
pub struct Setup {
    /// Name of the node instance: `detect`, or `capture@lobby`.
    pub node: String,
    /// The stream of an `each: stream` node.
    pub stream: Option<Arc<Stream>>,
    /// Folder for the run's outputs.
    pub run_dir: PathBuf,
    /// How time passes in this run.
    pub clock_mode: ClockMode,
    /// The run's clock.
    pub clock: Clock,
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) missed: Arc<AtomicU64>,
    /// Time waited during the current call, nanoseconds.
    pub(crate) waited_ns: Arc<AtomicU64>,
    pub(crate) lasting: Arc<AtomicU64>,
    pub(crate) services: Services,
    pub(crate) connection: Arc<Connection>,
    pub(crate) settled: Settled,
    pub(crate) files: FileBooks,
    pub(crate) secrets: Secrets,
    pub(crate) tallies: Tallies,
}

impl Setup {
    /// Returns whether the source should end early: its stream is removed, or the run drains or stops.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Returns the flag behind [`Setup::cancelled`], for code that must poll it elsewhere (in an interrupt callback,
    /// say).
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// Returns a service of the program. One that the actor has declared as a need is always there.
    pub fn service<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.services.get()
    }

    /// Replaces the services, for tests of an actor that needs some.
    pub fn with_services(mut self, services: Services) -> Self {
        self.services = services;
        self
    }

    /// Returns a counter that starts at 0 and belongs to the node instance, not to the actor: it survives restarts. Use
    /// it for numbers that an actor must never give out twice.
    pub fn lasting_number(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lasting)
    }

    /// Returns the first number above those that earlier lives of this part may have given out; 0 in the first. See
    /// [`Life`].
    pub fn numbers_from(&self) -> u64 {
        self.service::<Life>().map_or(0, |life| life.numbers_from())
    }

    /// Returns the handle with which a source reports that its device is lost or back.
    pub fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }

    /// Returns how far a stream has been settled. For a source: at all sinks of its stream, which is what may be
    /// acknowledged upstream. For a sink with `each: stream`: at this sink, including packets that ended before they
    /// reached it.
    pub fn settled(&self) -> Settled {
        self.settled.clone()
    }

    /// Formats a time of the run's clock (nanoseconds) as RFC 3339 in UTC, to the millisecond.
    pub fn utc(&self, clock_ns: u64) -> String {
        let passed_ns = i128::from(self.clock.now_ns()) - i128::from(clock_ns);
        let now_ns = jiff::Timestamp::now().as_nanosecond();
        let ms = (now_ns - passed_ns).div_euclid(1_000_000);
        let then = i64::try_from(ms).map(jiff::Timestamp::from_millisecond);
        then.ok()
            .and_then(Result::ok)
            .unwrap_or_default()
            .to_string()
    }

    /// Opens the book of a file that the actor begins to write at `path`; `unit` names what is counted in it (`rows`,
    /// `frames`). The book appears in the run's report, whatever becomes of the actor.
    pub fn file(&self, path: &Path, unit: &'static str) -> FileBook {
        self.files.open(&self.node, path, unit)
    }

    /// Returns the values that must not be shown. They are already removed from what the engine and the program show of
    /// an actor (its errors, log lines, the report).
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Returns a counter of the actor's own, which starts at 0 and is reported with its node; `what` describes what it
    /// counts, in a few words. It survives restarts, and replicas share it.
    pub fn tally(&self, what: &'static str) -> Arc<AtomicU64> {
        self.tallies.of(what)
    }

    /// Counts frames that a live source lost before it could hand them over.
    pub fn count_missed(&self, frames: u64) {
        self.missed.fetch_add(frames, Ordering::Relaxed);
    }

    /// Counts time that a source's call spent only waiting for input from outside, such as a camera's next frame. It
    /// counts neither as busy nor as service time.
    pub fn count_waited(&self, time: Duration) {
        self.waited_ns
            .fetch_add(nanoseconds(time), Ordering::Relaxed);
    }

    /// Returns and resets the waiting time of the call that has just returned.
    pub(crate) fn take_waited_ns(&self) -> u64 {
        self.waited_ns.swap(0, Ordering::Relaxed)
    }
}
