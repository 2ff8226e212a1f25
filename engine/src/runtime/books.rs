//! The counters that make a run's books: written by one thread each, read by reports and watchers at any time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::end::EndCell;
use crate::observer::Fate;

/// Adds to a counter that only one thread writes; cheaper than a locked addition.
#[inline]
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

/// Reads a counter.
#[inline]
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Why a packet left a queue without being received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropCause {
    Oldest = 0,
    Newest = 1,
    Aged = 2,
}

impl DropCause {
    pub(crate) const ALL: [(Self, &'static str); 3] = [
        (Self::Oldest, "drop_oldest"),
        (Self::Newest, "drop_newest"),
        (Self::Aged, "max_age"),
    ];
}

/// Counts of one edge. Each side is written by one thread and has cache lines of its own, so that counting on one end
/// does not slow the other.
#[derive(Default)]
pub(crate) struct EdgeBooks {
    pub(crate) producer: ProducerBooks,
    pub(crate) consumer: ConsumerBooks,
}

#[derive(Default)]
#[repr(align(128))]
pub(crate) struct ProducerBooks {
    pub(crate) sent: AtomicU64,
    /// By the causes at the producer: [`DropCause::Oldest`] and [`DropCause::Newest`].
    dropped: [AtomicU64; 2],
    pub(crate) high_water: AtomicU64,
}

#[derive(Default)]
#[repr(align(128))]
pub(crate) struct ConsumerBooks {
    pub(crate) received: AtomicU64,
    aged: AtomicU64,
    /// Packets that the consumer has taken out, received or aged.
    pub(crate) taken: AtomicU64,
    pub(crate) abandoned: AtomicU64,
}

impl EdgeBooks {
    /// Packets dropped for a cause.
    pub(crate) fn dropped(&self, cause: DropCause) -> u64 {
        read(self.dropped_counter(cause))
    }

    /// Counts a packet as dropped.
    pub(crate) fn drop_one(&self, cause: DropCause) {
        count(self.dropped_counter(cause), 1);
    }

    fn dropped_counter(&self, cause: DropCause) -> &AtomicU64 {
        match cause {
            DropCause::Oldest | DropCause::Newest => &self.producer.dropped[cause as usize],
            DropCause::Aged => &self.consumer.aged,
        }
    }

    /// Packets that were put into the store and not taken out by the producer itself.
    pub(crate) fn put(&self) -> u64 {
        let dropped = &self.producer.dropped;
        read(&self.producer.sent) - read(&dropped[0]) - read(&dropped[1])
    }

    /// Packets of a ring that are in it now: what a lane that never returns cannot empty any more.
    pub(crate) fn in_ring(&self) -> u64 {
        let ConsumerBooks {
            received,
            aged,
            abandoned,
            ..
        } = &self.consumer;
        // In this order: whatever is taken meanwhile was put there before.
        let taken = read(received) + read(aged) + read(abandoned);
        let ProducerBooks { sent, dropped, .. } = &self.producer;
        let dropped = read(&dropped[0]) + read(&dropped[1]);
        read(sent).saturating_sub(dropped + taken)
    }

    /// Whether a packet of it did not get to the consumer.
    pub(crate) fn has_lost(&self) -> bool {
        let all = DropCause::ALL.iter();
        let dropped = all.map(|(cause, _)| self.dropped(*cause)).sum::<u64>();
        dropped + read(&self.consumer.abandoned) > 0
    }
}

/// What became of the packets of one stream that reached one input of one node.
#[derive(Default)]
pub(crate) struct PortBooks {
    pub(crate) received: AtomicU64,
    fates: [AtomicU64; 5],
}

impl PortBooks {
    /// A packet has come into the node's hands.
    #[inline]
    pub(crate) fn receive(&self) {
        count(&self.received, 1);
    }

    /// What became of a packet that was in hand.
    #[inline]
    pub(crate) fn settle(&self, fate: Fate) {
        count(&self.fates[fate as usize], 1);
    }

    /// Received and not yet accounted for; what a node that never returned is holding.
    pub(crate) fn in_hand(&self) -> u64 {
        // In this order: what is settled meanwhile was received before.
        let settled: u64 = self.fates.iter().map(read).sum();
        read(&self.received).saturating_sub(settled)
    }

