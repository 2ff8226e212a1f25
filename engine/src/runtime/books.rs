//! The counters that make up a run's books. Each is written by one thread and read by reports and watchers at any time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::end::EndCell;
use crate::observer::Fate;

/// Adds to a counter that only one thread writes; cheaper than an atomic read-modify-write.
#[inline]
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

/// Reads a counter.
#[inline]
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The reason why a packet left a queue without being received.
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

/// The books of one edge. Each side is written by one thread and has its own cache lines, so that counting at one end
/// does not slow down the other.
#[derive(Default)]
pub(crate) struct EdgeBooks {
    pub(crate) producer: ProducerBooks,
    pub(crate) consumer: ConsumerBooks,
}

#[derive(Default)]
#[repr(align(128))]
pub(crate) struct ProducerBooks {
    pub(crate) sent: AtomicU64,
    /// Drops by cause at the producer: [`DropCause::Oldest`] and [`DropCause::Newest`].
    dropped: [AtomicU64; 2],
    pub(crate) high_water: AtomicU64,
}

#[derive(Default)]
#[repr(align(128))]
pub(crate) struct ConsumerBooks {
    pub(crate) received: AtomicU64,
    aged: AtomicU64,
    /// Packets that the consumer has taken from the channel, received or aged.
    pub(crate) taken: AtomicU64,
    pub(crate) abandoned: AtomicU64,
}

impl EdgeBooks {
    /// Returns the number of packets dropped for a cause.
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

    /// Returns the number of packets that were put into the store and not evicted by the producer.
    pub(crate) fn put(&self) -> u64 {
        let dropped = &self.producer.dropped;
        read(&self.producer.sent) - read(&dropped[0]) - read(&dropped[1])
    }

    /// Returns the number of packets in a ring now; a lane that never returns cannot empty it any more.
    pub(crate) fn in_ring(&self) -> u64 {
        let ConsumerBooks {
            received,
            aged,
            abandoned,
            ..
        } = &self.consumer;
        // In this order: a packet that is taken in the meantime has been put in before.
        let taken = read(received) + read(aged) + read(abandoned);
        let ProducerBooks { sent, dropped, .. } = &self.producer;
        let dropped = read(&dropped[0]) + read(&dropped[1]);
        read(sent).saturating_sub(dropped + taken)
    }

    /// Returns whether a packet did not reach the consumer.
    pub(crate) fn has_lost(&self) -> bool {
        let all = DropCause::ALL.iter();
        let dropped = all.map(|(cause, _)| self.dropped(*cause)).sum::<u64>();
        dropped + read(&self.consumer.abandoned) > 0
    }
}

/// The fates of the packets of one stream that reached one input of one node.
#[derive(Default)]
pub(crate) struct PortBooks {
    pub(crate) received: AtomicU64,
    fates: [AtomicU64; 5],
}

impl PortBooks {
    /// Counts a packet that the node has received.
    #[inline]
    pub(crate) fn receive(&self) {
        count(&self.received, 1);
    }

    /// Counts the fate of a received packet.
    #[inline]
    pub(crate) fn settle(&self, fate: Fate) {
        count(&self.fates[fate as usize], 1);
    }

    /// Returns the number of packets received and not yet settled, which a node that never returned still holds.
    pub(crate) fn in_hand(&self) -> u64 {
        // In this order: a packet that is settled in the meantime has been received before.
        let settled: u64 = self.fates.iter().map(read).sum();
        read(&self.received).saturating_sub(settled)
    }

    /// Returns the number of packets with this fate.
    pub(crate) fn of(&self, fate: Fate) -> u64 {
        read(&self.fates[fate as usize])
    }
}

/// The books of a node, for all its streams together or for some.
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
    /// Adds the books of one stream.
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
        // Only sources capture, and they have no inputs.
        self.processed += read(&flow.captured);
    }

    /// Adds other counts.
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
    /// For each output, the number of handled packets (for a source, captures) without an emitted packet there.
    pub(crate) filtered: Box<[AtomicU64]>,
    /// Number of packets that a source handed to the graph.
    pub(crate) captured: AtomicU64,
    /// Whether the last packet of the stream has been handled here.
    pub(crate) ended: AtomicBool,
    /// How the stream ended, once it has.
    pub(crate) end: EndCell,
    /// Sequence below which everything has been settled here.
    settled: AtomicU64,
    /// Sequence below which everything has been flushed, at a sink that confirms it.
    flushed: Option<AtomicU64>,
    /// Called when either has grown.
    watcher: OnceLock<Watcher>,
}

/// A function that is called when something has been settled.
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

    /// Registers a function to be called whenever something has been settled or flushed here. Only the first one is
    /// kept.
    pub(crate) fn watch(&self, watcher: Watcher) {
        let _ = self.watcher.set(watcher);
    }

    fn tell(&self) {
        if let Some(watcher) = self.watcher.get() {
            watcher();
        }
    }

    /// Records that everything below `next` has been settled here.
    pub(crate) fn settle_below(&self, next: u64) {
        self.settled.store(next, Ordering::Release);
        self.tell();
    }

    /// Records that the actor has flushed everything below `next`.
    pub(crate) fn flush_below(&self, next: u64) {
        if let Some(flushed) = &self.flushed {
            flushed.fetch_max(next, Ordering::Release);
            self.tell();
        }
    }

    /// Returns the sequence below which everything has been settled here, and flushed if the sink confirms that.
    pub(crate) fn settled_position(&self) -> u64 {
        let settled = self.settled.load(Ordering::Acquire);
        let flushed = self.flushed.as_ref();
        flushed.map_or(settled, |flushed| {
            settled.min(flushed.load(Ordering::Acquire))
        })
    }

    /// Returns whether a packet of this input failed, found no match, or was abandoned at this node.
    pub(crate) fn has_lost(&self, port: usize) -> bool {
        let lost = [Fate::Failed, Fate::Unmatched, Fate::Abandoned];
        let books = self.ports.get(port);
        books.is_some_and(|books| lost.iter().any(|&fate| books.of(fate) > 0))
    }
}
