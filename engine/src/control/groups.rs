//! Instances that begin together: those of the graph file are group 0, each added stream is one more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::runtime::protocol::NodeId;

/// Instances that have been wired and are being created.
pub(crate) struct Launch {
    pub(crate) group: usize,
    pub(crate) nodes: Vec<NodeId>,
    /// Faults of the run that were known before.
    pub(crate) known_faults: usize,
    /// Told whether all of them could be created; disconnected if the run ends before that is known.
    pub(crate) created: flume::Receiver<bool>,
}

struct Group {
    nodes: Vec<NodeId>,
    /// Lets the group's sources begin.
    started: Arc<AtomicBool>,
    waiter: Option<flume::Sender<bool>>,
}

/// The groups of a run.
#[derive(Default)]
pub(crate) struct Groups {
    all: HashMap<usize, Group>,
    next: usize,
    /// Nothing begins any more.
    is_closed: bool,
}

impl Groups {
    /// Adds a group; the receiver is told whether it could be created.
    pub(crate) fn add(
        &mut self,
        nodes: &[NodeId],
        started: &Arc<AtomicBool>,
    ) -> (usize, flume::Receiver<bool>) {
        let (waiter, created) = flume::bounded(1);
        let number = self.next;
        self.next += 1;
        let group = Group {
            nodes: nodes.to_vec(),
            started: Arc::clone(started),
            waiter: (!self.is_closed).then_some(waiter),
        };
        self.all.insert(number, group);
        (number, created)
    }

    pub(crate) fn nodes(&self, group: usize) -> Vec<NodeId> {
        let group = self.all.get(&group);
        group.map(|group| group.nodes.clone()).unwrap_or_default()
    }

    /// Lets a group's sources begin. Returns its instances.
    pub(crate) fn start(&mut self, group: usize) -> Vec<NodeId> {
        if let Some(group) = self.all.get(&group) {
            group.started.store(true, Ordering::Release);
        }
        self.answer(group, true);
        self.nodes(group)
    }

    /// Tells who waits for a group whether it could be created.
    pub(crate) fn answer(&mut self, group: usize, created: bool) {
        let group = self.all.get_mut(&group);
        if let Some(waiter) = group.and_then(|group| group.waiter.take()) {
            // Whoever gave up waiting does not want to know.
            let _ = waiter.send(created);
        }
    }

    /// Forgets a group whose instances are gone.
    pub(crate) fn forget(&mut self, group: usize) {
        self.all.remove(&group);
    }

    /// Whether the run ends, and who waited for a group was told so: what is created now does not count as begun.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The run ends: nobody waits any more.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        for group in self.all.values_mut() {
            group.waiter = None;
        }
    }
}
