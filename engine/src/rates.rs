//! Rates of a run, computed between snapshots. A [`Window`] of recent snapshots gives the rates over its span. The
//! state of a run at one moment is in [`statistics`](crate::statistics).

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::statistics::{EdgeNow, NodeNow, Place, Snapshot, Times};

/// Rates of a node instance, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct NodeRates {
    /// Packets taken.
    pub received: f64,
    /// Packets processed.
    pub processed: f64,
    /// Packets failed.
    pub failed: f64,
    /// Share of the time spent in calls; above 1 with replicas.
    pub busy: f64,
    /// Share of the time spent waiting for room.
    pub blocked: f64,
    /// Mean time in a call, milliseconds; 0 without calls.
    pub service_ms: f64,
    /// Mean time of packets in its inputs' queues, milliseconds; 0 without packets.
    pub queue_wait_ms: f64,
    /// Batches formed.
    pub batches: f64,
    /// Their total weight.
    pub batched: f64,
}

/// Rates of an edge, per second, over all its streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EdgeRates {
    /// Packets sent into it.
    pub sent: f64,
    /// Packets taken out of it.
    pub received: f64,
    /// Packets dropped.
    pub dropped: f64,
}

/// Rates of a stream, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StreamRates {
    /// Packets captured.
    pub captured: f64,
    /// Packets delivered.
    pub delivered: f64,
    /// Frames missed.
    pub missed: f64,
}

/// Rates between snapshots, per second. Each item is measured since the first snapshot that contains it, so the rates
/// of an item that was added meanwhile are right. Items that only the last snapshot has, or that it lacks, are left
/// out.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Seconds between the first and the last snapshot.
    pub over_s: f64,
    /// Rates of nodes, by instance.
    pub nodes: BTreeMap<Place, NodeRates>,
    /// Rates of edges, by producer, its output, consumer, and its input.
    pub edges: BTreeMap<(Place, String, Place, String), EdgeRates>,
    /// Rates of streams, by name.
    pub streams: BTreeMap<String, StreamRates>,
    /// Packets delivered, over all streams, including closed ones.
    pub delivered: f64,
}

impl Rates {
    /// Computes the rates over snapshots of one run, in order of time.
    pub fn over(snapshots: &[&Snapshot]) -> Self {
        let [first, .., last] = snapshots else {
            return Self::default();
        };
        let over_s = last.at_s - first.at_s;
        if over_s <= 0.0 {
            return Self::default();
        }
        Self {
            over_s,
            nodes: node_rates(snapshots, last),
            edges: edge_rates(snapshots, last),
            streams: stream_rates(snapshots, last),
            delivered: last.delivered().saturating_sub(first.delivered()) as f64 / over_s,
        }
    }
}

