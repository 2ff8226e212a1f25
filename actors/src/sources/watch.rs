//! Limits libav's blocking calls: they end when the stream is cancelled, or when no picture has come for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fermata_engine::Setup;
use ffmpeg_next::Error;

use crate::libav::Waiting;
use crate::sources::video_error::VideoError;

/// Makes libav's blocking calls return when the stream is cancelled or has delivered no picture for too long.
pub(crate) struct Watch {
    cancel: Arc<AtomicBool>,
    started: Instant,
    /// Longest time without a picture, in nanoseconds; `u64::MAX` for no limit.
    patience_ns: AtomicU64,
    deadline_ns: AtomicU64,
}

impl Watch {
    /// Creates a watch that limits opening and the first picture to this time; without a limit, only cancellation
    /// interrupts.
    pub(crate) fn new(setup: &Setup, opening: Option<Duration>) -> Arc<Self> {
        let watch = Self {
            cancel: setup.cancel_flag(),
            started: Instant::now(),
            patience_ns: AtomicU64::new(opening.map_or(u64::MAX, nanoseconds)),
            deadline_ns: AtomicU64::new(u64::MAX),
        };
        watch.rearm();
        Arc::new(watch)
    }

    /// Sets how long the stream may go without a picture, from the next picture on.
    pub(crate) fn be_patient_for(&self, limit: Option<Duration>) {
        let patience_ns = limit.map_or(u64::MAX, nanoseconds);
        self.patience_ns.store(patience_ns, Ordering::Relaxed);
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(self.started.elapsed())
    }

    /// Restarts the time without a picture.
    pub(crate) fn rearm(&self) {
        let patience_ns = self.patience_ns.load(Ordering::Relaxed);
        let deadline_ns = self.now_ns().saturating_add(patience_ns);
        self.deadline_ns.store(deadline_ns, Ordering::Relaxed);
    }

    /// Returns whether the stream was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Returns whether a blocking call should give up.
    pub(crate) fn interrupts(&self) -> bool {
        self.is_cancelled() || self.now_ns() > self.deadline_ns.load(Ordering::Relaxed)
    }

    /// Returns why a call ended with `error`.
    pub(crate) fn explain(&self, doing: &'static str, error: Error) -> VideoError {
        if self.is_cancelled() {
            VideoError::Cancelled
        } else if self.interrupts() {
            let patience_ns = self.patience_ns.load(Ordering::Relaxed);
            VideoError::Silent(Duration::from_nanos(patience_ns))
        } else {
            VideoError::Libav { doing, error }
        }
    }
}

impl Waiting for Arc<Watch> {
    fn interrupts(&self) -> bool {
        Watch::interrupts(self)
    }

    fn came_further(&self) {
        self.rearm();
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
