//! How signals end a run: the first drains it, the second stops it, the third ends the process. The live page can
//! request the first two.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use fermata_engine::run::RunHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::INTERRUPTED;
use crate::descriptors::refuse_too_few;

/// Signals that arrive within this time of each other count as one: `timeout -s INT` signals both the process and its
/// group.
const ONE: Duration = Duration::from_millis(200);

/// SIGXFSZ, raised by a write beyond the file size limit (`ulimit -f`). It would end the process; with a handler, only
/// the write fails.
const FILE_TOO_LARGE: i32 = 25;
/// SIGXCPU, the soft limit of processor time (`ulimit -St`), by which batch systems announce the end; repeated every
/// second.
const OUT_OF_TIME: i32 = 24;

type Drain = Box<dyn Fn() + Send + Sync>;

/// Returns whether SIGHUP is ignored, as `nohup` arranges for programs that are to survive their terminal. Must be
/// called before a handler is installed.
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let hang_up = SignalKind::hangup().as_raw_value();
    ignored.is_some_and(|mask| (mask >> (hang_up - 1)) & 1 == 1)
}

/// Waits for a signal, or forever if it is not watched.
async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// What Ctrl-C, SIGTERM, a closed terminal (SIGHUP) and the end of the processor time (SIGXCPU) trigger.
#[derive(Clone, Default)]
pub(crate) struct Interrupts {
    count: Arc<AtomicU8>,
    /// The run, once it is starting.
    handle: Arc<OnceLock<RunHandle>>,
    /// What drains the run, if not the run itself.
    drain: Arc<OnceLock<Drain>>,
}

impl Interrupts {
    /// Starts watching for signals, so that one that arrives while the run is starting does not kill it.
    ///
    /// # Errors
    /// Fails if the system does not allow it, or too few descriptors are left for a run.
    pub(crate) fn watch() -> anyhow::Result<Self> {
        refuse_too_few()?;
        let interrupts = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot watch for Ctrl-C")?;
        let is_to_outlive_its_terminal = is_hang_up_ignored();
        let ([mut interrupt, mut terminate, mut out_of_time, mut too_large], mut hang_up) = {
            let _inside = runtime.enter();
            let watched = |kind| -> anyhow::Result<Signal> {
                signal(kind).context("cannot watch for Ctrl-C")
            };
            let others = [
                watched(SignalKind::interrupt())?,
                watched(SignalKind::terminate())?,
                watched(SignalKind::from_raw(OUT_OF_TIME))?,
                watched(SignalKind::from_raw(FILE_TOO_LARGE))?,
            ];
            let hang_up = (!is_to_outlive_its_terminal).then(|| watched(SignalKind::hangup()));
            (others, hang_up.transpose()?)
        };
        let watcher = interrupts.clone();
        let watch = move || {
            runtime.block_on(async move {
                let mut last: Option<Instant> = None;
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        () = received(hang_up.as_mut()) => {}
                        // Repetitions do not count as a second request.
                        _ = out_of_time.recv() => if watcher.count() > 0 { continue },
                        _ = too_large.recv() => continue,
                    }
                    let is_another = last.is_none_or(|last| last.elapsed() >= ONE);
                    if is_another {
                        last = Some(Instant::now());
                        watcher.count.fetch_add(1, Ordering::Relaxed);
                        watcher.act();
                    }
                }
            });
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(watch)
            .context("cannot watch for Ctrl-C")?;
        Ok(interrupts)
    }

    /// Sets the run that is starting, and applies signals that arrived earlier.
    pub(crate) fn starting(&self, handle: RunHandle) {
        let _ = self.handle.set(handle);
        self.act();
    }

    /// Sets the function that handles a request to drain from now on.
    #[cfg_attr(not(feature = "remote"), expect(dead_code))]
    pub(crate) fn drain_by(&self, drain: impl Fn() + Send + Sync + 'static) {
        let _ = self.drain.set(Box::new(drain));
    }

    /// Drains the run, or the site it is part of.
    fn drain(&self, handle: &RunHandle) {
        match self.drain.get() {
            Some(drain) => drain(),
            None => handle.drain(),
        }
    }

    /// Requests what a first signal does.
    pub(crate) fn ask_to_drain(&self) {
        if self.count.fetch_max(1, Ordering::Relaxed) < 1 {
            self.act();
        }
    }

    /// Requests what a second signal does.
    pub(crate) fn ask_to_stop(&self) {
        if self.count.fetch_max(2, Ordering::Relaxed) < 2 {
            self.act();
        }
    }

    /// Returns the number of signals so far; requests count as the signals they stand for.
    pub(crate) fn count(&self) -> u8 {
        self.count.load(Ordering::Relaxed)
    }

    fn act(&self) {
        let count = self.count();
        if count > 2 {
            // Three signals are meant, whatever hangs. Files stay as they are.
            std::process::exit(i32::from(INTERRUPTED));
        }
        let Some(handle) = self.handle.get() else {
            return;
        };
        match count {
            0 => {}
            1 if handle.has_started() => {
                tracing::warn!("finishing what is in flight; interrupt again to stop at once");
                self.drain(handle);
            }
            // Nothing has been captured yet, and a node that hangs while being created would keep hanging.
            1 => {
                tracing::warn!("stopping before anything was started");
                handle.stop();
            }
            _ => {
                tracing::warn!(
                    "stopping; what is in flight is given up and counted; interrupt again to end at once"
                );
                handle.stop();
            }
        }
    }
}
