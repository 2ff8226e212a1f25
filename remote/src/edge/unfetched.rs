//! What a receiving end hands on and nobody has fetched yet: where packets may be dropped, no more than a number of
//! them.

use std::collections::VecDeque;

use fermata_engine::graph::WhenFull;

use super::arrival::Taken;
use super::held::Number;

/// A queue of what is handed on; of each packet its number beside it.
pub(super) struct Unfetched<T> {
    full: WhenFull,
    capacity: usize,
    queue: VecDeque<(Option<Number>, Taken<T>)>,
}

impl<T> Unfetched<T> {
    /// An empty queue. One that blocks is bounded by whoever fills it.
    pub(super) fn new(full: WhenFull, capacity: usize) -> Self {
        Self {
            full,
            capacity: capacity.max(1),
            queue: VecDeque::new(),
        }
    }

    /// Adds what is no packet.
    pub(super) fn add(&mut self, taken: Taken<T>) {
        self.queue.push_back((None, taken));
    }

    /// Adds a packet. Gives the number of one that was dropped for it.
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
            // No packet tells any more that nothing below comes.
            self.queue.insert(place, (None, Taken::Mark(sequence + 1)));
        }
        number
    }

    /// What is next, and its number if it is a packet.
    pub(super) fn next(&mut self) -> Option<(Option<Number>, Taken<T>)> {
        self.queue.pop_front()
    }

    /// Whether nothing is there.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
