//! One edge's queue for one stream: bounded storage, its policy, the progress mark beside it and its books.
//!
//! A link has one producing lane and one consuming lane; both hold it in an `Arc`. All operations return at once: who
//! cannot go on parks in its own lane and is woken by the other end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use crate::graph::WhenFull;
use crate::packet::Packet;
use crate::runtime::parker::Parker;

/// The mark of a stream that has ended on this link: no sequence can come any more.
pub(crate) const END: u64 = u64::MAX;

/// What a consumer wants of its queue; see the graph file's `queue:`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) capacity: usize,
    pub(crate) bytes: Option<u64>,
    pub(crate) full: WhenFull,
    pub(crate) max_age_ns: Option<u64>,
    /// A suspended producer is woken when the queue has drained to this length: few wake-ups for a plain consumer,
    /// at once for a join, which may wait for what the suspended producer sends elsewhere.
    pub(crate) wake_at: usize,
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

/// Counts of one link. Written by one side each, read by reports at any time.
#[derive(Default)]
pub(crate) struct LinkBooks {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) dropped: [AtomicU64; 3],
    pub(crate) abandoned: AtomicU64,
    pub(crate) high_water: AtomicU64,
    /// Packets that the producer holds because the queue is full; they count as sent and abandoned if the run stops there.
    /// Inside a lane: packets on their way, which count as sent already.
    pub(crate) suspended: AtomicU64,
}

/// The queueing time of a packet that was handed over inside its lane and never stood in a queue.
pub(crate) const HANDED_OVER: u64 = u64::MAX;

/// A packet in a queue and the time at which it was queued.
pub(crate) struct Queued {
    pub(crate) packet: Packet,
    pub(crate) queued_ns: u64,
}

pub(crate) struct Link {
    policy: Policy,
    sender: flume::Sender<Queued>,
    receiver: flume::Receiver<Queued>,
    bytes: AtomicU64,
    /// All sequences below this have been sent or have ended upstream.
    next: AtomicU64,
    producer_suspended: AtomicBool,
    producer: Arc<Parker>,
    consumer: Arc<Parker>,
    pub(crate) books: LinkBooks,
}

impl Link {
    pub(crate) fn new(policy: Policy, producer: Arc<Parker>, consumer: Arc<Parker>) -> Self {
        let (sender, receiver) = flume::bounded(policy.capacity);
        Self {
            policy,
            sender,
            receiver,
            bytes: AtomicU64::new(0),
            next: AtomicU64::new(0),
            producer_suspended: AtomicBool::new(false),
            producer,
            consumer,
            books: LinkBooks::default(),
        }
    }

    /// Queues a packet by the link's policy, or hands it back if the queue is full and the policy is to block. The
    /// producer then calls [`Link::suspend`], tries once more, and parks.
    pub(crate) fn send(&self, packet: Packet, now_ns: u64) -> Result<(), Packet> {
        let sequence = packet.envelope.sequence;
        let size = self
            .policy
            .bytes
            .map_or(0, |_| packet.payload.bytes() as u64);
        let mut queued = Queued {
            packet,
            queued_ns: now_ns,
        };
        loop {
            if self.has_room_for(size) {
                match self.sender.try_send(queued) {
                    Ok(()) => break,
                    Err(error) => queued = error.into_inner(),
                }
            }
            match self.policy.full {
                WhenFull::Block => return Err(queued.packet),
                WhenFull::DropNewest => {
                    self.books.sent.fetch_add(1, Ordering::Relaxed);
                    self.count_drop(DropCause::Newest);
                    self.advance(sequence + 1);
                    return Ok(());
                }
                WhenFull::DropOldest => {
                    if let Ok(oldest) = self.receiver.try_recv() {
                        self.forget_bytes(&oldest);
                        self.count_drop(DropCause::Oldest);
                    }
                }
            }
        }
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.books.sent.fetch_add(1, Ordering::Relaxed);
        let depth = self.sender.len() as u64;
        if depth > self.books.high_water.load(Ordering::Relaxed) {
            self.books.high_water.store(depth, Ordering::Relaxed);
        }
        self.next.store(sequence + 1, Ordering::Release);
        self.consumer.wake();
        Ok(())
    }

    /// A packet larger than `bytes` is admitted alone, so an empty queue has room for anything.
    fn has_room_for(&self, size: u64) -> bool {
        match self.policy.bytes {
            None => true,
            Some(most) => {
                let held = self.bytes.load(Ordering::Relaxed);
                held + size <= most || self.sender.is_empty()
            }
        }
    }

    fn forget_bytes(&self, queued: &Queued) {
        if self.policy.bytes.is_some() {
            let size = queued.packet.payload.bytes() as u64;
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
    }

    fn count_drop(&self, cause: DropCause) {
        self.books.dropped[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Moves the mark: all sequences below `next` have been sent or have ended.
    pub(crate) fn advance(&self, next: u64) {
        if next > self.next.load(Ordering::Relaxed) {
            self.next.store(next, Ordering::Release);
            self.consumer.wake();
        }
    }

    /// Asks to be woken when there is room; the caller tries [`Link::send`] once more afterwards.
    pub(crate) fn suspend(&self) {
        self.producer_suspended.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The mark. Read it before [`Link::receive`]: what an empty queue then proves is that nothing below it is left.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Takes the oldest packet that has not aged.
    pub(crate) fn receive(&self, now_ns: u64) -> Option<Queued> {
        loop {
            let queued = self.receiver.try_recv().ok()?;
            self.forget_bytes(&queued);
            self.wake_suspended_producer();
            let aged = self.policy.max_age_ns.is_some_and(|most| {
                now_ns.saturating_sub(queued.packet.envelope.captured_ns) > most
            });
            if aged {
                self.count_drop(DropCause::Aged);
                continue;
            }
            self.books.received.fetch_add(1, Ordering::Relaxed);
            return Some(queued);
        }
    }

    fn wake_suspended_producer(&self) {
        fence(Ordering::SeqCst);
        if self.producer_suspended.load(Ordering::Relaxed)
            && self.receiver.len() <= self.policy.wake_at
            && self.producer_suspended.swap(false, Ordering::AcqRel)
        {
            self.producer.wake();
        }
    }

    /// Empties the queue of a run that has been stopped, counting each packet as abandoned. Only once neither end runs.
    pub(crate) fn abandon(&self) {
        while self.receiver.try_recv().is_ok() {
            self.books.abandoned.fetch_add(1, Ordering::Relaxed);
        }
        let suspended = self.books.suspended.swap(0, Ordering::Relaxed);
        self.books.sent.fetch_add(suspended, Ordering::Relaxed);
        self.books.abandoned.fetch_add(suspended, Ordering::Relaxed);
    }
}
