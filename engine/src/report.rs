//! What a run says at its end, and at any moment before: books, statistics and faults.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The report of a run, as `report.json` holds it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Name of the graph.
    pub graph: String,
    /// The machine, of the part of a graph that runs on several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Of such a part: which run of the site it was a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteReport>,
    /// Of such a part: its ends of edges to other machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site_edges: Vec<SiteEdgeReport>,
    /// Seconds from the first capture to the last delivery at a sink; loading is not in it.
    pub wall_s: f64,
    /// Seconds from the start of the run until every node had been created.
    pub startup_s: f64,
    /// `live`, `replay 2` or `asap`.
    pub clock: String,
    /// Whether all books balance; see [`Report::imbalances`].
    pub balanced: bool,
    /// Each book that does not balance.
    pub imbalances: Vec<String>,
    /// What went wrong; empty for a run that succeeded.
    pub faults: Vec<FaultReport>,
    /// Nodes whose call had not returned when the report was written.
    pub hung: Vec<String>,
    /// By node instance.
    pub nodes: BTreeMap<String, NodeReport>,
    /// By pair of instances, all streams together.
    pub edges: Vec<EdgeReport>,
    /// By stream; where streams are units of work, those that are open or have failed.
    pub streams: BTreeMap<String, StreamReport>,
    /// Where streams are units of work: all that have ended, together. Their own nodes and edges are summed under the
    /// names of the graph file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<UnitsReport>,
    /// By batching node instance.
    pub batches: BTreeMap<String, BatchReport>,
    /// The files that sinks have written, in the order in which they began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileReport>,
}

/// The run of a site that a part belonged to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SiteReport {
    /// Name of the site.
    pub site: String,
    /// What tells its run from all others.
    pub run: String,
    /// How often the machine's part had been started in it: 1 and above.
    pub incarnation: u64,
    /// How this machine's clock stood when it was compared last, if that could be found out.
    pub clock: Option<ClockReport>,
    /// How wrong latencies of packets from other machines may be, at most: how far this clock and one of theirs have
    /// been apart at most, whenever they were compared, milliseconds. None while that is not known of one that has
    /// sent.
    #[serde(default)]
    pub latency_error_ms: Option<f64>,
    /// Earlier lives of the part, which were killed and so left no report, as far as the run's folder knows of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub killed: Vec<LifeReport>,
}

/// What is known of a life of a part that was killed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LifeReport {
    /// Which one.
    pub incarnation: u64,
    /// Packets that its own sources had handed to the graph when that was last noted, by stream.
    pub captured: BTreeMap<String, u64>,
}

/// What earlier lives of a part had of a stream that comes from another machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlierReport {
    /// Packets that had come, and that every sink had settled.
    pub settled: u64,
    /// Packets between them that did not come.
    pub missed: u64,
}

/// A machine's clock beside that of the server that all of a site share.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClockReport {
    /// How much it was ahead, milliseconds.
    pub ahead_ms: f64,
    /// How wrong that may be, milliseconds.
    pub error_ms: f64,
}

/// One end of an edge between machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteEdgeReport {
    /// Name of the edge; both ends have the same.
    pub edge: String,
    /// The node that is this end.
    pub node: String,
    /// Whether it is the end where packets come out.
    pub receives: bool,
    /// By stream, of such an end: what earlier lives of the part had, which were killed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier: BTreeMap<String, EarlierReport>,
    /// By stream, of the other end: packets that did not get to the server for certain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unsent: BTreeMap<String, UnsentReport>,
    /// By stream, of the end where packets come out: messages that were none, and were thrown away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub malformed: BTreeMap<String, u64>,
}

/// Packets that went into an edge between machines and did not get to the server for certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnsentReport {
    /// Dropped because too much was waiting, or because the server was full.
    pub dropped: u64,
    /// Dropped because they were older than `max_age`.
    pub aged: u64,
    /// Sent, without an answer: they may have arrived.
    pub unconfirmed: u64,
}

/// A file that a sink has written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FileReport {
    /// The node instance.
    pub node: String,
    /// Where it is, or was until it was removed.
    pub path: String,
    /// What became of it.
    pub state: FileState,
    /// What is counted in it: `rows`, `lines`, `frames` or `packets`.
    pub unit: String,
    /// How many are in it.
    pub holds: u64,
    /// How many the sink was given for it that are not in it.
    pub discarded: u64,
    /// Of a file with a time of its own, such as a video: where the segments of the stream begin in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<FileSegmentReport>,
}

