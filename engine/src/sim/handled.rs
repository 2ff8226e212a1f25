//! Records which packets the nodes of a simulated run have handled, and the fates of the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::observer::{Event as Observed, Fate, Observer, PacketId, Recorder, Seen};

pub(super) type Shared<T> = Arc<Mutex<T>>;

/// A packet that a node has handled without an error.
pub(super) struct Handled {
    pub(super) node: String,
    pub(super) packet: PacketId,
    pub(super) inputs: u64,
}

/// What an observer was told about the packets of a run.
#[derive(Default)]
pub(super) struct Told {
    /// The handled packets, in order.
    pub(super) handled: Vec<Handled>,
    /// Number of packets by node instance and fate; a join counts each input's packet.
    pub(super) settled: BTreeMap<(String, Fate), u64>,
}

/// An observer that records what it is told.
pub(super) struct Listener(pub(super) Shared<Told>);

impl Observer for Listener {
    fn recorder(&self, _: &str) -> Box<dyn Recorder> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

impl Recorder for Listener {
    fn record(&mut self, seen: &Seen<'_>) {
        let Observed::Settled {
            packet,
            inputs,
            fate,
        } = seen.event
        else {
            return;
        };
        let mut told = lock(&self.0);
        let key = (seen.node.to_owned(), fate);
        *told.settled.entry(key).or_default() += u64::from(inputs.count_ones());
        if fate == Fate::Processed {
            told.handled.push(Handled {
                node: seen.node.to_owned(),
                packet,
                inputs,
            });
        }
    }
}