    /// Packets with this fate.
    pub(crate) fn of(&self, fate: Fate) -> u64 {
        read(&self.fates[fate as usize])
    }
}

/// The books of a node, of all its streams together or of some.
#[derive(Clone, Copy, Default)]
pub(crate) struct NodeCounts {
    pub(crate) received: u64,
    pub(crate) processed: u64,
    pub(crate) failed: u64,
    pub(crate) unmatched: u64,
    pub(crate) abandoned: u64,
    pub(crate) finished: u64,
    pub(crate) in_hand: u64,
}

impl NodeCounts {
    /// Adds one stream.
    pub(crate) fn add(&mut self, flow: &FlowBooks) {
        for port in &flow.ports {
            self.received += read(&port.received);
            self.processed += port.of(Fate::Processed);
            self.failed += port.of(Fate::Failed);
            self.unmatched += port.of(Fate::Unmatched);
            self.abandoned += port.of(Fate::Abandoned);
            self.finished += port.of(Fate::Finished);
            self.in_hand += port.in_hand();
        }
        // Only a source captures, and it has no inputs.
        self.processed += read(&flow.captured);
    }

    /// Adds other ones.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.received += other.received;
        self.processed += other.processed;
        self.failed += other.failed;
        self.unmatched += other.unmatched;
        self.abandoned += other.abandoned;
        self.finished += other.finished;
        self.in_hand += other.in_hand;
    }
}

/// The books of one stream at one node.
pub(crate) struct FlowBooks {
    pub(crate) ports: Box<[PortBooks]>,
    /// Per output: handled packets (of a source: captures) for which the actor emitted nothing there.
    pub(crate) filtered: Box<[AtomicU64]>,
    /// Packets that a source handed to the graph.
    pub(crate) captured: AtomicU64,
    /// The last packet of the stream has been handled here.
    pub(crate) ended: AtomicBool,
    /// How, once it has.
    pub(crate) end: EndCell,
    /// Everything below has been settled here.
    settled: AtomicU64,
    /// Everything below has been flushed, at a sink that confirms it.
    flushed: Option<AtomicU64>,
    /// Called when either has grown.
    watcher: OnceLock<Watcher>,
}

/// What is called when something has been settled.
pub(crate) type Watcher = Arc<dyn Fn() + Send + Sync>;

impl FlowBooks {
    pub(crate) fn new(inputs: usize, outputs: usize, confirms_flushes: bool) -> Self {
        Self {
            ports: (0..inputs).map(|_| PortBooks::default()).collect(),
            filtered: (0..outputs).map(|_| AtomicU64::new(0)).collect(),
            captured: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            end: EndCell::default(),
            settled: AtomicU64::new(0),
            flushed: confirms_flushes.then(AtomicU64::default),
            watcher: OnceLock::new(),
        }
    }

    /// Has a function called whenever something has been settled or flushed here. There is one at most: the first.
    pub(crate) fn watch(&self, watcher: Watcher) {
        let _ = self.watcher.set(watcher);
    }

    fn tell(&self) {
        if let Some(watcher) = self.watcher.get() {
            watcher();
        }
    }

    /// Everything below has been settled here.
    pub(crate) fn settle_below(&self, next: u64) {
        self.settled.store(next, Ordering::Release);
        self.tell();
    }

    /// The actor confirms that it has flushed everything below.
    pub(crate) fn flush_below(&self, next: u64) {
        if let Some(flushed) = &self.flushed {
            flushed.fetch_max(next, Ordering::Release);
            self.tell();
        }
    }

    /// The sequence below which everything has been settled here, and flushed where that is confirmed.
    pub(crate) fn settled_position(&self) -> u64 {
        let settled = self.settled.load(Ordering::Acquire);
        let flushed = self.flushed.as_ref();
        flushed.map_or(settled, |flushed| {
            settled.min(flushed.load(Ordering::Acquire))
        })
    }

    /// Whether a packet that came by an input came to grief at this node.
    pub(crate) fn has_lost(&self, port: usize) -> bool {
        let lost = [Fate::Failed, Fate::Unmatched, Fate::Abandoned];
        let books = self.ports.get(port);
        books.is_some_and(|books| lost.iter().any(|&fate| books.of(fate) > 0))
    }
}
