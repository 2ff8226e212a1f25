//! The edges of one lane, and which of its nodes something has arrived at inside the lane.

use crate::end::End;
use crate::packet::Packet;
use crate::runtime::edge::Edge;

/// An edge of the lane by its place in [`Edges`].
pub(crate) type EdgeId = usize;

/// All edges of a lane, by number. The number of an edge that is gone is given out again.
#[derive(Default)]
pub(crate) struct Edges {
    all: Vec<Option<Edge>>,
    free: Vec<EdgeId>,
    /// By node of the lane: the stream slots at which something has arrived by a ring and has not been looked at.
    arrived: Vec<SlotSet>,
}

/// A set of stream slots.
#[derive(Default)]
pub(crate) struct SlotSet(Vec<u64>);

impl SlotSet {
    #[inline]
    fn insert(&mut self, slot: usize) {
        let word = slot / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (slot % 64);
    }

    #[inline]
    fn remove(&mut self, slot: usize) {
        if let Some(word) = self.0.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    /// The first slot of the set that is not below `from`.
    #[inline]
    fn next(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.0.get(word)? & (!0 << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.0.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

impl Edges {
    /// For a lane of this many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            arrived: (0..nodes).map(|_| SlotSet::default()).collect(),
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

    /// Forgets an edge that neither end uses any more.
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

    #[inline]
    pub(crate) fn has_room(&self, ids: &[EdgeId]) -> bool {
        ids.iter().all(|&id| self.get(id).has_room())
    }

    /// See [`Edge::send`].
    pub(crate) fn send(&mut self, id: EdgeId, packet: Packet, bytes: Option<u64>, now_ns: u64) {
        let edge = self.get_mut(id);
        edge.send(packet, bytes, now_ns);
        self.note_arrival_by(id);
    }

    /// See [`Edge::advance`].
    pub(crate) fn advance(&mut self, id: EdgeId, next: u64) {
        self.get_mut(id).advance(next);
        self.note_arrival_by(id);
    }

    /// See [`Edge::finish`].
    pub(crate) fn finish(&mut self, id: EdgeId, end: End) {
        self.get_mut(id).finish(end);
        self.note_arrival_by(id);
    }

    #[inline]
    fn note_arrival_by(&mut self, id: EdgeId) {
        if let Some((node, slot)) = self.get(id).arrives_at() {
            self.arrived[node].insert(slot);
        }
    }

    /// Notes that a node should look at a stream although nothing has come.
    pub(crate) fn note_arrival(&mut self, node: usize, slot: usize) {
        self.arrived[node].insert(slot);
    }

    /// The next slot, from `from` on, at which something has arrived that the node has not looked at.
    #[inline]
    pub(crate) fn next_arrival(&self, node: usize, from: usize) -> Option<usize> {
        self.arrived[node].next(from)
    }

    /// Whether something has arrived at a slot that the node has not looked at.
    pub(crate) fn has_arrived(&self, node: usize, slot: usize) -> bool {
        self.next_arrival(node, slot) == Some(slot)
    }

    /// The node has found nothing (more) to take there.
    pub(crate) fn forget_arrival(&mut self, node: usize, slot: usize) {
        self.arrived[node].remove(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_slots_is_walked_in_order_across_words() {
        let mut set = SlotSet::default();
        for slot in [3, 63, 64, 200] {
            set.insert(slot);
        }
        set.remove(63);
        set.remove(999);
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(slot) = set.next(from) {
            found.push(slot);
            from = slot + 1;
        }
        assert_eq!(found, [3, 64, 200]);
        assert_eq!(set.next(201), None);
        assert_eq!(set.next(1000), None);
    }
}
