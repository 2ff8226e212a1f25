//! An edge: one stream between an output and an input. It consists of a bounded store with a policy, a progress mark,
//! books, and an end.
//!
//! There are two kinds of store: a channel if producer and consumer are in different lanes, a ring if they share one.
//! Nothing above this file knows which. No operation waits: a producer checks for room before it takes what it will
//! publish, and then sends; a side that cannot proceed parks in its own lane, and the other side wakes it.
//!
//! The mark: all sequences below it have been sent or have ended upstream. If the store is empty *after* the mark has
//! been read, nothing below the mark is left. The end of the stream is the largest mark, and says how the stream ended.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::end::End;
use crate::graph::WhenFull;
use crate::packet::Packet;
use crate::runtime::books::{DropCause, EdgeBooks, PortBooks, count, read};
use crate::runtime::call::discard;
use crate::runtime::channel::Channel;
use crate::runtime::queued::{END, Policy, Queued};

/// An edge as one lane holds it: both ends of a ring, or one end of a channel.
pub(crate) struct Edge {
    policy: Policy,
    store: Store,
    books: Arc<EdgeBooks>,
}

enum Store {
    Ring(Ring),
    Sending(Arc<Channel>),
    Receiving {
        channel: Arc<Channel>,
        head: Option<Queued>,
        /// No packet below this sequence is in the channel: unless the mark is above it, there is nothing to receive.
        seen: u64,
    },
}

struct Ring {
    queue: VecDeque<Queued>,
    bytes: u64,
    mark: u64,
    end: End,
    /// Node and slot that receive the packets, both in this lane.
    to: (usize, usize),
}

impl Edge {
    /// Returns an edge with both ends in one lane; packets arrive at the node and slot `to` of the lane.
    pub(crate) fn ring(policy: Policy, books: Arc<EdgeBooks>, to: (usize, usize)) -> Self {
        let ring = Ring {
            queue: VecDeque::new(),
            bytes: 0,
            mark: 0,
            end: End::default(),
            to,
        };
        Self {
            policy,
            store: Store::Ring(ring),
            books,
        }
    }

    /// Returns the producer's end of an edge to another lane.
    pub(crate) fn sending(policy: Policy, channel: Arc<Channel>) -> Self {
        Self {
            policy,
            books: Arc::clone(channel.books()),
            store: Store::Sending(channel),
        }
    }

    /// Returns the consumer's end of an edge from another lane.
    pub(crate) fn receiving(policy: Policy, channel: Arc<Channel>) -> Self {
        Self {
            policy,
            books: Arc::clone(channel.books()),
            store: Store::Receiving {
                channel,
                head: None,
                seen: 0,
            },
        }
    }

    /// Returns an edge for an input that no packet reaches.
    pub(crate) fn ended() -> Self {
        let policy = Policy {
            capacity: 1,
            bytes: None,
            full: WhenFull::Block,
            max_age_ns: None,
            wake_at: 0,
            in_hand: 0,
        };
        let mut edge = Self::ring(policy, Arc::default(), (0, 0));
        edge.set_mark(END);
        edge
    }

    /// Returns the node and slot that receive the packets, if they are in this lane.
    #[inline]
    pub(crate) fn arrives_at(&self) -> Option<(usize, usize)> {
        match &self.store {
            Store::Ring(ring) => Some(ring.to),
            _ => None,
        }
    }

    /// Returns whether its packets come from another lane.
    pub(crate) fn comes_from_outside(&self) -> bool {
        matches!(self.store, Store::Receiving { .. })
    }

    // The producer's side.

    /// Returns whether the producer may have to wait for room.
    #[inline]
    pub(crate) fn can_be_full(&self) -> bool {
        self.policy.full == WhenFull::Block
    }

