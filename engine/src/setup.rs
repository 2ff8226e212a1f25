//! What an actor or a source is told when it is created.

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

/// What an actor or source is told when it is created.
#[derive(Clone)]
pub struct Setup {
    /// Name of the node instance: `detect`, or `capture@lobby`.
    pub node: String,
    /// The stream of an `each: stream` node.
    pub stream: Option<Arc<Stream>>,
    /// Where the run's outputs go.
    pub run_dir: PathBuf,
    /// How time passes in this run.
    pub clock_mode: ClockMode,
    /// The run's clock.
    pub clock: Clock,
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) missed: Arc<AtomicU64>,
    /// Of the call that runs, nanoseconds.
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
    /// True once the source should end early: its stream is removed, or the run drains or stops.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// The flag behind [`Setup::cancelled`], for code that must poll it from elsewhere (an interrupt callback).
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// A service of the program. One that the actor has declared as a need is there.
    pub fn service<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.services.get()
    }

    /// The same setup with services, for tests of an actor that needs some.
    pub fn with_services(mut self, services: Services) -> Self {
        self.services = services;
        self
    }

    /// A number, 0 at first, that belongs to the node instance and not to the actor: it survives restarts. What an
    /// actor must never give out twice is counted with it.
    pub fn lasting_number(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lasting)
    }

    /// Behind the numbers that earlier lives of this part may have given out; 0 in the first. See [`Life`].
    pub fn numbers_from(&self) -> u64 {
        self.service::<Life>().map_or(0, |life| life.numbers_from())
    }

    /// How a source says that what it captures from is gone, and that it is back.
    pub fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }

    /// Of a source: how far its stream has come at all its sinks, which is what may be acknowledged to where it came
    /// from. Of a sink with `each: stream`: how far the stream has come there, also where its packets ended before they
    /// reached it.
    pub fn settled(&self) -> Settled {
        self.settled.clone()
    }

    /// A time of the run's clock, nanoseconds, as others have it: RFC 3339 in UTC, to the millisecond.
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

    /// Opens the book of a file that the actor begins to write at `path`; `unit` says what is counted in it (`rows`,
    /// `frames`). What the book says stands in the run's report, whatever becomes of the actor.
    pub fn file(&self, path: &Path, unit: &'static str) -> FileBook {
        self.files.open(&self.node, path, unit)
    }

    /// The values that must not be shown. What the engine and the program show of an actor (its errors, log lines, the
    /// report) is without them already.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// A count of the actor's own, 0 at first, which the report tells with its node: `what` says what it counts, in a
    /// few words. It survives restarts, and replicas share it.
    pub fn tally(&self, what: &'static str) -> Arc<AtomicU64> {
        self.tallies.of(what)
    }

    /// Counts frames that a live source lost before it could hand them over.
    pub fn count_missed(&self, frames: u64) {
        self.missed.fetch_add(frames, Ordering::Relaxed);
    }

    /// Counts time for which a source's call did nothing but wait for what comes from outside, such as a camera's next
    /// frame: the source is not busy then, and it is no time of service.
    pub fn count_waited(&self, time: Duration) {
        self.waited_ns
            .fetch_add(nanoseconds(time), Ordering::Relaxed);
    }

    /// What has been counted of the call that has just returned.
    pub(crate) fn take_waited_ns(&self) -> u64 {
        self.waited_ns.swap(0, Ordering::Relaxed)
    }
}
