//! The edges of one lane, and the nodes at which something has arrived inside the lane.

use crate::end::End;
use crate::packet::Packet;
use crate::runtime::edge::Edge;

/// Index of an edge in [`Edges`].
pub(crate) type EdgeId = usize;

/// All edges of a lane, by number. The number of a removed edge is reused.
#[derive(Default)]
pub(crate) struct Edges {
    all: Vec<Option<Edge>>,
    free: Vec<EdgeId>,
    /// For each node of the lane, the stream slots at which something has arrived by a ring and has not been polled.
    arrived: Vec<NumberSet>,
    /// Nodes that have such slots.
    waiting: NumberSet,
}

/// A set of small numbers: stream slots, or places of nodes.
#[derive(Default)]
struct NumberSet {
    /// Numbers below 64, which are all that most lanes have.
    low: u64,
    /// The other numbers, 64 in each word.
    high: Vec<u64>,
}

impl NumberSet {
    #[inline]
    fn insert(&mut self, number: usize) {
        match number.checked_sub(64) {
            None => self.low |= 1 << number,
            Some(rest) => {
                if rest / 64 >= self.high.len() {
                    self.high.resize(rest / 64 + 1, 0);
                }
                self.high[rest / 64] |= 1 << (rest % 64);
            }
        }
    }

    #[inline]
    fn remove(&mut self, number: usize) {
        match number.checked_sub(64) {
            None => self.low &= !(1 << number),
            Some(rest) => {
                if let Some(word) = self.high.get_mut(rest / 64) {
                    *word &= !(1 << (rest % 64));
                }
            }
        }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.low == 0 && self.high.iter().all(|word| *word == 0)
    }

    /// Returns the first number of the set that is not below `from`.
    #[inline]
    fn next(&self, from: usize) -> Option<usize> {
        if from < 64 {
            let bits = self.low & (!0 << from);
            if bits != 0 {
                return Some(bits.trailing_zeros() as usize);
            }
        }
        if self.high.is_empty() {
            return None;
        }
        let from = from.saturating_sub(64);
        let mut word = from / 64;
        let mut bits = self.high.get(word)? & (!0 << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.high.get(word)?;
        }
        Some(64 + word * 64 + bits.trailing_zeros() as usize)
    }
}

impl Edges {
    /// Creates the edges of a lane with this many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            arrived: (0..nodes).map(|_| NumberSet::default()).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, edge: Edge) -> EdgeId {
        match self.free.pop() {
            Some(id) => {
                self.all[id] = Some(edge);
                id
            }
            None => {
                self.all.push(Some(edge));
                self.all.len() - 1
            }
        }
    }

    /// Removes an edge that neither end uses any more.
    pub(crate) fn remove(&mut self, id: EdgeId) {
        if self.all[id].take().is_some() {
            self.free.push(id);
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: EdgeId) -> &Edge {
        self.all[id].as_ref().expect("flows name edges that exist")
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: EdgeId) -> &mut Edge {
        self.all[id].as_mut().expect("flows name edges that exist")
    }

    /// See [`Edge::send`].
    #[inline]
    pub(crate) fn send(&mut self, id: EdgeId, packet: Packet, bytes: Option<u64>, now_ns: u64) {
        if let Some((node, slot)) = self.get_mut(id).send(packet, bytes, now_ns) {
            self.note_arrival(node, slot);
        }
    }

    /// See [`Edge::advance`].
    pub(crate) fn advance(&mut self, id: EdgeId, next: u64) {
        let edge = self.get_mut(id);
        edge.advance(next);
        if let Some((node, slot)) = edge.arrives_at() {
            self.note_arrival(node, slot);
        }
    }

    /// See [`Edge::finish`].
    pub(crate) fn finish(&mut self, id: EdgeId, end: End) {
        let edge = self.get_mut(id);
        edge.finish(end);
        if let Some((node, slot)) = edge.arrives_at() {
            self.note_arrival(node, slot);
        }
    }

    /// Notes that a node should poll a stream, even if nothing has arrived.
    #[inline(always)]
    pub(crate) fn note_arrival(&mut self, node: usize, slot: usize) {
        self.arrived[node].insert(slot);
        self.waiting.insert(node);
    }

    /// Returns the next node, from `from` on, at which something has arrived that it has not polled.
    #[inline]
    pub(crate) fn next_waiting(&self, from: usize) -> Option<usize> {
        self.waiting.next(from)
    }

    /// Returns the next slot, from `from` on, at which something has arrived that the node has not polled.
    #[inline]
    pub(crate) fn next_arrival(&self, node: usize, from: usize) -> Option<usize> {
        self.arrived[node].next(from)
    }

    /// Returns whether something has arrived at a slot that the node has not polled.
    pub(crate) fn has_arrived(&self, node: usize, slot: usize) -> bool {
        self.next_arrival(node, slot) == Some(slot)
    }

    /// Notes that the node has found nothing (more) to take at a slot.
    #[inline]
    pub(crate) fn forget_arrival(&mut self, node: usize, slot: usize) {
        self.arrived[node].remove(slot);
        if self.arrived[node].is_empty() {
            self.waiting.remove(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_numbers_is_walked_in_order_across_words() {
        let mut set = NumberSet::default();
        assert!(set.is_empty() && set.next(0).is_none());
        for number in [3, 63, 64, 127, 200] {
            set.insert(number);
        }
        set.remove(63);
        set.remove(999);
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(number) = set.next(from) {
            found.push(number);
            from = number + 1;
        }
        assert_eq!(found, [3, 64, 127, 200]);
        assert_eq!(set.next(201), None);
        assert_eq!(set.next(1000), None);
        found.drain(..).for_each(|number| set.remove(number));
        assert!(set.is_empty());
    }
}
