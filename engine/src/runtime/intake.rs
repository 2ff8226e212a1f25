//! Where the packets of one input of a flow come from: a queue, or a hand-over inside the lane.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::runtime::link::{END, Link, LinkBooks, Queued};

/// Where an input's packets come from.
pub(crate) enum Intake {
    /// Another lane, through a queue.
    Link {
        link: Arc<Link>,
        head: Option<Queued>,
        /// Nothing below this sequence is in the queue: while the mark is not above it, there is nothing to look for.
        seen: u64,
    },
    /// The same lane, by hand-over.
    Lane {
        queue: VecDeque<Queued>,
        next: u64,
        books: Arc<LinkBooks>,
    },
}

impl Intake {
    /// An input that nothing reaches.
    pub(crate) fn ended() -> Self {
        Self::Lane {
            queue: VecDeque::new(),
            next: END,
            books: Arc::default(),
        }
    }

    pub(super) fn take(&mut self) -> Option<Queued> {
        match self {
            Self::Link { head, .. } => head.take(),
            Self::Lane { queue, .. } => queue.pop_front(),
        }
    }

    pub(super) fn mark(&self) -> u64 {
        match self {
            Self::Link { link, .. } => link.next(),
            Self::Lane { next, .. } => *next,
        }
    }
}
