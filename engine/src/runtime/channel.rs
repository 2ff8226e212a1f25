//! The store of an edge between two lanes: a bounded queue; each lane holds one end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use crate::end::{End, EndCell};
use crate::runtime::books::{EdgeBooks, count, read};
use crate::runtime::call::discard;
use crate::runtime::parker::Parker;
use crate::runtime::queued::{Policy, Queued};

pub(crate) struct Channel {
    sender: flume::Sender<Queued>,
    receiver: flume::Receiver<Queued>,
    /// Payload bytes in the queue, if its policy counts them.
    bytes: AtomicU64,
    /// Set when the producer has found no room and sleeps or is about to; cleared by the consumer when there is room
    /// again.
    producer_waits: AtomicBool,
    /// The consumer's `taken` counter as last read by the producer, since the counter itself is in the consumer's
    /// cache.
    taken_seen: AtomicU64,
    producer: Arc<Parker>,
    consumer: Arc<Parker>,
    mark: Mark,
    end: EndCell,
    books: Arc<EdgeBooks>,
}

/// The progress mark, in its own cache line because the consumer polls it.
#[derive(Default)]
#[repr(align(128))]
struct Mark(AtomicU64);

impl Channel {
    pub(crate) fn new(
        policy: &Policy,
        books: Arc<EdgeBooks>,
        producer: Arc<Parker>,
        consumer: Arc<Parker>,
    ) -> Self {
        let (sender, receiver) = flume::bounded(policy.capacity.saturating_add(policy.in_hand));
        Self {
            sender,
            receiver,
            bytes: AtomicU64::new(0),
            producer_waits: AtomicBool::new(false),
            taken_seen: AtomicU64::new(0),
            producer,
            consumer,
            mark: Mark::default(),
            end: EndCell::default(),
            books,
        }
    }

    pub(crate) fn books(&self) -> &Arc<EdgeBooks> {
        &self.books
    }

    /// Returns the number of packets in the queue now. Locks the queue briefly.
    pub(crate) fn depth(&self) -> usize {
        self.receiver.len()
    }

    // The producer's side.

    /// Returns whether there is room. If not, the producer is woken once there is; it may park after polling once more.
    pub(crate) fn has_room(&self, policy: &Policy) -> bool {
        if self.producer_waits.load(Ordering::Acquire) {
            // The consumer has not made enough room yet, or it would have cleared the flag.
            return false;
        }
        if self.is_below(policy) {
            return true;
        }
        self.producer_waits.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        // The queue may have drained before the consumer could see the flag.
        if !self.is_below(policy) {
            return false;
        }
        self.producer_waits.store(false, Ordering::Relaxed);
        true
    }

    fn is_below(&self, policy: &Policy) -> bool {
        let put = self.books.put();
        let capacity = policy.capacity as u64;
        if put - read(&self.taken_seen) >= capacity {
            let taken = read(&self.books.consumer.taken);
            self.taken_seen.store(taken, Ordering::Relaxed);
            if put - taken >= capacity {
                return false;
            }
        }
        let held = || self.bytes.load(Ordering::Relaxed);
        policy.bytes.is_none_or(|most| held() < most)
    }

    /// Returns the packets and bytes in the queue, for a policy that drops.
    pub(crate) fn filling(&self) -> (usize, u64) {
        (self.sender.len(), self.bytes.load(Ordering::Relaxed))
    }

    /// Evicts the oldest packet.
    pub(crate) fn evict(&self) -> Option<Queued> {
        let oldest = self.receiver.try_recv().ok()?;
        self.forget_bytes(&oldest);
        Some(oldest)
    }

    /// Queues a packet; [`Channel::set_mark`] notifies the consumer.
    pub(crate) fn push(&self, queued: Queued, policy: &Policy) {
        if queued.bytes > 0 {
            self.bytes.fetch_add(queued.bytes, Ordering::Relaxed);
        }
        let sent = self.sender.try_send(queued);
        assert!(
            sent.is_ok(),
            "the producer had more packets in hand than the graph check allows for: {policy:?}"
        );
        self.note_depth(policy);
    }

    /// Updates the high-water mark. Reads the consumer's `taken` counter only if the depth may have reached a new
    /// maximum.
    fn note_depth(&self, policy: &Policy) {
        let producer = &self.books.producer;
        let put = self.books.put();
        if put.saturating_sub(read(&self.taken_seen)) <= read(&producer.high_water) {
            return;
        }
        let taken = read(&self.books.consumer.taken);
        self.taken_seen.store(taken, Ordering::Relaxed);
        // A packet that has just been taken may not have been counted as taken yet.
        let most = policy.capacity.saturating_add(policy.in_hand) as u64;
        let depth = put.saturating_sub(taken).min(most);
        if depth > read(&producer.high_water) {
            producer.high_water.store(depth, Ordering::Relaxed);
        }
    }

    /// Sets the mark and wakes the consumer.
    pub(crate) fn set_mark(&self, next: u64) {
        self.mark.0.store(next, Ordering::Release);
        self.consumer.wake();
    }

    /// Sets how the stream ends; must precede the mark that ends it.
    pub(crate) fn set_end(&self, end: End) {
        self.end.set(end);
    }

    // The consumer's side.

    pub(crate) fn mark(&self) -> u64 {
        self.mark.0.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self) -> End {
        self.end.get()
    }

    /// Takes the oldest packet, and wakes the producer if it waits for room and there is enough now.
    pub(crate) fn receive(&self, policy: &Policy) -> Option<Queued> {
        let queued = self.receiver.try_recv().ok()?;
        self.forget_bytes(&queued);
        count(&self.books.consumer.taken, 1);
        fence(Ordering::SeqCst);
        if self.producer_waits.load(Ordering::Relaxed)
            && self.receiver.len() <= policy.wake_at
            && self.producer_waits.swap(false, Ordering::AcqRel)
        {
            self.producer.wake();
        }
        Some(queued)
    }

    fn forget_bytes(&self, queued: &Queued) {
        if queued.bytes > 0 {
            self.bytes.fetch_sub(queued.bytes, Ordering::Relaxed);
        }
    }

    /// Empties the queue of a finished run, counting each packet as abandoned. To be called only once neither end is
    /// running.
    pub(crate) fn abandon(&self) {
        while let Ok(queued) = self.receiver.try_recv() {
            count(&self.books.consumer.abandoned, 1);
            discard(queued);
        }
    }
}
