//! How far a stream has been settled at its sinks, for a source that must know what it may acknowledge or forget.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use crate::runtime::books::{FlowBooks, Watcher};

/// How far the stream of a source, or of a sink, has been settled; see [`Setup::settled`](crate::Setup::settled).
#[derive(Clone, Default)]
pub struct Settled {
    /// The stream's books at each sink that it reaches, or at the sink that asks. Set once the stream is wired.
    sinks: Arc<OnceLock<Vec<Arc<FlowBooks>>>>,
}

impl Settled {
    /// Returns the sequence below which everything has been settled and flushed at all sinks: delivered, dropped or
    /// failed, and counted as such. It is `u64::MAX` once the stream has ended everywhere, unless a sink that confirms
    /// its flushes failed to flush.
    pub fn position(&self) -> u64 {
        let sinks = self.sinks.get().map_or(&[][..], Vec::as_slice);
        let positions = sinks.iter().map(|books| books.settled_position());
        positions.min().unwrap_or(0)
    }

    /// Registers a callback that runs when the position of a source's stream may have grown, on the thread of the lane
    /// where it grew; it must return at once. A stream has one callback, the first to be registered. Before the stream
    /// is wired none is registered, so callers must also poll now and then.
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
        // A source, or a sink with a stream of its own, is wired once, together with its stream.
        let _ = self.sinks.set(sinks);
    }
}
