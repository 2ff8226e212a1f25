//! How far a stream has come at its sinks, for a source that must know: what it may acknowledge, or forget.

use std::sync::{Arc, OnceLock};

use crate::runtime::books::FlowBooks;

/// How far the stream of a source, or of a sink, has come; see [`Setup::settled`](crate::Setup::settled).
#[derive(Clone, Default)]
pub struct Settled {
    /// The stream's books at each sink that it reaches, or at the sink that asks, once it is wired.
    sinks: Arc<OnceLock<Vec<Arc<FlowBooks>>>>,
}

impl Settled {
    /// The sequence below which everything has been settled and flushed at all sinks: delivered, dropped or failed, and
    /// counted as such. `u64::MAX` once the stream has ended everywhere; not if a sink that confirms what it flushes failed at that.
    pub fn position(&self) -> u64 {
        let sinks = self.sinks.get().map_or(&[][..], Vec::as_slice);
        let positions = sinks.iter().map(|books| books.settled_position());
        positions.min().unwrap_or(0)
    }

    pub(crate) fn watch(&self, sinks: Vec<Arc<FlowBooks>>) {
        // A source, or a sink with a stream of its own, is wired once, with its stream.
        let _ = self.sinks.set(sinks);
    }
}
