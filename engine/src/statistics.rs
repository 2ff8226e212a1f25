//! What a run is doing at this moment, and how fast: for pages, metrics and progress.
//!
//! A [`Snapshot`] reads counters that lanes keep anyway, of what runs now; streams that have ended are in it as sums.
//! Two of them give rates, and a [`Window`] of the last ones gives rates over its span. What a whole run came to is its
//! [`Report`](crate::Report).

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::report::Quantiles;

/// The bounds that [`Times::up_to`] counts by, seconds: those that Prometheus' clients use, and a half millisecond.
pub const TIME_BOUNDS_S: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// A node instance: a node of the graph file, and the stream of an `each: stream` node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Name of the node.
    pub node: String,
    /// The stream that the instance belongs to.
    pub stream: Option<String>,
}

/// A run at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// Seconds of the run's clock.
    pub at_s: f64,
    /// The instances that there are now.
    pub nodes: Vec<NodeNow>,
    /// Their edges, for each stream.
    pub edges: Vec<EdgeNow>,
    /// The streams that have not been closed.
    pub streams: Vec<StreamNow>,
    /// Those that have.
    pub closed: ClosedStreams,
    /// Whether streams are units of work, which come and go by the thousand.
    pub has_units: bool,
    /// How many faults have been found.
    pub faults: usize,
}

/// A node instance at one moment. Counts are those of the whole run.
#[derive(Clone, Debug, Serialize)]
pub struct NodeNow {
    /// Which one.
    pub place: Place,
    /// What it is doing.
    pub state: NodeState,
    /// The calls that have not returned, or whose ticket has not been settled.
    pub calls: Vec<CallNow>,
    /// Packets that it has taken and not settled.
    pub in_hand: u64,
    /// Packets taken from its inputs.
    pub received: u64,
    /// Packets of calls that returned without an error; of a source, packets captured.
    pub processed: u64,
    /// Packets of calls that failed or panicked.
    pub failed: u64,
    /// Packets of a join whose partner never came.
    pub unmatched: u64,
    /// Packets given up.
    pub abandoned: u64,
    /// Packets that came after the actor had ended their stream.
    pub finished: u64,
    /// How often the actor was built anew.
    pub restarts: u64,
    /// Seconds since it was created.
    pub age_s: f64,
    /// Seconds in calls, of all replicas together.
    pub busy_s: f64,
    /// Seconds for which it has waited for room.
    pub blocked_s: f64,
    /// Time in calls.
    pub service: Times,
    /// Time in its inputs' queues.
    pub queue_wait: Times,
    /// Of a node that takes batches.
    pub batches: Option<BatchesNow>,
    /// Replicas, 1 without.
    pub replicas: usize,
}

/// What a node instance is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum NodeState {
    /// It is being created.
    Starting,
    /// It has nothing to do.
    Waiting,
    /// It is in a call.
    Working,
    /// It has something to take and no room for what would come of it.
    Blocked,
    /// Its actor is gone and will be built anew.
    Restarting {
        /// So many seconds from now.
        in_s: f64,
    },
    /// A source has lost what it captures from.
    Lost {
        /// Why.
        reason: String,
        /// For so many seconds.
        for_s: f64,
    },
    /// Nothing more is asked of it.
    Ended,
}

/// A call that has not ended.
#[derive(Clone, Debug, Serialize)]
pub struct CallNow {
    /// The replica that does it; 0 without replicas.
    pub replica: usize,
    /// Seconds since it began.
    pub age_s: f64,
}

/// The batches of a node.
#[derive(Clone, Debug, Serialize)]
pub struct BatchesNow {
    /// Batches formed.
    pub count: u64,
    /// Their weights together.
    pub weight: u64,
    /// The weight at which one is full.
    pub max: usize,
}

/// Times that have been recorded: once a second by those that record them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// Their sum, seconds.
    pub sum_s: f64,
    /// Quantiles, milliseconds.
    pub quantiles_ms: Quantiles,
    /// How many are at most as long as each of [`TIME_BOUNDS_S`].
    pub up_to: Vec<u64>,
}

