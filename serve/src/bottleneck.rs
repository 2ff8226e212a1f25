//! Which node holds up the others, in words.

use crate::numbers::{EdgeNumbers, NodeNumbers};

/// From this fullness on a queue counts as filling.
pub(crate) const FILLING: f64 = 0.5;
/// From this fullness on it counts as full.
pub(crate) const FULL: f64 = 0.8;
/// From this share of time in calls on a node counts as busy.
const BUSY: f64 = 0.8;

/// The node whose queue fills while it does not itself wait for room, in words; none where nothing fills.
pub(crate) fn bottleneck(nodes: &[NodeNumbers], edges: &[EdgeNumbers]) -> Option<String> {
    let filled = |node: &NodeNumbers| {
        let into = edges.iter().filter(|edge| edge.to == node.name);
        into.map(|edge| edge.fullness).fold(0.0, f64::max)
    };
    let held_up: Vec<(&NodeNumbers, f64)> = nodes
        .iter()
        .map(|node| (node, filled(node)))
        .filter(|(node, filled)| *filled >= FILLING && node.blocked < 0.5)
        .collect();
    let (node, filled) = held_up
        .into_iter()
        .max_by(|(a, _), (b, _)| a.busy.total_cmp(&b.busy))?;
    let (name, share) = (&node.name, percent(filled));
    let dropped: f64 = edges
        .iter()
        .filter(|edge| edge.to == *name)
        .map(|edge| edge.dropped_per_s)
        .sum();
    let mut words = match node.busy {
        busy if busy >= BUSY => {
            let advice = match &node.batches {
                Some(batches) if batches.occupancy < 0.9 => "",
                _ if node.replicas > 1 => "",
                _ => "; replicas, if it is stateless, or doing less would help",
            };
            format!(
                "{name} is the bottleneck: it works {} of the time and its queue is {share} full{advice}.",
                percent(busy)
            )
        }
        busy if node.batches.is_some() => format!(
            "{name} collects batches: its queue is {share} full while it works {} of the time.",
            percent(busy)
        ),
        busy => format!(
            "{name} is behind: its queue is {share} full while it works only {} of the time; the machine may be out of processors.",
            percent(busy)
        ),
    };
    if dropped > 0.0 {
        words.push_str(&format!(
            " {dropped:.1} packets a second are dropped before it."
        ));
    }
    Some(words)
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
        into.dropped_per_s = 2.5;
        let words = bottleneck(&[pool.clone()], &[into.clone()]).unwrap();
        assert!(words.contains("works only 25 % of the time"), "{words}");
        assert!(words.ends_with("2.5 packets a second are dropped before it."));
        pool.batches = Some(BatchNumbers::default());
        let words = bottleneck(&[pool], &[into]).unwrap();
        assert!(words.starts_with("pool collects batches"), "{words}");
    }
}
