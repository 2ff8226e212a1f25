//! Names the node that holds up the others. Other problems are described in `troubles.rs`.

use crate::numbers::{EdgeNumbers, NodeNumbers};

/// Fullness from which a queue counts as filling.
pub(crate) const FILLING: f64 = 0.5;
/// Fullness from which a queue counts as full.
pub(crate) const FULL: f64 = 0.8;
/// Share of time in calls from which a node counts as busy.
const BUSY: f64 = 0.8;
/// Share of time waiting for room from which a node counts as held up.
const WAITING: f64 = 0.2;

/// Describes the node before which packets pile up or are dropped and which is not itself waiting for room; none if all
/// keep pace.
///
/// A short queue that drops is seldom seen full, so dropping counts more than fullness.
pub(crate) fn bottleneck(nodes: &[NodeNumbers], edges: &[EdgeNumbers]) -> Option<String> {
    let held_up: Vec<HeldUp<'_>> = nodes
        .iter()
        .map(|node| HeldUp::new(node, edges))
        .filter(|held_up| held_up.filled >= FILLING || held_up.dropped_per_s > 0.0)
        .collect();
    let waits = |held_up: &&HeldUp<'_>| held_up.node.blocked >= 0.5;
    // A node that is restarting is not working, yet holds up the others most.
    let busiest = |a: &&HeldUp<'_>, b: &&HeldUp<'_>| {
        let gone = a.is_gone().cmp(&b.is_gone());
        gone.then(a.node.busy.total_cmp(&b.node.busy))
    };
    let own = held_up.iter().filter(|held_up| !waits(held_up));
    let dropping = held_up.iter().filter(|held_up| held_up.dropped_per_s > 0.0);
    let held_up = own.max_by(busiest).or_else(|| dropping.max_by(busiest))?;
    Some(held_up.words())
}

/// A node, with what waits or is dropped before it.
struct HeldUp<'a> {
    node: &'a NodeNumbers,
    /// Fullness of its fullest queue.
    filled: f64,
    sent_per_s: f64,
    dropped_per_s: f64,
}

impl<'a> HeldUp<'a> {
    fn new(node: &'a NodeNumbers, edges: &[EdgeNumbers]) -> Self {
        let mut held_up = Self {
            node,
            filled: 0.0,
            sent_per_s: 0.0,
            dropped_per_s: 0.0,
        };
        for edge in edges.iter().filter(|edge| edge.to == node.name) {
            held_up.filled = held_up.filled.max(edge.fullness);
            if edge.dropped_per_s > 0.0 {
                held_up.sent_per_s += edge.sent_per_s;
                held_up.dropped_per_s += edge.dropped_per_s;
            }
        }
        held_up
    }

    fn is_gone(&self) -> bool {
        self.node.states.contains_key("restarting")
    }

    fn words(&self) -> String {
        let (name, busy) = (&self.node.name, percent(self.node.busy));
        let queue = if self.filled >= FILLING {
            format!(", and its queue is {} full", percent(self.filled))
        } else {
            String::new()
        };
        let mut words = match self.node {
            _ if self.is_gone() => {
                format!("{name} holds up others: it failed and is being restarted{queue}.")
            }
            node if node.busy >= BUSY => format!(
                "{name} is the bottleneck: it works {busy} of the time{queue}{}.",
                self.advice()
            ),
            node if node.blocked >= WAITING => format!(
                "{name} is held up: it waits {} of the time for room behind it{queue}.",
                percent(node.blocked)
            ),
            node if node.batches.is_some() => {
                format!("{name} collects batches: it works {busy} of the time{queue}.")
            }
            _ if self.filled < FILLING => {
                format!("{name} does not always keep pace: it works {busy} of the time.")
            }
            _ => format!(
                "{name} is behind: it works only {busy} of the time{queue}; the machine may be out of processors."
            ),
        };
        if self.dropped_per_s > 0.0 {
            words.push_str(&format!(
                " {:.1} of {:.1} packets a second are dropped before it.",
                self.dropped_per_s, self.sent_per_s
            ));
        }
        words
    }