    /// Returns whether the producer may take what it will publish here. If not, it is woken once there is room.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        if !self.can_be_full() {
            return true;
        }
        match &self.store {
            Store::Ring(ring) => {
                ring.queue.len() < self.policy.capacity
                    && self.policy.bytes.is_none_or(|most| ring.bytes < most)
            }
            Store::Sending(channel) => channel.has_room(&self.policy),
            Store::Receiving { .. } => false,
        }
    }

    /// Sends a packet; returns where it arrives, if that is in this lane. Never waits: for a queue that blocks, the
    /// producer has checked for room before. `bytes` is the size of the payload, or `None` if it panicked when asked.
    #[inline]
    pub(crate) fn send(
        &mut self,
        packet: Packet,
        bytes: Option<u64>,
        now_ns: u64,
    ) -> Option<(usize, usize)> {
        let sequence = packet.envelope.sequence;
        let (bytes, is_broken) = match self.policy.bytes {
            Some(_) => (bytes.unwrap_or(0), bytes.is_none()),
            None => (0, false),
        };
        count(&self.books.producer.sent, 1);
        if self.policy.full != WhenFull::Block && !self.make_room(bytes) {
            self.books.drop_one(DropCause::Newest);
            discard(packet);
            self.advance(sequence + 1);
            return self.arrives_at();
        }
        debug_assert!(sequence >= self.mark(), "{sequence} is sent after its mark");
        let queued = Queued {
            packet,
            bytes,
            is_broken,
            queued_ns: now_ns,
        };
        match &mut self.store {
            Store::Ring(ring) => {
                ring.bytes = ring.bytes.saturating_add(bytes);
                ring.queue.push_back(queued);
                ring.mark = sequence + 1;
                let (depth, high) = (ring.queue.len() as u64, &self.books.producer.high_water);
                if depth > read(high) {
                    high.store(depth, Ordering::Relaxed);
                }
                Some(ring.to)
            }
            Store::Sending(channel) => {
                channel.push(queued, &self.policy);
                channel.set_mark(sequence + 1);
                None
            }
            Store::Receiving { .. } => None,
        }
    }

    /// Returns whether a packet of this size fits into a queue that drops, after evicting the oldest packets if the
    /// policy says so. A packet larger than the queue's limit is admitted alone.
    fn make_room(&mut self, bytes: u64) -> bool {
        loop {
            let (packets, held) = match &self.store {
                Store::Ring(ring) => (ring.queue.len(), ring.bytes),
                Store::Sending(channel) => channel.filling(),
                Store::Receiving { .. } => return true,
            };
            let fits = packets < self.policy.capacity
                && self
                    .policy
                    .bytes
                    .is_none_or(|most| held.saturating_add(bytes) <= most);
            if fits || packets == 0 {
                return true;
            }
            if self.policy.full == WhenFull::DropNewest {
                return false;
            }
            let oldest = match &mut self.store {
                Store::Ring(ring) => ring.pop(),
                Store::Sending(channel) => channel.evict(),
                Store::Receiving { .. } => None,
            };
            // The consumer may have taken it first.
            if let Some(oldest) = oldest {
                self.books.drop_one(DropCause::Oldest);
                discard(oldest);
            }
        }
    }

    /// Advances the mark: all sequences below `next` have been sent or have ended.
    pub(crate) fn advance(&mut self, next: u64) {
        if next > self.mark() {
            self.set_mark(next);
        }
    }

    /// Ends the stream here.
    pub(crate) fn finish(&mut self, end: End) {
        match &mut self.store {
            Store::Ring(ring) => ring.end = end,
            Store::Sending(channel) => channel.set_end(end),
            Store::Receiving { .. } => {}
        }
        self.advance(END);
    }

    #[inline]
    fn set_mark(&mut self, next: u64) {
        match &mut self.store {
            Store::Ring(ring) => ring.mark = next,
            Store::Sending(channel) => channel.set_mark(next),
            Store::Receiving { .. } => {}
        }
    }

    // The consumer's side.

    /// Returns the mark. Read it before checking for a packet.
    #[inline]
    pub(crate) fn mark(&self) -> u64 {
        match &self.store {
            Store::Ring(ring) => ring.mark,
            Store::Sending(channel) | Store::Receiving { channel, .. } => channel.mark(),
        }
    }

    /// Returns how the stream ended, and whether the queue has lost packets of it. Valid only once the mark says that
    /// it has ended.
    pub(crate) fn end(&self) -> End {
        let end = match &self.store {
            Store::Ring(ring) => ring.end,
            Store::Sending(channel) | Store::Receiving { channel, .. } => channel.end(),
        };
        End {
            lost: end.lost || self.books.has_lost(),
            ..end
        }
    }

    /// Returns whether there is a packet, without receiving it.
    pub(crate) fn has_packet(&mut self) -> bool {
        match &mut self.store {
            Store::Ring(ring) => !ring.queue.is_empty(),
            Store::Receiving {
                channel,
                head,
                seen,
            } => {
                let mark = channel.mark();
                if head.is_none() && mark > *seen && channel.depth() == 0 {
                    *seen = mark;
                }
                head.is_some() || mark > *seen
            }
            Store::Sending(_) => false,
        }
    }

    /// Returns the sequence of the oldest packet that has not aged, if there is one. From a channel it is received
    /// here, and counted as such.
    pub(crate) fn head(&mut self, port: &PortBooks, now_ns: u64) -> Option<u64> {
        let policy = &self.policy;
        let has_aged = |queued: &Queued| {
            policy.max_age_ns.is_some_and(|most| {
                now_ns.saturating_sub(queued.packet.envelope.captured_ns) > most
            })
        };
        match &mut self.store {
            Store::Ring(ring) => {
                while ring.queue.front().is_some_and(has_aged) {
                    self.books.drop_one(DropCause::Aged);
                    if let Some(aged) = ring.pop() {
                        discard(aged);
                    }
                }
                ring.queue.front().map(sequence_of)
            }
            Store::Receiving {
                channel,
                head,
                seen,
            } => {
                let mark = channel.mark();
                if head.is_none() && mark > *seen {
                    *seen = mark;
                    while let Some(queued) = channel.receive(policy) {
                        if has_aged(&queued) {
                            self.books.drop_one(DropCause::Aged);
                            discard(queued);
                            continue;
                        }
                        *seen = sequence_of(&queued) + 1;
                        count(&self.books.consumer.received, 1);
                        port.receive();
                        *head = Some(queued);
                        break;
                    }
                }
                head.as_ref().map(sequence_of)
            }
            Store::Sending(_) => None,
        }
    }

    /// Takes the packet whose sequence [`Edge::head`] returned.
    pub(crate) fn take(&mut self, port: &PortBooks) -> Option<Queued> {
        match &mut self.store {
            Store::Ring(ring) => {
                let queued = ring.pop()?;
                count(&self.books.consumer.received, 1);
                port.receive();
                Some(queued)
            }
            Store::Receiving { head, .. } => head.take(),
            Store::Sending(_) => None,
        }
    }

    /// Takes the oldest packet that has not aged, or returns the mark, below which nothing is left. The flag says that
    /// the ring is known to hold nothing more.
    #[inline]
    pub(crate) fn receive(&mut self, port: &PortBooks, now_ns: u64) -> Result<(Queued, bool), u64> {
        if let (Store::Ring(ring), None) = (&mut self.store, self.policy.max_age_ns) {
            let queued = ring.pop().ok_or(ring.mark)?;
            let is_last = ring.queue.is_empty() && ring.mark == sequence_of(&queued) + 1;
            count(&self.books.consumer.received, 1);
            port.receive();
            return Ok((queued, is_last));
        }
        let mark = self.mark();
        self.head(port, now_ns).ok_or(mark)?;
        let queued = self.take(port).ok_or(mark)?;
        Ok((queued, false))
    }

    /// Empties a ring of a lane that is stopped, counting each packet as abandoned. Channels are emptied when the books
    /// are closed.
    pub(crate) fn abandon(&mut self) {
        if let Store::Ring(ring) = &mut self.store {
            while let Some(queued) = ring.pop() {
                count(&self.books.consumer.abandoned, 1);
                discard(queued);
            }
        }
    }
}

impl Ring {
    #[inline]
    fn pop(&mut self) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(queued.bytes);
        Some(queued)
    }
}

fn sequence_of(queued: &Queued) -> u64 {
    queued.packet.envelope.sequence
}
