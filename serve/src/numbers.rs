//! The numbers of a run as page, `fermata top` and scripts get them: each second once, by node and edge of the file.

use std::collections::BTreeMap;

use fermata_engine::How;
use serde::{Deserialize, Serialize};

/// A run at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Numbers {
    /// Name of the graph.
    pub graph: String,
    /// Seconds of the run's clock.
    pub at_s: f64,
    /// Span of the rates, seconds.
    pub over_s: f64,
    /// `starting`, `running`, `draining`, `stopping` or `over`.
    pub run: String,
    /// Packets delivered a second, of all streams.
    pub delivered_per_s: f64,
    /// What is wrong besides, in words, the most urgent first: streams that are away, nodes that fail, frames that are
    /// missed, faults.
    #[serde(default)]
    pub troubles: Vec<String>,
    /// Which node holds up the others or has packets dropped before it, in words; none if none does.
    pub bottleneck: Option<String>,
    /// The nodes of the graph file, in its order.
    pub nodes: Vec<NodeNumbers>,
    /// The edges between them.
    pub edges: Vec<EdgeNumbers>,
    /// The streams, also the last ones that have ended.
    pub streams: Vec<StreamNumbers>,
    /// Faults so far.
    pub faults: usize,
    /// Pictures encoded for browsers so far.
    pub pictures: u64,
    /// Of a job whose units are computed elsewhere: who computes them.
    #[serde(default)]
    pub workers: Vec<WorkerNumbers>,
    /// Of a run to which packets come from other machines: what their latencies are worth.
    #[serde(default)]
    pub clocks: Option<ClockNumbers>,
}

/// The clocks of the machines by which latencies are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClockNumbers {
    /// How wrong latencies of packets from other machines may be, milliseconds; none while nobody knows.
    pub latency_error_ms: Option<f64>,
    /// How much this machine's clock is ahead of the server's between them, milliseconds.
    pub ahead_ms: Option<f64>,
    /// Packets that came before they were captured, by the two clocks.
    pub from_future: u64,
    /// The same in words.
    pub told: String,
}

/// Gives what is known of the clocks, once a second: a service that a program lends to its run.
pub struct Clocks(pub Box<dyn Fn() -> ClockNumbers + Send + Sync>);

/// A worker of a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerNumbers {
    /// Its name.
    pub name: String,
    /// Its machine.
    pub host: String,
    /// `working`, `waiting`, `silent` (for longer than its units are left to it), `refused` or `gone`.
    pub state: String,
    /// Why it was refused, or does not go on.
    pub reason: Option<String>,
    /// The units that it works at, by their numbers.
    pub in_hand: Vec<u64>,
    /// How long it has had the unit that it has had longest, seconds; 0 without one.
    pub oldest_unit_s: f64,
    /// Units of it that count.
    pub units: u64,
    /// Rows of these.
    pub rows: u64,
    /// Rows a second since it was heard of first.
    pub rows_per_s: f64,
    /// Whether it is much slower than the others.
    pub lags: bool,
    /// Results that came too late and were discarded.
    pub late: u64,
    /// Time since it was heard of, seconds.
    pub silent_s: f64,
}

/// Gives the workers of a job, once a second: a service that a program lends to its run.
pub struct Workers(pub Box<dyn Fn() -> Vec<WorkerNumbers> + Send + Sync>);

/// A node, all its instances together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeNumbers {
    /// Its name in the file.
    pub name: String,
    /// Its actor.
    pub actor: String,
    /// Instances by state: `starting`, `waiting`, `working`, `blocked`, `restarting`, `lost`, `ended`.
    pub states: BTreeMap<String, usize>,
    /// Packets processed so far.
    pub processed: u64,
    /// Packets processed a second.
    pub processed_per_s: f64,
    /// Packets failed so far.
    pub failed: u64,
    /// Packets failed a second.
    #[serde(default)]
    pub failed_per_s: f64,
    /// How often its actors were built anew.
    pub restarts: u64,
    /// Replicas of an instance.
    pub replicas: usize,
    /// Share of the time in calls, 0 to 1, of the instance and replica that has most of it.
    pub busy: f64,
    /// Share of the time waiting for room, of the instance that waits longest.
    pub blocked: f64,
    /// Mean time in a call over the span, milliseconds.
    pub service_ms: f64,
    /// 99 % of the calls of the run are shorter, milliseconds; of the slowest instance.
    pub service_p99_ms: f64,
    /// The oldest call that has not returned, seconds.
    pub oldest_call_s: f64,
    /// Of a node that takes batches.
    pub batches: Option<BatchNumbers>,
}

/// Batches over the span.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BatchNumbers {
    /// Batches a second.
    pub per_s: f64,
    /// Mean weight.
    pub mean: f64,
    /// Weight at which one is full.
    pub max: usize,
    /// `mean` as a share of `max`.
    pub occupancy: f64,
}

/// An edge, all its streams together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EdgeNumbers {
    /// The producing node.
    pub from: String,
    /// Its output.
    pub output: String,
    /// The consuming node.
    pub to: String,
    /// Its input.
    pub input: String,
    /// Packets waiting.
    pub depth: u64,
    /// Packets that may wait.
    pub capacity: u64,
    /// Fullness of the stream's queue that is fullest, 0 to 1, smoothed over some seconds.
    pub fullness: f64,
    /// The stream of that queue.
    pub fullest: String,
    /// Packets sent a second.
    pub sent_per_s: f64,
    /// Mean time that packets of the consumer waited in its queues over the span, all its inputs together,
    /// milliseconds.
    #[serde(default)]
    pub wait_ms: f64,
    /// Packets dropped so far, by cause.
    pub dropped: BTreeMap<String, u64>,
    /// Packets dropped a second.
    pub dropped_per_s: f64,
    /// Whether a full queue drops.
    pub drops: bool,
}

/// A stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StreamNumbers {
    /// Its name.
    pub name: String,
    /// `starting`, `running`, `reconnecting`, `offline` or `over`.
    pub state: String,
    /// Why, where it does not run.
    pub reason: Option<String>,
    /// How it ended, once it is over.
    pub end: Option<How>,
    /// The stream that has taken its place, where it was opened again.
    #[serde(default)]
    pub reopened_as: Option<String>,
    /// Packets captured so far.
    pub captured: u64,
    /// Packets delivered to every lossless sink so far.
    pub delivered: u64,
    /// Frames that a live source lost so far.
    pub missed: u64,
    /// Frames that it lost a second.
    #[serde(default)]
    pub missed_per_s: f64,
    /// Packets that queues on the way to a sink dropped so far, as the graph says; of the sink that lacks most.
    pub dropped: u64,
    /// Packets that were lost on the way otherwise: they failed, or were given up. What a filter leaves out is not
    /// lost.
    pub lost: u64,
    /// Captured a second.
    pub captured_per_s: f64,
    /// Delivered a second.
    pub delivered_per_s: f64,
    /// Latency from capture to the slowest sink, milliseconds; none before the first.
    pub latency_p50_ms: Option<f64>,
    /// The same, 99 %.
    pub latency_p99_ms: Option<f64>,
}