    fn advice(&self) -> &'static str {
        match &self.node.batches {
            Some(batches) if batches.occupancy < 0.9 => "",
            _ if self.node.replicas > 1 => "",
            _ => "; replicas, if it is stateless, or doing less would help",
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share.clamp(0.0, 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::BatchNumbers;

    fn node(name: &str, busy: f64, blocked: f64) -> NodeNumbers {
        NodeNumbers {
            name: name.to_owned(),
            busy,
            blocked,
            replicas: 1,
            ..NodeNumbers::default()
        }
    }

    fn edge(from: &str, to: &str, fullness: f64) -> EdgeNumbers {
        EdgeNumbers {
            from: from.to_owned(),
            to: to.to_owned(),
            fullness,
            ..EdgeNumbers::default()
        }
    }

    #[test]
    fn a_node_that_waits_for_room_is_not_the_one_that_holds_up() {
        let nodes = [
            node("capture", 0.1, 0.9),
            node("detect", 0.2, 0.8),
            node("emotion", 0.97, 0.0),
            node("log", 0.01, 0.0),
        ];
        let edges = [
            edge("capture", "detect", 1.0),
            edge("detect", "emotion", 1.0),
            edge("emotion", "log", 0.0),
        ];
        let words = bottleneck(&nodes, &edges).unwrap();
        assert!(
            words.starts_with("emotion is the bottleneck: it works 97 % of the time"),
            "{words}"
        );
        assert!(words.contains("replicas"), "{words}");
    }

    #[test]
    fn where_nothing_fills_there_is_no_bottleneck() {
        let nodes = [node("a", 0.9, 0.0), node("b", 0.2, 0.0)];
        assert_eq!(bottleneck(&nodes, &[edge("a", "b", 0.49)]), None);
        assert_eq!(bottleneck(&[], &[]), None);
    }

    #[test]
    fn what_is_dropped_before_it_is_named() {
        let mut pool = node("pool", 0.25, 0.0);
        let mut into = edge("a", "pool", 0.9);
        (into.sent_per_s, into.dropped_per_s) = (10.0, 2.5);
        let words = bottleneck(&[pool.clone()], &[into.clone()]).unwrap();
        assert!(words.contains("works only 25 % of the time"), "{words}");
        assert!(words.ends_with("2.5 of 10.0 packets a second are dropped before it."));
        pool.batches = Some(BatchNumbers::default());
        let words = bottleneck(&[pool], &[into]).unwrap();
        assert!(words.starts_with("pool collects batches"), "{words}");
    }

    #[test]
    fn a_node_before_which_packets_are_dropped_is_named_though_its_queue_looks_empty() {
        let mut into = edge("a", "draw", 0.1);
        (into.sent_per_s, into.dropped_per_s) = (30.0, 12.0);
        let words = |busy, blocked| {
            let nodes = [node("a", 0.9, 0.0), node("draw", busy, blocked)];
            bottleneck(&nodes, &[into.clone()]).unwrap()
        };
        let dropped = "12.0 of 30.0 packets a second are dropped before it.";
        for (busy, blocked, said) in [
            (0.6, 0.0, "draw does not always keep pace: it works 60 %"),
            (0.95, 0.0, "draw is the bottleneck: it works 95 %"),
            // No node behind it is full: it is the only one to name.
            (
                0.1,
                0.9,
                "draw is held up: it waits 90 % of the time for room",
            ),
        ] {
            let words = words(busy, blocked);
            assert!(
                words.starts_with(said) && words.ends_with(dropped),
                "{words}"
            );
        }
    }

    #[test]
    fn a_node_that_is_built_anew_is_not_said_to_lack_processors() {
        let mut breaks = node("breaks", 0.0, 0.0);
        breaks.states.insert("restarting".to_owned(), 1);
        let edges = [edge("a", "detect", 0.9), edge("detect", "breaks", 0.82)];
        let words = bottleneck(&[node("detect", 0.6, 0.4), breaks], &edges).unwrap();
        assert_eq!(
            words,
            "breaks holds up others: it failed and is being restarted, and its queue is 82 % full."
        );
    }
}
