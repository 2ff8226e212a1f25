//! How long libav's blocking calls may take: until the stream is cancelled, or no picture has come for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fermata_engine::Setup;
use ffmpeg_next::Error;

use crate::libav::Waiting;
use crate::sources::video_error::VideoError;

/// Makes libav's blocking calls return when the stream is cancelled or has shown nothing for too long.
pub(crate) struct Watch {
    cancel: Arc<AtomicBool>,
    started: Instant,
    /// Longest time without a picture, nanoseconds; `u64::MAX` for any.
    patience_ns: AtomicU64,
    deadline_ns: AtomicU64,
}

impl Watch {
    /// Gives opening and the first picture this long; without a limit only a cancellation interrupts.
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

    /// From the next picture on, this long may pass without one.
    pub(crate) fn be_patient_for(&self, limit: Option<Duration>) {
        let patience_ns = limit.map_or(u64::MAX, nanoseconds);
        self.patience_ns.store(patience_ns, Ordering::Relaxed);
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(self.started.elapsed())
    }

    /// The time without a picture starts over.
    pub(crate) fn rearm(&self) {
        let patience_ns = self.patience_ns.load(Ordering::Relaxed);
        let deadline_ns = self.now_ns().saturating_add(patience_ns);
        self.deadline_ns.store(deadline_ns, Ordering::Relaxed);
    }

    /// True if the stream was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// True if a blocking call should give up.
    pub(crate) fn interrupts(&self) -> bool {
        self.is_cancelled() || self.now_ns() > self.deadline_ns.load(Ordering::Relaxed)
    }

    /// Says why a call ended with `error`.
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
