//! Groups of instances that begin together: those of the graph file are group 0, each added stream is another group.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::runtime::protocol::NodeId;

/// Instances that have been wired and are being created.
pub(crate) struct Launch {
    pub(crate) group: usize,
    pub(crate) nodes: Vec<NodeId>,
    /// Number of faults that were known before.
    pub(crate) known_faults: usize,
    /// Receives whether all of them could be created; disconnected if the run ends before that is known.
    pub(crate) created: flume::Receiver<bool>,
}

struct Group {
    nodes: Vec<NodeId>,
    /// Set to let the group's sources begin.
    started: Arc<AtomicBool>,
    waiter: Option<flume::Sender<bool>>,
}

/// The groups of a run.
#[derive(Default)]
pub(crate) struct Groups {
    all: HashMap<usize, Group>,
    next: usize,
    /// Set once nothing begins any more.
    is_closed: bool,
}

impl Groups {
    /// Adds a group. Returns its number and a receiver for whether it could be created.
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

    /// Reports to the waiter of a group whether it could be created.
    pub(crate) fn answer(&mut self, group: usize, created: bool) {
        let group = self.all.get_mut(&group);
        if let Some(waiter) = group.and_then(|group| group.waiter.take()) {
            // If the waiter is gone, nobody needs the answer.
            let _ = waiter.send(created);
        }
    }

    /// Removes a group whose instances are gone.
    pub(crate) fn forget(&mut self, group: usize) {
        self.all.remove(&group);
    }

    /// Returns whether the run is ending and waiters have been released; groups created now do not count as begun.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Marks the run as ending and releases all waiters.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        for group in self.all.values_mut() {
            group.waiter = None;
        }
    }
}
