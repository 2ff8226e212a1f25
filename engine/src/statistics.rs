//! Current state of a run, for pages, metrics and progress.
//!
//! A [`Snapshot`] reads counters that lanes keep anyway, for what runs now; streams that have ended are included as
//! sums. Several snapshots give [rates](crate::rates). The totals of a whole run are in its [`Report`](crate::Report).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::Quantiles;

/// Upper bounds of the buckets of [`Times::up_to`], seconds: the defaults of Prometheus' clients, and half a
/// millisecond.
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
    /// Time on the run's clock, seconds.
    pub at_s: f64,
    /// Instances that exist now.
    pub nodes: Vec<NodeNow>,
    /// Their edges, for each stream.
    pub edges: Vec<EdgeNow>,
    /// The streams that have not been closed.
    pub streams: Vec<StreamNow>,
    /// Totals of the streams that have been closed.
    pub closed: ClosedStreams,
    /// Whether streams are units of work, which come and go by the thousand.
    pub has_units: bool,
    /// Number of faults found so far.
    pub faults: usize,
}

/// A node instance at one moment. Counts are those of the whole run.
#[derive(Clone, Debug, Serialize)]
pub struct NodeNow {
    /// Which instance.
    pub place: Place,
    /// What it is doing.
    pub state: NodeState,
    /// Calls that have not returned, or whose ticket has not been settled.
    pub calls: Vec<CallNow>,
    /// Packets taken and not yet settled.
    pub in_hand: u64,
    /// Packets taken from its inputs.
    pub received: u64,
    /// Packets of calls that returned without an error; for a source, packets captured.
    pub processed: u64,
    /// Packets of calls that failed or panicked.
    pub failed: u64,
    /// Packets of a join whose partner never came.
    pub unmatched: u64,
    /// Packets abandoned.
    pub abandoned: u64,
    /// Packets that came after the actor had ended their stream.
    pub finished: u64,
    /// Number of times the actor was rebuilt.
    pub restarts: u64,
    /// Seconds since it was created.
    pub age_s: f64,
    /// Seconds spent in calls, over all replicas.
    pub busy_s: f64,
    /// Seconds spent waiting for room.
    pub blocked_s: f64,
    /// Durations of calls.
    pub service: Times,
    /// Times that packets spent in its inputs' queues.
    pub queue_wait: Times,
    /// Batches of a node that takes batches.
    pub batches: Option<BatchesNow>,
    /// Number of replicas, 1 without.
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
    /// It has something to take, but no room for what would come of it.
    Blocked,
    /// Its actor is gone and will be rebuilt.
    Restarting {
        /// Seconds from now.
        in_s: f64,
    },
    /// A source has lost what it captures from.
    Lost {
        /// Why.
        reason: String,
        /// Seconds since it was lost.
        for_s: f64,
    },
    /// It has ended.
    Ended,
}

/// A call in progress.
#[derive(Clone, Debug, Serialize)]
pub struct CallNow {
    /// Replica that runs it; 0 without replicas.
    pub replica: usize,
    /// Seconds since it began.
    pub age_s: f64,
}

/// Batches of a node.
#[derive(Clone, Debug, Serialize)]
pub struct BatchesNow {
    /// Number of batches formed.
    pub count: u64,
    /// Their total weight.
    pub weight: u64,
    /// Weight at which a batch is full.
    pub max: usize,
}

/// Recorded durations, updated once a second.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times {
    /// Number of durations.
    pub count: u64,
    /// Their sum, seconds.
    pub sum_s: f64,
    /// Quantiles, milliseconds.
    pub quantiles_ms: Quantiles,
    /// Number of durations that do not exceed each of [`TIME_BOUNDS_S`].
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
    /// Packets at which it is full.
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
    /// Edge over which it arrives from another machine of the site; none if its source is here.
    #[serde(skip)]
    pub edge: Option<String>,
    /// Packets that the source handed to the graph.
    pub captured: u64,
    /// Frames of a live source that were overwritten.
    pub missed: u64,
    /// Packets that reached every lossless sink.
    pub delivered: u64,
    /// Whether the last packet has been handled everywhere.
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
    /// Packets that did not arrive here, by cause and place.
    pub losses: BTreeMap<String, u64>,
    /// Time from capture to delivery.
    pub latency: Times,
}

/// Streams that have been closed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ClosedStreams {
    /// Number of streams.
    pub count: u64,
    /// Number of those that are units of work that failed.
    pub failed: u64,
    /// Packets captured.
    pub captured: u64,
    /// Packets delivered.
    pub delivered: u64,
}

impl Snapshot {
    /// Returns the packets that have reached every lossless sink, over all streams, including closed ones.
    pub fn delivered(&self) -> u64 {
        let open: u64 = self.streams.iter().map(|stream| stream.delivered).sum();
        self.closed.delivered + open
    }
}