/// Where a segment of a stream begins in a file, or goes on behind a gap that was shortened: the time of each frame up
/// to the next one follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileSegmentReport {
    /// Number of the segment.
    pub segment: u32,
    /// Time stamp of its first frame in the file, milliseconds.
    pub pts_ms: f64,
    /// The frame's time in the file, milliseconds.
    pub at_ms: f64,
    /// When the frame was captured, RFC 3339 in UTC; of a recording, when it was read.
    pub captured: String,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// It has its name.
    Complete,
    /// Something is missing in it: it is called `NAME.part`, and can be read up to where it ends.
    Part,
    /// It is gone: nothing was in it, or `keep:` says so.
    Removed,
}

/// Something that went wrong in a run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FaultReport {
    /// The node instance, if one is to blame.
    pub node: Option<String>,
    /// What happened.
    pub message: String,
}

/// Books and statistics of a node instance; received = processed + failed + unmatched + abandoned + finished.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct NodeReport {
    /// Name of the node in the graph file.
    #[serde(default)]
    pub node: String,
    /// The stream of an `each: stream` node.
    #[serde(default)]
    pub stream: Option<String>,
    /// Packets taken from its inputs.
    pub received: u64,
    /// Packets of calls that returned without an error; for a source, packets captured.
    pub processed: u64,
    /// Packets of calls that failed or panicked.
    pub failed: u64,
    /// Packets of a join for which a required partner never came.
    pub unmatched: u64,
    /// Packets given up because the run was stopped or the node was beyond its restarts.
    pub abandoned: u64,
    /// Packets that came after the actor had ended their stream.
    #[serde(default)]
    pub finished: u64,
    /// How often the actor was built anew.
    pub restarts: u64,
    /// What the actor counted itself, by what that is: the faces that `gate_faces` kept back, for example.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counted: BTreeMap<String, u64>,
    /// Time in calls.
    pub service_ms: Quantiles,
    /// Time in the input's queue.
    pub queue_wait_ms: Quantiles,
    /// Seconds spent in calls, of all replicas together.
    pub busy_s: f64,
    /// Share of the node's life spent in calls, 0..1 (above 1 with replicas).
    pub busy: f64,
    /// Share spent waiting for input.
    pub waiting: f64,
    /// Share spent waiting for room in a consumer's queue.
    pub blocked: f64,
}

/// Books of an edge; sent = received + dropped + abandoned.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct EdgeReport {
    /// Producing node instance.
    pub from: String,
    /// Name of its output.
    #[serde(default)]
    pub output: String,
    /// Consuming node instance.
    pub to: String,
    /// Name of its input.
    #[serde(default)]
    pub input: String,
    /// Packets sent into the queue.
    pub sent: u64,
    /// Packets taken out of it.
    pub received: u64,
    /// Packets dropped, by cause.
    pub dropped: BTreeMap<String, u64>,
    /// Packets left in it when the run was stopped.
    pub abandoned: u64,
    /// Most packets of one stream in it at any moment.
    pub high_water: u64,
}

/// Units of work that have ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct UnitsReport {
    /// Units that reached their own end and of which nothing was lost.
    pub complete: u64,
    /// Units that were ended early by a drain.
    pub unfinished: u64,
    /// Names of those that failed or were stopped, or of which something was lost.
    pub failed: Vec<String>,
    /// Packets that the sources handed to the graph.
    pub captured: u64,
    /// Frames of live sources that were overwritten before the graph could take them.
    pub missed: u64,
    /// Packets that reached every lossless sink.
    pub delivered: u64,
    /// By sink.
    pub sinks: BTreeMap<String, SinkReport>,
}

/// Books of a stream; at each sink captured = delivered + losses.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StreamReport {
    /// Packets that the source handed to the graph.
    pub captured: u64,
    /// Frames of a live source that were overwritten before the graph could take them; they are not in `captured`.
    pub missed: u64,
    /// Whether the last packet of it has been handled everywhere, and files of its own are complete.
    pub ended: bool,
    /// Packets that reached every lossless sink (of all sinks, if none is lossless, the least).
    pub delivered: u64,
    /// By sink instance.
    pub sinks: BTreeMap<String, SinkReport>,
}

/// A stream at a sink.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SinkReport {
    /// Packets handled by the sink.
    pub delivered: u64,
    /// Packets that did not get here, by cause and place: `failed at emotion`, and `abandoned before emotion` of those
    /// that were waiting for it when the run was stopped.
    pub losses: BTreeMap<String, u64>,
    /// Time from capture to delivery.
    pub latency_ms: Quantiles,
}

/// Batches of a node.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct BatchReport {
    /// Batches formed.
    pub count: u64,
    /// Mean weight of a batch.
    pub mean_size: f64,
    /// Why they were closed.
    pub flush: FlushReport,
}

/// Batches by the reason for which they were closed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct FlushReport {
    /// `max` was reached.
    pub full: u64,
    /// `wait` was over.
    pub time: u64,
    /// Nothing more could come.
    pub end: u64,
}

/// Quantiles of a time, milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// Largest.
    pub max: f64,
}