/// One stream on one edge.
#[derive(Clone, Debug, Serialize)]
pub struct EdgeNow {
    /// The producer.
    pub from: Place,
    /// Its output.
    pub output: String,
    /// The consumer.
    pub to: Place,
    /// Its input.
    pub input: String,
    /// The stream.
    pub stream: String,
    /// Packets in the queue.
    pub depth: u64,
    /// At so many it is full.
    pub capacity: u64,
    /// Most packets in it at any moment.
    pub high_water: u64,
    /// Whether a full queue drops.
    pub drops: bool,
    /// Packets sent into it.
    pub sent: u64,
    /// Packets taken out of it.
    pub received: u64,
    /// Packets dropped, by cause.
    pub dropped: BTreeMap<&'static str, u64>,
}

/// A stream at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StreamNow {
    /// Its name.
    pub name: String,
    /// Packets that the source handed to the graph.
    pub captured: u64,
    /// Frames of a live source that were overwritten.
    pub missed: u64,
    /// Packets that reached every lossless sink.
    pub delivered: u64,
    /// Whether the last packet of it has been handled everywhere.
    pub ended: bool,
    /// Its sinks.
    pub sinks: Vec<SinkNow>,
}

/// A stream at one sink.
#[derive(Clone, Debug, Serialize)]
pub struct SinkNow {
    /// The sink.
    pub name: String,
    /// Packets handled.
    pub delivered: u64,
    /// Packets that did not get here, by cause and place.
    pub losses: BTreeMap<String, u64>,
    /// Time from capture to delivery.
    pub latency: Times,
}

/// Streams that have been closed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ClosedStreams {
    /// How many.
    pub count: u64,
    /// Of these, units of work that failed.
    pub failed: u64,
    /// Packets captured.
    pub captured: u64,
    /// Packets delivered.
    pub delivered: u64,
}

/// How fast a node instance is, per second.
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
}

/// How fast an edge is, per second, all its streams together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EdgeRates {
    /// Packets sent into it.
    pub sent: f64,
    /// Packets taken out of it.
    pub received: f64,
    /// Packets dropped.
    pub dropped: f64,
}

/// How fast a stream is, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StreamRates {
    /// Packets captured.
    pub captured: f64,
    /// Packets delivered.
    pub delivered: f64,
    /// Frames missed.
    pub missed: f64,
}

/// What has happened between two snapshots, per second. What is in only one of them is left out.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Seconds between the two.
    pub over_s: f64,
    /// By instance.
    pub nodes: BTreeMap<Place, NodeRates>,
    /// By producer, its output, consumer, and its input.
    pub edges: BTreeMap<(Place, String, Place, String), EdgeRates>,
    /// By name.
    pub streams: BTreeMap<String, StreamRates>,
    /// Packets delivered, of all streams, also of those that have been closed.
    pub delivered: f64,
}

impl Snapshot {
    /// Packets that have reached every lossless sink, of all streams, also of those that have been closed.
    pub fn delivered(&self) -> u64 {
        let open: u64 = self.streams.iter().map(|stream| stream.delivered).sum();
        self.closed.delivered + open
    }
}

