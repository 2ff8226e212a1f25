//! What must reach each node and sink of a case if nothing is lost on the way.

use std::collections::BTreeSet;

use fermata_engine::InstanceName;

use super::case::{Case, Connected, Kind, Output};
use super::counter::{goes_out_on, is_troubled};
use super::payloads::Trouble;

/// A case and its connections.
pub(crate) struct Model<'a> {
    case: &'a Case,
    connected: Vec<Connected>,
}

impl<'a> Model<'a> {
    pub(crate) fn of(case: &'a Case) -> Self {
        Self {
            case,
            connected: case.connect(),
        }
    }

    /// Returns the index of the source that a stream comes from: a shared source is a stream of its own name.
    pub(crate) fn source_of(stream: &str) -> usize {
        match stream.strip_prefix('n') {
            Some(number) => number.parse().expect("a source's number"),
            None => 0,
        }
    }

    /// Returns the number of an instance's node.
    pub(crate) fn place_of(instance: &str) -> usize {
        let node = InstanceName::parse(instance).node;
        node.trim_start_matches('n')
            .parse()
            .expect("nodes of random graphs are numbered")
    }

    /// Returns the sequence numbers of a stream that a node handles if nothing is lost.
    pub(crate) fn due(&self, place: usize, stream: &str, captured: u64) -> BTreeSet<u64> {
        let source = Self::source_of(stream);
        let first = self.case.first_node();
        if place < first {
            return if place == source {
                let gap = self.case.sources[source].gap().unwrap_or(1);
                (0..captured).map(|number| number * gap).collect()
            } else {
                BTreeSet::new()
            };
        }
        let connected = &self.connected[place - first];
        let reached = |fed: &Vec<Output>| {
            let from = fed.iter().find(|from| {
                if from.node < first {
                    from.node == source
                } else {
                    self.connected[from.node - first].origins.contains(&source)
                }
            });
            from.map(|from| self.emitted(from, stream, captured))
                .unwrap_or_default()
        };
        let sets: Vec<BTreeSet<u64>> = connected.inputs.iter().map(reached).collect();
        let (_, required) = self.case.nodes[place - first].kind.inputs();
        let union: BTreeSet<u64> = sets.iter().flatten().copied().collect();
        let has_all = |sequence: &u64| {
            let mut ports = sets
                .iter()
                .enumerate()
                .filter(|(port, _)| required & (1 << port) != 0);
            ports.all(|(_, set)| set.contains(sequence))
        };
        union.into_iter().filter(has_all).collect()
    }

    /// Returns the sequence numbers of a stream that leave by an output if nothing is lost.
    fn emitted(&self, output: &Output, stream: &str, captured: u64) -> BTreeSet<u64> {
        let handled = self.due(output.node, stream, captured).into_iter();
        let Some(index) = output.node.checked_sub(self.case.first_node()) else {
            let by_turns = self.case.sources[output.node].has_second();
            return handled
                .filter(|sequence| !by_turns || goes_out_on(output.port, *sequence))
                .collect();
        };
        let every = match self.case.nodes[index].kind {
            Kind::Choose { every } => every,
            Kind::Split => 2 + output.port as u64,
            _ => 1,
        };
        handled
            .filter(|sequence| sequence.is_multiple_of(every))
            .collect()
    }

    /// Returns which of the due packets may be missing because the payload panics where it is weighed or measured, or
    /// because some actor has enough of the stream. Returns `None` where that is unknown, because a live source's
    /// packets are not numbered as they were captured.
    pub(crate) fn may_be_missing(
        &self,
        stream: &str,
        due: &BTreeSet<u64>,
    ) -> Option<BTreeSet<u64>> {
        let source = &self.case.sources[Self::source_of(stream)];
        let enough = self.case.enough_from();
        let unneeded = |sequence: u64| enough.is_some_and(|from| sequence > from);
        let Some((Trouble::Weight | Trouble::Bytes, every)) = source.trouble else {
            return Some(due.iter().copied().filter(|&n| unneeded(n)).collect());
        };
        if source.live {
            return None;
        }
        let troubled = due
            .iter()
            .copied()
            .filter(|&n| is_troubled(n, every) || unneeded(n));
        Some(troubled.collect())
    }
}