/// Returns, for each item of the last snapshot, the earliest snapshot's version of it and how many seconds before the
/// last snapshot that was taken.
fn earliest<'a, T, K: Ord>(
    snapshots: &[&'a Snapshot],
    items: impl Fn(&'a Snapshot) -> &'a [T],
    key: impl Fn(&'a T) -> K,
) -> BTreeMap<K, (f64, &'a T)> {
    let mut known = BTreeMap::new();
    let Some((last, before)) = snapshots.split_last() else {
        return known;
    };
    for snapshot in before {
        let ago_s = last.at_s - snapshot.at_s;
        for item in items(snapshot).iter().filter(|_| ago_s > 0.0) {
            known.entry(key(item)).or_insert((ago_s, item));
        }
        let mut now = items(last).iter();
        if now.all(|item| known.contains_key(&key(item))) {
            break;
        }
    }
    known
}

fn per_s(before: u64, now: u64, ago_s: f64) -> f64 {
    now.saturating_sub(before) as f64 / ago_s
}

fn node_rates(snapshots: &[&Snapshot], last: &Snapshot) -> BTreeMap<Place, NodeRates> {
    let known = earliest(snapshots, |snapshot| &snapshot.nodes, |node| &node.place);
    let nodes = last.nodes.iter().filter_map(|node| {
        let &(ago_s, before) = known.get(&node.place)?;
        let rate = |before, now| per_s(before, now, ago_s);
        let mean_ms = |before: &Times, after: &Times| {
            let times = after.count.saturating_sub(before.count);
            (after.sum_s - before.sum_s) * 1e3 / times.max(1) as f64
        };
        let formed = |node: &NodeNow| {
            let batches = node.batches.as_ref();
            batches.map_or((0, 0), |batches| (batches.count, batches.weight))
        };
        let (formed_before, formed) = (formed(before), formed(node));
        let rates = NodeRates {
            received: rate(before.received, node.received),
            processed: rate(before.processed, node.processed),
            failed: rate(before.failed, node.failed),
            busy: (node.busy_s - before.busy_s) / ago_s,
            blocked: (node.blocked_s - before.blocked_s) / ago_s,
            service_ms: mean_ms(&before.service, &node.service),
            queue_wait_ms: mean_ms(&before.queue_wait, &node.queue_wait),
            batches: rate(formed_before.0, formed.0),
            batched: rate(formed_before.1, formed.1),
        };
        Some((node.place.clone(), rates))
    });
    nodes.collect()
}

/// Producer, its output, consumer, and its input.
type EdgeKey = (Place, String, Place, String);

fn edge_rates(snapshots: &[&Snapshot], last: &Snapshot) -> BTreeMap<EdgeKey, EdgeRates> {
    let of_stream = |edge: &EdgeNow| (key(edge), edge.stream.clone());
    let known = earliest(snapshots, |snapshot| &snapshot.edges, of_stream);
    let mut edges: BTreeMap<_, EdgeRates> = BTreeMap::new();
    for edge in &last.edges {
        if let Some(&(ago_s, before)) = known.get(&of_stream(edge)) {
            let rates = edges.entry(key(edge)).or_default();
            rates.sent += per_s(before.sent, edge.sent, ago_s);
            rates.received += per_s(before.received, edge.received, ago_s);
            let dropped = |edge: &EdgeNow| edge.dropped.values().sum::<u64>();
            rates.dropped += per_s(dropped(before), dropped(edge), ago_s);
        }
    }
    edges
}

fn key(edge: &EdgeNow) -> EdgeKey {
    (
        edge.from.clone(),
        edge.output.clone(),
        edge.to.clone(),
        edge.input.clone(),
    )
}

fn stream_rates(snapshots: &[&Snapshot], last: &Snapshot) -> BTreeMap<String, StreamRates> {
    let known = earliest(
        snapshots,
        |snapshot| &snapshot.streams,
        |stream| &stream.name,
    );
    let streams = last.streams.iter().filter_map(|stream| {
        let &(ago_s, before) = known.get(&stream.name)?;
        let rates = StreamRates {
            captured: per_s(before.captured, stream.captured, ago_s),
            delivered: per_s(before.delivered, stream.delivered, ago_s),
            missed: per_s(before.missed, stream.missed, ago_s),
        };
        Some((stream.name.clone(), rates))
    });
    streams.collect()
}

/// The recent snapshots of a run, over a span of time.
pub struct Window {
    span_s: f64,
    snapshots: VecDeque<Snapshot>,
}

impl Window {
    /// Creates a window over this many seconds.
    pub fn new(span_s: f64) -> Self {
        Self {
            span_s,
            snapshots: VecDeque::new(),
        }
    }

    /// Adds a snapshot, later than all before it, and drops those that the span no longer needs.
    pub fn push(&mut self, snapshot: Snapshot) {
        let from_s = snapshot.at_s - self.span_s;
        self.snapshots.push_back(snapshot);
        // Keep the last snapshot before the span's beginning, so that the rates cover at least the span.
        while self
            .snapshots
            .get(1)
            .is_some_and(|second| second.at_s <= from_s)
        {
            self.snapshots.pop_front();
        }
    }

    /// Returns the newest snapshot.
    pub fn newest(&self) -> Option<&Snapshot> {
        self.snapshots.back()
    }

    /// Returns the rates over the span, or over as much of it as has been recorded.
    pub fn rates(&self) -> Rates {
        let snapshots: Vec<&Snapshot> = self.snapshots.iter().collect();
        Rates::over(&snapshots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::StreamNow;

    fn at(at_s: f64, delivered: u64) -> Snapshot {
        let stream = StreamNow {
            name: "door".to_owned(),
            edge: None,
            captured: 2 * delivered,
            missed: 0,
            delivered,
            ended: false,
            sinks: Vec::new(),
        };
        Snapshot {
            at_s,
            streams: vec![stream],
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_window_gives_the_rates_over_its_span() {
        let mut window = Window::new(5.0);
        assert_eq!(window.rates().delivered, 0.0);
        for second in 0..=20u32 {
            // Ten per second, and thirty from the tenth second on.
            let delivered = 10 * second + 20 * second.saturating_sub(10);
            window.push(at(f64::from(second), u64::from(delivered)));
        }
        let rates = window.rates();
        assert_eq!((rates.over_s, rates.delivered), (5.0, 30.0));
        assert_eq!(rates.streams["door"].captured, 60.0);
    }

    #[test]
    fn a_stream_that_has_come_meanwhile_is_as_fast_as_it_is() {
        let mut window = Window::new(5.0);
        for second in 0..=7u32 {
            let mut now = at(f64::from(second), u64::from(10 * second));
            if let Some(since) = second.checked_sub(4) {
                let mut yard = now.streams[0].clone();
                yard.name = "yard".to_owned();
                yard.delivered = u64::from(3 * since);
                now.streams.push(yard);
            }
            window.push(now);
            let rates = window.rates();
            let yard = rates.streams.get("yard").map(|rates| rates.delivered);
            assert_eq!(yard, (second > 4).then_some(3.0), "{second}");
        }
        assert_eq!(window.rates().streams["door"].delivered, 10.0);
    }

    #[test]
    fn a_stream_that_has_been_closed_still_counts() {
        let mut after = at(2.0, 0);
        after.streams.clear();
        after.closed.delivered = 50;
        let rates = Rates::over(&[&at(1.0, 40), &after]);
        assert_eq!(rates.delivered, 10.0);
        assert!(rates.streams.is_empty());
    }
}
