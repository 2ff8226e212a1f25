//! How far a stream has come at its sinks, for a source that must know: what it may acknowledge, or forget.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use crate::runtime::books::{FlowBooks, Watcher};

/// How far the stream of a source, or of a sink, has come; see [`Setup::settled`](crate::Setup::settled).
#[derive(Clone, Default)]
pub struct Settled {
    /// The stream's books at each sink that it reaches, or at the sink that asks, once it is wired.
    sinks: Arc<OnceLock<Vec<Arc<FlowBooks>>>>,
}

impl Settled {
    /// The sequence below which everything has been settled and flushed at all sinks: delivered, dropped or failed, and
    /// counted as such. `u64::MAX` once the stream has ended everywhere; not if a sink that confirms what it flushes
    /// failed at that.
    pub fn position(&self) -> u64 {
        let sinks = self.sinks.get().map_or(&[][..], Vec::as_slice);
        let positions = sinks.iter().map(|books| books.settled_position());
        positions.min().unwrap_or(0)
    }

    /// Has a function called whenever the position of a source's stream may have grown, on the thread of the lane where
    /// it did: it must return at once. A stream has one such function, the first that is given here; before the stream
    /// is wired none is taken, so whoever waits for it looks once in a while all the same.
    pub fn on_growth(&self, grown: impl Fn() + Send + Sync + 'static) {
        let grown: Watcher = Arc::new(move || {
            // A panic must not end the lane's thread.
            if catch_unwind(AssertUnwindSafe(&grown)).is_err() {
                tracing::error!("a callback on the settling of a stream panicked");
            }
        });
        for books in self.sinks.get().into_iter().flatten() {
            books.watch(Arc::clone(&grown));
        }
    }

    pub(crate) fn watch(&self, sinks: Vec<Arc<FlowBooks>>) {
        // A source, or a sink with a stream of its own, is wired once, with its stream.
        let _ = self.sinks.set(sinks);
    }
}
