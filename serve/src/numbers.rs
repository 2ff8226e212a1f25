//! The numbers of a run for the page, `fermata top` and scripts: once a second, by node and edge of the file.

use std::collections::BTreeMap;

use fermata_engine::How;
use serde::{Deserialize, Serialize};

/// A run at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Numbers {
    /// Name of the graph.
    pub graph: String,
    /// Time of the run's clock, seconds.
    pub at_s: f64,
    /// Span of the rates, seconds.
    pub over_s: f64,
    /// `starting`, `running`, `draining`, `stopping` or `over`.
    pub run: String,
    /// Packets delivered per second, over all streams.
    pub delivered_per_s: f64,
    /// Other problems, in words, the most urgent first: lost streams, failing nodes, missed frames, faults.
    #[serde(default)]
    pub troubles: Vec<String>,
    /// The node that holds up the others or has packets dropped before it, in words; none if there is none.
    pub bottleneck: Option<String>,
    /// The nodes of the graph file, in its order.
    pub nodes: Vec<NodeNumbers>,
    /// The edges between them.
    pub edges: Vec<EdgeNumbers>,
    /// The streams, including those that ended last.
    pub streams: Vec<StreamNumbers>,
    /// Faults so far.
    pub faults: usize,
    /// Pictures encoded for browsers so far.
    pub pictures: u64,
    /// The workers of a job whose units are computed on other machines.
    #[serde(default)]
    pub workers: Vec<WorkerNumbers>,
    /// The accuracy of latencies in a run that receives packets from other machines.
    #[serde(default)]
    pub clocks: Option<ClockNumbers>,
}

/// The clocks of the machines between which latencies are measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClockNumbers {
    /// The possible error of latencies of packets from other machines, milliseconds; none while unknown.
    pub latency_error_ms: Option<f64>,
    /// How far this machine's clock is ahead of the server's, milliseconds.
    pub ahead_ms: Option<f64>,
    /// Packets that, by the two clocks, arrived before they were captured.
    pub from_future: u64,
    /// The same in words.
    pub told: String,
}

/// Returns the state of the clocks, once a second: a service that a program lends to its run.
pub struct Clocks(pub Box<dyn Fn() -> ClockNumbers + Send + Sync>);

/// A worker of a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerNumbers {
    /// Its name.
    pub name: String,
    /// Its machine.
    pub host: String,
    /// `working`, `waiting`, `silent` (for longer than the lease of its units), `refused` or `gone`.
    pub state: String,
    /// Why it was refused, or makes no progress.
    pub reason: Option<String>,
    /// The numbers of the units it is working on.
    pub in_hand: Vec<u64>,
    /// The time it has held its oldest unit, seconds; 0 without one.
    pub oldest_unit_s: f64,
    /// Its accepted units.
    pub units: u64,
    /// The rows of these units.
    pub rows: u64,
    /// Rows per second since it first reported.
    pub rows_per_s: f64,
    /// Whether it is much slower than the others.
    pub lags: bool,
    /// Results that came too late and were discarded.
    pub late: u64,
    /// Time since it last reported, seconds.
    pub silent_s: f64,
}

/// Returns the workers of a job, once a second: a service that a program lends to its run.
pub struct Workers(pub Box<dyn Fn() -> Vec<WorkerNumbers> + Send + Sync>);

/// A node, with all its instances combined.
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
    /// Packets processed per second.
    pub processed_per_s: f64,
    /// Packets failed so far.
    pub failed: u64,
    /// Packets failed per second.
    #[serde(default)]
    pub failed_per_s: f64,
    /// How often its actors were restarted.
    pub restarts: u64,
    /// Replicas of an instance.
    pub replicas: usize,
    /// Share of time spent in calls, 0 to 1, of the busiest instance and replica.
    pub busy: f64,
    /// Share of time spent waiting for room, of the instance that waits most.
    pub blocked: f64,
    /// Mean time of a call over the span, milliseconds.
    pub service_ms: f64,
    /// 99th percentile of the time of a call over the run, milliseconds, of the slowest instance.
    pub service_p99_ms: f64,
    /// Age of the oldest call that has not returned, seconds.
    pub oldest_call_s: f64,
    /// Batches, if the node takes any.
    pub batches: Option<BatchNumbers>,
}

/// Batches over the span.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BatchNumbers {
    /// Batches per second.
    pub per_s: f64,
    /// Mean weight.
    pub mean: f64,
    /// Weight at which a batch is full.
    pub max: usize,
    /// `mean` as a share of `max`.
    pub occupancy: f64,
}

/// An edge, with all its streams combined.
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
    /// Fullness of the fullest stream queue, 0 to 1, smoothed over some seconds.
    pub fullness: f64,
    /// The stream of that queue.
    pub fullest: String,
    /// Packets sent per second.
    pub sent_per_s: f64,
    /// Mean time that packets of the consumer waited in its queues over the span, over all its inputs, milliseconds.
    #[serde(default)]
    pub wait_ms: f64,
    /// Packets dropped so far, by cause.
    pub dropped: BTreeMap<String, u64>,
    /// Packets dropped per second.
    pub dropped_per_s: f64,
    /// Whether a full queue drops packets.
    pub drops: bool,
}

/// A stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StreamNumbers {
    /// Its name.
    pub name: String,
    /// `starting`, `running`, `reconnecting`, `offline` or `over`.
    pub state: String,
    /// Why it does not run.
    pub reason: Option<String>,
    /// How it ended, if it is over.
    pub end: Option<How>,
    /// The stream that replaced it, if it was reopened.
    #[serde(default)]
    pub reopened_as: Option<String>,
    /// Packets captured so far.
    pub captured: u64,
    /// Packets delivered to every lossless sink so far.
    pub delivered: u64,
    /// Frames that a live source lost so far.
    pub missed: u64,
    /// Frames that it lost per second.
    #[serde(default)]
    pub missed_per_s: f64,
    /// Packets dropped so far by queues on the way to the sink that lacks most, as the graph says.
    pub dropped: u64,
    /// Packets lost on the way otherwise: they failed or were given up. Packets removed by a filter are not lost.
    pub lost: u64,
    /// Packets captured per second.
    pub captured_per_s: f64,
    /// Packets delivered per second.
    pub delivered_per_s: f64,
    /// Median latency from capture to the slowest sink, milliseconds; none before the first packet.
    pub latency_p50_ms: Option<f64>,
    /// Its 99th percentile.
    pub latency_p99_ms: Option<f64>,
}
