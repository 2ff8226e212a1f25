//! Takes down what the nodes of a simulated run have handled.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::observer::{Event as Observed, Fate, Observer, PacketId, Recorder, Seen};

pub(super) type Shared<T> = Arc<Mutex<T>>;

pub(super) fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A packet that a node has handled without an error.
pub(super) struct Handled {
    pub(super) node: String,
    pub(super) packet: PacketId,
    pub(super) inputs: u64,
}

/// Takes down what nodes have handled.
pub(super) struct Handling(pub(super) Shared<Vec<Handled>>);

impl Observer for Handling {
    fn recorder(&self, _: &str) -> Box<dyn Recorder> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

impl Recorder for Handling {
    fn record(&mut self, seen: &Seen<'_>) {
        if let Observed::Settled {
            packet,
            inputs,
            fate: Fate::Processed,
        } = seen.event
        {
            lock(&self.0).push(Handled {
                node: seen.node.to_owned(),
                packet,
                inputs,
            });
        }
    }
}
