//! What the data plane gets from whoever runs it: the clock, where events go, and who runs the replicas.
//!
//! In production these are the machine's clock, the supervisor's mailbox and threads; in a simulation everything is
//! virtual and stepped on one thread.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::runtime::pool::Worker;
use crate::runtime::protocol::{EventSink, NodeId};

/// A packet that a sink has handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) node: NodeId,
    pub(crate) stream: u32,
    pub(crate) sequence: u64,
    pub(crate) inputs: u64,
}

/// Is told of each delivery; only a simulation wants to know.
pub(crate) type DeliverySink = Arc<dyn Fn(Delivered) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) clock: Clock,
    pub(crate) events: EventSink,
    pub(crate) workers: Workers,
    pub(crate) deliveries: Option<DeliverySink>,
}

/// Who runs the replicas of a node.
#[derive(Clone)]
pub(crate) enum Workers {
    /// Each has a thread of its own.
    Threads,
    /// They wait here to be stepped.
    Stepped(Arc<Mutex<Vec<Worker>>>),
}

impl Workers {
    /// Starts a replica. Stepped ones begin with the job that waits for them: the actor's creation.
    pub(crate) fn start(&self, name: String, mut worker: Worker) -> std::io::Result<()> {
        match self {
            Self::Threads => {
                let builder = std::thread::Builder::new().name(name);
                builder.spawn(move || worker.run()).map(|_| ())
            }
            Self::Stepped(workers) => {
                worker.step();
                let mut workers = workers.lock().unwrap_or_else(PoisonError::into_inner);
                workers.push(worker);
                Ok(())
            }
        }
    }
}
