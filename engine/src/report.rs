//! The report of a run, at its end or at any moment before: books, statistics and faults.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The report of a run, as `report.json` holds it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Name of the graph.
    pub graph: String,
    /// Machine that runs this part, if the graph runs on several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Run of the site that this part belonged to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteReport>,
    /// This part's ends of edges to other machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site_edges: Vec<SiteEdgeReport>,
    /// Seconds from the first capture to the last delivery at a sink, without loading.
    pub wall_s: f64,
    /// Seconds from the start of the run until every node had been created.
    pub startup_s: f64,
    /// `live`, `replay 2` or `asap`.
    pub clock: String,
    /// Whether all books balance; see [`Report::imbalances`].
    pub balanced: bool,
    /// Books that do not balance.
    pub imbalances: Vec<String>,
    /// What went wrong; empty for a run that succeeded.
    pub faults: Vec<FaultReport>,
    /// Nodes with a call that had not returned when the report was written.
    pub hung: Vec<String>,
    /// Nodes, by instance.
    pub nodes: BTreeMap<String, NodeReport>,
    /// Edges, by pair of instances, over all streams.
    pub edges: Vec<EdgeReport>,
    /// Streams, by name; where streams are units of work, only those that are open or have failed.
    pub streams: BTreeMap<String, StreamReport>,
    /// Totals of all units of work that have ended. Their nodes and edges are summed under the names in the graph file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<UnitsReport>,
    /// Batches, by instance of a batching node.
    pub batches: BTreeMap<String, BatchReport>,
    /// Files that sinks have written, in the order in which they were begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileReport>,
}

/// The run of a site that a part belonged to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SiteReport {
    /// Name of the site.
    pub site: String,
    /// Identifier of the site's run.
    pub run: String,
    /// Number of times the machine's part had been started in it, from 1.
    pub incarnation: u64,
    /// Offset of this machine's clock when it was last compared, if known.
    pub clock: Option<ClockReport>,
    /// Upper bound on the error of latencies of packets from other machines, milliseconds: the largest possible
    /// difference between this clock and one of theirs over all comparisons. None while it is unknown for a machine
    /// that has sent.
    #[serde(default)]
    pub latency_error_ms: Option<f64>,
    /// Earlier lives of the part that were killed and left no report, as far as the run's folder records them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub killed: Vec<LifeReport>,
}

/// A life (incarnation) of a part that was killed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LifeReport {
    /// Number of the incarnation.
    pub incarnation: u64,
    /// Packets that its own sources had handed to the graph when last recorded, by stream.
    pub captured: BTreeMap<String, u64>,
}

/// What earlier lives of a part received of a stream that comes from another machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlierReport {
    /// Packets that arrived and were settled by every sink.
    pub settled: u64,
    /// Packets between them that did not arrive.
    pub missed: u64,
}

/// Offset of a machine's clock from that of the server that the site shares.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClockReport {
    /// How far it is ahead of the server's clock, milliseconds.
    pub ahead_ms: f64,
    /// Upper bound on the error of `ahead_ms`, milliseconds.
    pub error_ms: f64,
}

/// One end of an edge between machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteEdgeReport {
    /// Name of the edge, the same at both ends.
    pub edge: String,
    /// Node that is this end.
    pub node: String,
    /// Whether this is the receiving end.
    pub receives: bool,
    /// By stream, at a receiving end: what earlier lives of the part, which were killed, received.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier: BTreeMap<String, EarlierReport>,
    /// By stream, at a sending end: packets that did not reach the server for certain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unsent: BTreeMap<String, UnsentReport>,
    /// By stream, at a receiving end: malformed messages, which were discarded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub malformed: BTreeMap<String, u64>,
}

/// Packets that entered an edge between machines and did not reach the server for certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnsentReport {
    /// Packets dropped because too many were waiting or the server was full.
    pub dropped: u64,
    /// Packets dropped because they were older than `max_age`.
    pub aged: u64,
    /// Packets sent without a confirmation: they may have arrived.
    pub unconfirmed: u64,
}

