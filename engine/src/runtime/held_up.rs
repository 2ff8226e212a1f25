//! What cannot go on in a lane for now, and which nodes must therefore take no more of which stream.
//!
//! A node may take a packet only if everything that could be handed over because of it, inside the lane, can be handled:
//! that bounds what the lane holds. Nodes and streams that do not lead there go on, or they might wait for each other.

/// A node of the lane by its place, and a stream by its slot.
pub(crate) type FlowPlace = (usize, usize);

#[derive(Default)]
pub(crate) struct HeldUp {
    /// Flows with a packet that waits for room in another lane's queue.
    pub(crate) suspended: Vec<FlowPlace>,
    /// Flows with a hand-over that could not be handled yet; whether they themselves can go on they know best.
    pub(crate) waiting: Vec<FlowPlace>,
    /// Flows with a hand-over whose stream is not in turn, and the slot of the stream that is.
    pub(crate) out_of_turn: Vec<(FlowPlace, usize)>,
    /// By node: the nodes to which its packets can be handed over, by any number of hand-overs; itself included.
    leads_to: Vec<Vec<bool>>,
}

impl HeldUp {
    /// For a lane of this many nodes, none of which hands over to another.
    pub(crate) fn new(nodes: usize) -> Self {
        let only_itself = |node| (0..nodes).map(|other| other == node).collect();
        Self {
            leads_to: (0..nodes).map(only_itself).collect(),
            ..Self::default()
        }
    }

    /// Notes that a node hands over to another.
    pub(crate) fn connect(&mut self, from: usize, to: usize) {
        if self.leads_to[from][to] {
            return;
        }
        let reached = self.leads_to[to].clone();
        for row in self.leads_to.iter_mut().filter(|row| row[from]) {
            for (known, &more) in row.iter_mut().zip(&reached) {
                *known |= more;
            }
        }
    }

    /// Whether a node must take nothing of a stream. A node that also has the stream which is in turn further on serves
    /// both in turn itself: it must go on.
    pub(crate) fn blocks(&self, node: usize, slot: usize, has: impl Fn(usize) -> bool) -> bool {
        let leads_to = |&(held, stream): &FlowPlace| stream == slot && self.leads_to[node][held];
        let comes_before = |place: &FlowPlace| place.0 != node && leads_to(place);
        self.suspended.iter().any(leads_to)
            || self.waiting.iter().any(comes_before)
            || self
                .out_of_turn
                .iter()
                .any(|(place, in_turn)| comes_before(place) && !has(*in_turn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_to_a_held_up_flow_of_the_same_stream_is_blocked() {
        // 0 → 1 → 2, and 3 by itself; connected back to front.
        let mut held_up = HeldUp::new(4);
        held_up.connect(1, 2);
        held_up.connect(0, 1);
        held_up.suspended.push((2, 7));
        let blocked: Vec<bool> = (0..4)
            .map(|node| held_up.blocks(node, 7, |_| false))
            .collect();
        assert_eq!(blocked, [true, true, true, false]);
        assert!(!held_up.blocks(0, 8, |_| false));
        held_up.suspended.clear();
        held_up.waiting.push((1, 8));
        assert!(held_up.blocks(0, 8, |_| false));
        assert!(!held_up.blocks(1, 8, |_| false), "it knows by itself");
        assert!(
            !held_up.blocks(2, 8, |_| false),
            "what comes after may go on"
        );
        held_up.waiting.clear();
        held_up.out_of_turn.push(((2, 8), 9));
        assert!(held_up.blocks(1, 8, |slot| slot != 9));
        assert!(!held_up.blocks(1, 8, |slot| slot == 9), "it serves both");
    }
}
