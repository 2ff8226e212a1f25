//! What a receiving end hands on and nobody has fetched yet. Where packets may be dropped, their number is limited.

use std::collections::VecDeque;

use fermata_engine::graph::WhenFull;

use super::arrival::Taken;
use super::held::Number;

/// A queue of what is handed on, with each packet's number beside it.
pub(super) struct Unfetched<T> {
    full: WhenFull,
    capacity: usize,
    queue: VecDeque<(Option<Number>, Taken<T>)>,
}

impl<T> Unfetched<T> {
    /// Creates an empty queue. One that blocks is bounded by whoever fills it.
    pub(super) fn new(full: WhenFull, capacity: usize) -> Self {
        Self {
            full,
            capacity: capacity.max(1),
            queue: VecDeque::new(),
        }
    }

    /// Adds something other than a packet.
    pub(super) fn add(&mut self, taken: Taken<T>) {
        self.queue.push_back((None, taken));
    }

    /// Adds a packet. Returns the number of one that was dropped for it, if any.
    pub(super) fn add_packet(&mut self, number: Number, packet: Taken<T>) -> Option<Number> {
        self.queue.push_back((Some(number), packet));
        if self.full == WhenFull::Block {
            return None;
        }
        let places = self.queue.iter().enumerate();
        let mut packets = places.filter(|(_, (number, _))| number.is_some());
        if packets.clone().count() <= self.capacity {
            return None;
        }
        let dropped = match self.full {
            WhenFull::DropNewest => packets.next_back(),
            WhenFull::DropOldest | WhenFull::Block => packets.next(),
        };
        let place = dropped.map(|(place, _)| place)?;
        let (number, dropped) = self.queue.remove(place)?;
        if let Taken::Packet { sequence, .. } = dropped {
            // The dropped packet can no longer show that nothing below it comes, so a mark does.
            self.queue.insert(place, (None, Taken::Mark(sequence + 1)));
        }
        number
    }

    /// Returns what is next, with its number if it is a packet.
    pub(super) fn next(&mut self) -> Option<(Option<Number>, Taken<T>)> {
        self.queue.pop_front()
    }

    /// Returns whether the queue is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
