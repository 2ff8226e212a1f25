//! The environment of the data plane: the clock, the sink of events, the observer of packets, and what runs the
//! replicas.
//!
//! In production these are the machine's clock, the supervisor's mailbox and threads; in a simulation everything is
//! virtual and stepped on one thread.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::clock::Clock;
use crate::lock::lock;
use crate::observer::Observer;
use crate::runtime::protocol::EventSink;
use crate::runtime::replica::Worker;
use crate::services::Services;

#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) clock: Clock,
    pub(crate) events: EventSink,
    pub(crate) workers: Workers,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) services: Services,
}

/// How the replicas of a node are run.
#[derive(Clone)]
pub(crate) enum Workers {
    /// Each has a thread of its own.
    Threads,
    /// They are kept here and stepped.
    Stepped(Arc<Mutex<Vec<Worker>>>),
}

impl Workers {
    /// Starts a replica. A stepped one does its first job, the actor's creation, at once.
    pub(crate) fn start(
        &self,
        name: String,
        mut worker: Worker,
    ) -> std::io::Result<Option<JoinHandle<()>>> {
        match self {
            Self::Threads => {
                let builder = std::thread::Builder::new().name(name);
                builder.spawn(move || worker.run()).map(Some)
            }
            Self::Stepped(workers) => {
                worker.step();
                let mut workers = lock(workers);
                workers.push(worker);
                Ok(None)
            }
        }
    }
}
