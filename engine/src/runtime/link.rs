//! One edge's queue for one stream: bounded storage, its policy, the progress mark beside it and its books.
//!
//! A link has one producing lane and one consuming lane; both hold it in an `Arc`. All operations return at once: who
//! cannot go on parks in its own lane and is woken by the other end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use crate::graph::WhenFull;
use crate::packet::Packet;
use crate::runtime::books::{count, read};
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

/// Counts of one link, read by reports at any time. Each side is written by one thread and has cache lines of its own, so
/// that counting on one end does not slow the other.
#[derive(Default)]
pub(crate) struct LinkBooks {
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
    /// The consumer's `taken` when it was last looked at.
    taken_seen: AtomicU64,
    /// Packets that the producer holds because the queue is full; they count as sent and abandoned if the run stops there.
    /// Inside a lane: packets on their way, which count as sent already.
    pub(crate) suspended: AtomicU64,
}

#[derive(Default)]
#[repr(align(128))]
pub(crate) struct ConsumerBooks {
    pub(crate) received: AtomicU64,
    aged: AtomicU64,
    /// Packets that the consumer has taken out, received or aged.
    taken: AtomicU64,
    pub(crate) abandoned: AtomicU64,
}

impl LinkBooks {
    /// Packets dropped for a cause.
    pub(crate) fn dropped(&self, cause: DropCause) -> u64 {
        read(match cause {
            DropCause::Oldest | DropCause::Newest => &self.producer.dropped[cause as usize],
            DropCause::Aged => &self.consumer.aged,
        })
    }
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
    producer_suspended: AtomicBool,
    producer: Arc<Parker>,
    consumer: Arc<Parker>,
    mark: Mark,
    pub(crate) books: LinkBooks,
}

/// All sequences below this have been sent or have ended upstream.
#[derive(Default)]
#[repr(align(128))]
struct Mark(AtomicU64);

impl Link {
    pub(crate) fn new(policy: Policy, producer: Arc<Parker>, consumer: Arc<Parker>) -> Self {
        let (sender, receiver) = flume::bounded(policy.capacity);
        Self {
            policy,
            sender,
            receiver,
            bytes: AtomicU64::new(0),
            producer_suspended: AtomicBool::new(false),
            producer,
            consumer,
            mark: Mark::default(),
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
                    count(&self.books.producer.sent, 1);
                    count(&self.books.producer.dropped[DropCause::Newest as usize], 1);
                    self.advance(sequence + 1);
                    return Ok(());
                }
                WhenFull::DropOldest => {
                    if let Ok(oldest) = self.receiver.try_recv() {
                        self.forget_bytes(&oldest);
                        count(&self.books.producer.dropped[DropCause::Oldest as usize], 1);
                    }
                }
            }
        }
        if self.policy.bytes.is_some() {
            self.bytes.fetch_add(size, Ordering::Relaxed);
        }
        count(&self.books.producer.sent, 1);
        self.note_depth();
        debug_assert!(sequence >= self.next(), "{sequence} is sent after its mark");
        self.mark.0.store(sequence + 1, Ordering::Release);
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

    /// Keeps the high-water mark. How many packets the consumer has taken is looked up only when as many as were never in
    /// the queue before may be in it: the counter is in the other end's cache.
    fn note_depth(&self) {
        let books = &self.books.producer;
        let put = read(&books.sent) - read(&books.dropped[0]) - read(&books.dropped[1]);
        if put - read(&books.taken_seen) <= read(&books.high_water) {
            return;
        }
        let taken = read(&self.books.consumer.taken);
        books.taken_seen.store(taken, Ordering::Relaxed);
        // A packet that has just been taken may not have been counted as taken yet.
        let depth = put.saturating_sub(taken).min(self.policy.capacity as u64);
        if depth > read(&books.high_water) {
            books.high_water.store(depth, Ordering::Relaxed);
        }
    }

    /// Moves the mark: all sequences below `next` have been sent or have ended.
    pub(crate) fn advance(&self, next: u64) {
        if next > self.mark.0.load(Ordering::Relaxed) {
            self.mark.0.store(next, Ordering::Release);
            self.consumer.wake();
        }
    }

    /// Asks to be woken when there is room; the caller tries [`Link::send`] once more afterwards.
    pub(crate) fn suspend(&self) {
        self.producer_suspended.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Whether the queue has not drained since [`Link::suspend`], so that trying again would be in vain.
    pub(crate) fn is_still_full(&self) -> bool {
        self.producer_suspended.load(Ordering::Acquire)
    }

    /// The mark. Read it before [`Link::receive`]: what an empty queue then proves is that nothing below it is left.
    pub(crate) fn next(&self) -> u64 {
        self.mark.0.load(Ordering::Acquire)
    }

    /// Takes the oldest packet that has not aged.
    pub(crate) fn receive(&self, now_ns: u64) -> Option<Queued> {
        loop {
            let queued = self.receiver.try_recv().ok()?;
            self.forget_bytes(&queued);
            count(&self.books.consumer.taken, 1);
            self.wake_suspended_producer();
            let aged = self.policy.max_age_ns.is_some_and(|most| {
                now_ns.saturating_sub(queued.packet.envelope.captured_ns) > most
            });
            if aged {
                count(&self.books.consumer.aged, 1);
                continue;
            }
            count(&self.books.consumer.received, 1);
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
            count(&self.books.consumer.abandoned, 1);
        }
        let suspended = self.books.producer.suspended.swap(0, Ordering::Relaxed);
        count(&self.books.producer.sent, suspended);
        count(&self.books.consumer.abandoned, suspended);
    }
}