/// A file that a sink has written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FileReport {
    /// The node instance.
    pub node: String,
    /// Path of the file, or its last path if it was removed.
    pub path: String,
    /// What became of it.
    pub state: FileState,
    /// Unit that is counted in it: `rows`, `lines`, `frames` or `packets`.
    pub unit: String,
    /// Units in the file.
    pub holds: u64,
    /// Units that the sink received for the file and that are not in it.
    pub discarded: u64,
    /// Segments of the stream in a file with its own time line, such as a video.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<FileSegmentReport>,
}

/// Where a segment of a stream begins in a file, or continues after a gap that was shortened: the times of all frames
/// up to the next entry follow from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileSegmentReport {
    /// Number of the segment.
    pub segment: u32,
    /// Time stamp of the segment's first frame in the file, milliseconds.
    pub pts_ms: f64,
    /// Time of that frame in the file, milliseconds.
    pub at_ms: f64,
    /// When that frame was captured (for a recording: read), RFC 3339 in UTC.
    pub captured: String,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// It is complete and has its final name.
    Complete,
    /// It is incomplete: it is called `NAME.part` and can be read up to its end.
    Part,
    /// It was removed because it was empty or because of `keep:`.
    Removed,
}

/// Something that went wrong in a run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FaultReport {
    /// Node instance at fault, if there is one.
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
    /// Packets of a join whose required partner never came.
    pub unmatched: u64,
    /// Packets abandoned because the run was stopped or the node had exhausted its restarts.
    pub abandoned: u64,
    /// Packets that came after the actor had ended their stream.
    #[serde(default)]
    pub finished: u64,
    /// Number of times the actor was rebuilt.
    pub restarts: u64,
    /// The actor's own counters, by description: the faces that `gate_faces` kept back, for example.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counted: BTreeMap<String, u64>,
    /// Durations of calls.
    pub service_ms: Quantiles,
    /// Times that packets spent in the input's queue.
    pub queue_wait_ms: Quantiles,
    /// Seconds spent in calls, over all replicas.
    pub busy_s: f64,
    /// Share of the node's lifetime spent in calls, 0..1 (above 1 with replicas).
    pub busy: f64,
    /// Share of the lifetime spent waiting for input.
    pub waiting: f64,
    /// Share of the lifetime spent waiting for room in a consumer's queue.
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
    /// Packets left in the queue when the run was stopped.
    pub abandoned: u64,
    /// Most packets of one stream in the queue at any moment.
    pub high_water: u64,
}

/// Units of work that have ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct UnitsReport {
    /// Units that reached their own end without losses.
    pub complete: u64,
    /// Units that were ended early by a drain.
    pub unfinished: u64,
    /// Names of units that failed, were stopped or lost something.
    pub failed: Vec<String>,
    /// Packets that the sources handed to the graph.
    pub captured: u64,
    /// Frames of live sources that were overwritten before the graph could take them.
    pub missed: u64,
    /// Packets that reached every lossless sink.
    pub delivered: u64,
    /// Books of the units at each sink, by sink.
    pub sinks: BTreeMap<String, SinkReport>,
}

/// Books of a stream; at each sink captured = delivered + losses.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StreamReport {
    /// Packets that the source handed to the graph.
    pub captured: u64,
    /// Frames of a live source that were overwritten before the graph could take them; they are not in `captured`.
    pub missed: u64,
    /// Whether the last packet has been handled everywhere and the stream's own files are complete.
    pub ended: bool,
    /// Packets that reached every lossless sink (if no sink is lossless: the smallest count of any sink).
    pub delivered: u64,
    /// Books of the stream at each sink, by sink instance.
    pub sinks: BTreeMap<String, SinkReport>,
}

/// A stream at a sink.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SinkReport {
    /// Packets handled by the sink.
    pub delivered: u64,
    /// Packets that did not arrive here, by cause and place: `failed at emotion`, or `abandoned before emotion` for
    /// those that were waiting for it when the run was stopped.
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
    /// Batches by the reason for which they were closed.
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