impl Rates {
    /// The rates between an earlier and a later snapshot of one run.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let over_s = after.at_s - before.at_s;
        if over_s <= 0.0 {
            return Self::default();
        }
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / over_s;
        let known: BTreeMap<&Place, &NodeNow> = before
            .nodes
            .iter()
            .map(|node| (&node.place, node))
            .collect();
        let nodes = after.nodes.iter().filter_map(|node| {
            let before = known.get(&node.place)?;
            let mean_ms = |before: &Times, after: &Times| {
                let times = after.count.saturating_sub(before.count);
                (after.sum_s - before.sum_s) * 1e3 / times.max(1) as f64
            };
            let rates = NodeRates {
                received: rate(before.received, node.received),
                processed: rate(before.processed, node.processed),
                failed: rate(before.failed, node.failed),
                busy: (node.busy_s - before.busy_s) / over_s,
                blocked: (node.blocked_s - before.blocked_s) / over_s,
                service_ms: mean_ms(&before.service, &node.service),
                queue_wait_ms: mean_ms(&before.queue_wait, &node.queue_wait),
            };
            Some((node.place.clone(), rates))
        });
        let known: BTreeMap<_, &EdgeNow> = before
            .edges
            .iter()
            .map(|edge| ((edge.key(), &edge.stream), edge))
            .collect();
        let mut edges: BTreeMap<_, EdgeRates> = BTreeMap::new();
        for edge in &after.edges {
            if let Some(before) = known.get(&(edge.key(), &edge.stream)) {
                let rates = edges.entry(edge.key()).or_default();
                rates.sent += rate(before.sent, edge.sent);
                rates.received += rate(before.received, edge.received);
                let dropped = |edge: &EdgeNow| edge.dropped.values().sum::<u64>();
                rates.dropped += rate(dropped(before), dropped(edge));
            }
        }
        let known: BTreeMap<&String, &StreamNow> = before
            .streams
            .iter()
            .map(|stream| (&stream.name, stream))
            .collect();
        let streams = after.streams.iter().filter_map(|stream| {
            let before = known.get(&stream.name)?;
            let rates = StreamRates {
                captured: rate(before.captured, stream.captured),
                delivered: rate(before.delivered, stream.delivered),
                missed: rate(before.missed, stream.missed),
            };
            Some((stream.name.clone(), rates))
        });
        Self {
            over_s,
            nodes: nodes.collect(),
            edges,
            streams: streams.collect(),
            delivered: rate(before.delivered(), after.delivered()),
        }
    }
}

impl EdgeNow {
    fn key(&self) -> (Place, String, Place, String) {
        (
            self.from.clone(),
            self.output.clone(),
            self.to.clone(),
            self.input.clone(),
        )
    }
}

/// The last snapshots of a run, over a span of time.
pub struct Window {
    span_s: f64,
    snapshots: VecDeque<Snapshot>,
}

impl Window {
    /// A window over so many seconds.
    pub fn new(span_s: f64) -> Self {
        Self {
            span_s,
            snapshots: VecDeque::new(),
        }
    }

    /// Adds a snapshot, later than all before it, and forgets those that the span no longer needs.
    pub fn push(&mut self, snapshot: Snapshot) {
        let from_s = snapshot.at_s - self.span_s;
        self.snapshots.push_back(snapshot);
        // The one before the span's beginning stays: the rates are over at least the span.
        while self
            .snapshots
            .get(1)
            .is_some_and(|second| second.at_s <= from_s)
        {
            self.snapshots.pop_front();
        }
    }

    /// The newest snapshot.
    pub fn newest(&self) -> Option<&Snapshot> {
        self.snapshots.back()
    }

    /// The rates over the span, or over as much of it as there is.
    pub fn rates(&self) -> Rates {
        match (self.snapshots.front(), self.snapshots.back()) {
            (Some(first), Some(last)) => Rates::between(first, last),
            _ => Rates::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at_s: f64, delivered: u64) -> Snapshot {
        let stream = StreamNow {
            name: "door".to_owned(),
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
            // Ten a second, and thirty from the tenth second on.
            let delivered = 10 * second + 20 * second.saturating_sub(10);
            window.push(at(f64::from(second), u64::from(delivered)));
        }
        let rates = window.rates();
        assert_eq!((rates.over_s, rates.delivered), (5.0, 30.0));
        assert_eq!(rates.streams["door"].captured, 60.0);
    }

    #[test]
    fn a_stream_that_has_been_closed_still_counts() {
        let mut after = at(2.0, 0);
        after.streams.clear();
        after.closed.delivered = 50;
        let rates = Rates::between(&at(1.0, 40), &after);
        assert_eq!(rates.delivered, 10.0);
        assert!(rates.streams.is_empty());
    }
}
