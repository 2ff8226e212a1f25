//! Two observers of one run.

use std::sync::Arc;

use fermata_engine::observer::{Observer, Recorder, Seen};

/// An observer that forwards everything to two others.
pub(crate) struct Both(pub(crate) Arc<dyn Observer>, pub(crate) Arc<dyn Observer>);

struct BothRecorders(Box<dyn Recorder>, Box<dyn Recorder>);

impl Observer for Both {
    fn recorder(&self, lane: &str) -> Box<dyn Recorder> {
        Box::new(BothRecorders(self.0.recorder(lane), self.1.recorder(lane)))
    }
}

impl Recorder for BothRecorders {
    fn record(&mut self, seen: &Seen<'_>) {
        self.0.record(seen);
        self.1.record(seen);
    }
}
