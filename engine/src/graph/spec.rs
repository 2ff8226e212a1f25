//! The content of a graph file once it has been read and checked. Reading it is elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::clock::ClockMode;
use crate::ports::Ports;
use crate::units::{HumanBytes, HumanDuration};

use super::place::Span;
use super::secrets::Secrets;
use super::settings::Settings;
use super::tree::Tree;

/// A graph that can run.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Name of the graph, also used for the run's folder.
    pub name: String,
    /// Streams that the file or the command line declares.
    pub streams: Vec<StreamSpec>,
    /// Provider of the graph's streams while it runs, instead of a list.
    pub provider: Option<ProviderSpec>,
    /// Nodes, each after all nodes that feed it.
    pub nodes: Vec<NodeSpec>,
    /// Settings of the run.
    pub run: RunSpec,
    /// Folder for outputs.
    pub run_dir: PathBuf,
    /// Machines of a site, each of which runs its part of the graph; empty if one machine runs all of it.
    pub machines: Vec<String>,
    /// For a part: its machine, and the graph that it is a part of.
    pub(crate) part_of: Option<(String, Arc<Graph>)>,
    /// The edges that lead from one machine to another.
    pub(crate) crossings: Vec<Crossing>,
    /// Order of a part's streams in the graph that it is a part of; empty if they are in order already.
    pub(crate) stream_order: Vec<String>,
    /// Files that no node may write, each with a description; includes the files that the graph was read from.
    pub(crate) kept: Vec<(PathBuf, String)>,
    pub(crate) resolved: Tree,
    /// The file with its includes and the command line's overrides, before any reference is replaced.
    pub(crate) given: Tree,
    pub(crate) secrets: Secrets,
}

/// Values of the listed streams besides those in [`StreamSpec`], by stream name.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamValues {
    /// Values besides the `uri`, by key: `${stream.KEY}`.
    pub(crate) own: BTreeMap<String, BTreeMap<String, String>>,
    /// Where the `uri` was given, in the file or on the command line; left out if it holds a secret.
    pub(crate) uri_places: BTreeMap<String, Span>,
}

/// A stream of the graph file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// Name, as used in instance names and paths.
    pub name: String,
    /// Where it comes from; may hold credentials.
    pub uri: String,
}

impl StreamSpec {
    pub(crate) fn new(name: &str, uri: &str) -> Self {
        Self {
            name: name.to_owned(),
            uri: uri.to_owned(),
        }
    }
}

/// `streams: {use: NAME, open: N, …}`: each stream is a unit of work from a provider.
#[derive(Clone, Debug)]
pub struct ProviderSpec {
    /// Name of the provider.
    pub name: String,
    /// Maximum number of streams open at once. Default: 1, one unit after the other.
    pub open: usize,
    /// The provider's settings.
    pub settings: Settings,
}

/// A node of the graph file.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Name of the node.
    pub name: String,
    /// Name of its actor.
    pub actor: String,
    /// Whether each stream has its own instance.
    pub each_stream: bool,
    /// What feeds its inputs.
    pub inputs: Vec<InputSpec>,
    /// Ports, as the actor declares them for these settings.
    pub ports: Ports,
    /// Queue at each input, per stream.
    pub queue: QueueSpec,
    /// Lane of the node; nodes of one lane share a thread.
    pub lane: Option<String>,
    /// Number of workers of a stateless actor.
    pub replicas: usize,
    /// Batching, if packets are handed to the actor in batches.
    pub batch: Option<BatchSpec>,
    /// Effect of an error on a packet.
    pub on_error: OnError,
    /// Inputs of a join that a packet needs.
    pub require: Require,
    /// Machine of the site that it runs on, if the graph is for several.
    pub on: Option<Placement>,
    /// For a node of a part: names of the streams that reach it there.
    pub(crate) of_streams: Option<Arc<BTreeSet<String>>>,
    /// Whether this is a source in a part, with streams that come from another machine.
    pub(crate) is_inlet: bool,
    /// For a node that is the end of an edge between machines: name of the edge.
    pub(crate) edge: Option<String>,
    pub(crate) settings: Arc<Tree>,
    /// Streams' own values.
    pub(crate) stream_values: Arc<StreamValues>,
}

/// Machine of a site that a node runs on: `on:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// All instances run on this machine.
    Machine(String),
    /// Each stream's instance runs on that stream's machine: `on: "${stream.machine}"`.
    OfStream(BTreeMap<String, String>),
}

impl Placement {
    /// Returns the machine of the instance that handles a stream.
    pub fn of(&self, stream: &str) -> Option<&str> {
        match self {
            Self::Machine(machine) => Some(machine),
            Self::OfStream(machines) => machines.get(stream).map(String::as_str),
        }
    }

    /// Returns whether any instance of the node runs on this machine.
    pub fn is_on(&self, machine: &str) -> bool {
        match self {
            Self::Machine(here) => here == machine,
            Self::OfStream(machines) => machines.values().any(|here| here == machine),
        }
    }
}

/// An edge from an output to the nodes of another machine.
#[derive(Clone, Debug)]
pub(crate) struct Crossing {
    pub(crate) from: OutputRef,
    /// The other machine.
    pub(crate) to: String,
    /// Name of the edge, unique in the graph.
    pub(crate) name: String,
    /// Name of the payload's codec.
    pub(crate) carries: &'static str,
    /// Streams on the edge, and the machine each comes from.
    pub(crate) streams: BTreeMap<String, String>,
    /// Nodes that take from it.
    pub(crate) consumers: BTreeSet<usize>,
    /// Queue policy that suits all consumers.
    pub(crate) queue: QueueSpec,
}

/// The outputs that feed one input.
#[derive(Clone, Debug)]
pub struct InputSpec {
    /// Index of the input.
    pub port: usize,
    /// Outputs that feed it; more than one if streams are merged.
    pub from: Vec<OutputRef>,
}

/// An output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputRef {
    /// Index of the node.
    pub node: usize,
    /// Index of the output.
    pub output: usize,
}

/// Default capacity of a queue, in packets.
pub const DEFAULT_CAPACITY: usize = 4;
/// Maximum capacity of a queue; a larger one is a typing error and would take gigabytes.
pub(crate) const MOST_CAPACITY: usize = 1_000_000;
/// Maximum number of replicas of a node: each is a thread.
pub(crate) const MOST_REPLICAS: usize = 256;
/// Maximum number of streams that a provider may have open at once: each has its own instances and threads.
pub(crate) const MOST_OPEN: usize = 1000;
/// Maximum weight of a batch.
pub(crate) const MOST_BATCH: usize = 1_000_000;

/// `queue:` of a node: how much may wait at each of its inputs, per stream, and what happens when it is full. It
/// applies between threads and inside a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// Capacity in packets.
    pub capacity: usize,
    /// Capacity in bytes of payload; a packet larger than this is admitted alone.
    pub bytes: Option<u64>,
    /// Policy when the queue is full.
    pub full: WhenFull,
    /// Maximum age: packets whose capture is longer ago than this when they would be handled are dropped. The age
    /// counts from capture, so time spent in earlier nodes counts as much as waiting here.
    pub max_age: Option<Duration>,
    /// If the producer is on another machine: quality, 1 to 100, of the JPEG that pictures are sent as; without it,
    /// they are sent as they are.
    pub quality: Option<u8>,
}

impl Default for QueueSpec {
    fn default() -> Self {
        Self {
            capacity: DEFAULT_CAPACITY,
            bytes: None,
            full: WhenFull::Block,
            max_age: None,
            quality: None,
        }
    }
}

/// Policy of a full queue. A queue belongs to one stream at one input, so no stream can cost another one packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Lossless: the producer takes nothing more of this stream until there is room, so everything upstream waits too,
    /// up to the source; a recording is read more slowly, and a live camera keeps its newest frame and counts those
    /// that it overwrote as `missed`. Use it where every packet counts: files, tables, anything that is compared
    /// afterwards.
    #[default]
    Block,
    /// The packet that has waited longest is dropped and counted, and the producer continues as if there were room. The
    /// packets handled are the newest available, with gaps. Use it where the present matters: overlays, alarms, a
    /// detector that is slower than its camera.
    DropOldest,
    /// The arriving packet is dropped and counted, and the producer continues as if there were room. The packets
    /// handled have waited behind a full queue and are close together. Use it to finish what was begun, and for
    /// sampling: with `capacity: 1`, each handled packet was the next one to arrive when the node became free.
    DropNewest,
}

/// `batch:` of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSpec {
    /// Weight (faces, rows) at which a batch is closed; also the most packets it holds.
    pub max: usize,
    /// How long the oldest packet waits for others. Under `asap`, batches are closed only by `max` and at the end.
    pub wait: Duration,
    /// `each: stream`: a batch holds packets of one stream and is closed when the stream ends, so that what is computed
    /// for a stream does not depend on the others. Otherwise a shared node's batch mixes all its streams.
    pub each_stream: bool,
}

/// Effect of an error on a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The packet is counted as failed and logged, and the graph continues.
    #[default]
    Skip,
    /// The actor is rebuilt, as after a panic.
    Restart,
    /// The failure escalates: the node's stream ends or, for a shared node, the graph drains.
    Stop,
}

/// Inputs of a join that a packet needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Require {
    /// All of them.
    All,
    /// Only these; the others may be absent.
    Ports(Vec<String>),
}

/// `run:` of a graph.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// Clock mode.
    pub clock: ClockMode,
    /// Maximum duration of a drain; what is left when it is over counts as abandoned.
    pub drain: Duration,
    /// Restart budget of each node instance.
    pub restart: RestartSpec,
    /// Duration after which a running call is logged once as an error, with its node and replica; it is not cancelled.
    pub call_deadline: Duration,
}

impl Default for RunSpec {
    fn default() -> Self {
        Self {
            clock: ClockMode::Live,
            drain: Duration::from_secs(10),
            restart: RestartSpec::default(),
            call_deadline: Duration::from_secs(30),
        }
    }
}

/// The restart budget of a node instance.
#[derive(Clone, Debug)]
pub struct RestartSpec {
    /// Maximum number of restarts …
    pub most: u32,
    /// … within this time; one more escalates.
    pub within: Duration,
}

/// Delay before the first restart; it doubles with each restart inside the budget's window.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

impl RestartSpec {
    /// Returns the delay before the next restart after this many.
    pub(crate) fn delay(restarts: usize) -> Duration {
        let doubled = FIRST_DELAY.saturating_mul(1 << restarts.min(16));
        doubled.min(LONGEST_DELAY)
    }

    /// Returns the sum of the delays of the maximum number of restarts.
    pub(crate) fn least_time(&self) -> Duration {
        let delays = (0..self.most as usize).take(1_000_000).map(Self::delay);
        delays.fold(Duration::ZERO, Duration::saturating_add)
    }
}

impl Default for RestartSpec {
    fn default() -> Self {
        Self {
            most: 5,
            within: Duration::from_secs(60),
        }
    }
}

/// `queue:` as written.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueFile {
    /// Capacity in packets of one stream, at most 1000000. Default: 4.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) capacity: Option<usize>,
    /// Capacity in bytes of one stream; a larger packet is admitted alone. Default: no limit.
    pub(crate) bytes: Option<HumanBytes>,
    /// Policy when the queue is full. Default: block.
    #[serde(default)]
    pub(crate) full: WhenFull,
    /// Packets whose capture is longer ago than this when they would be handled are dropped. Default: no limit.
    pub(crate) max_age: Option<HumanDuration>,
    /// If the producer is on another machine: quality, 1 to 100, of the JPEG that pictures are sent as. Default: they
    /// are sent as they are.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) quality: Option<u8>,
}

/// `batch:` as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchFile {
    /// Weight (faces, rows) at which a batch is closed; also the most packets it holds. At most 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) max: usize,
    /// How long the oldest packet waits for others. Default: 5ms.
    pub(crate) wait: Option<HumanDuration>,
    /// `stream`: a batch holds packets of one stream and is closed when the stream ends. Default: it mixes all streams
    /// of the node.
    pub(crate) each: Option<Each>,
}

/// `each:` as written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Each {
    /// One per stream.
    Stream,
}

/// Clock, drain, restarts and call deadline of a run.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunFile {
    /// Clock. Default: live.
    pub(crate) clock: Option<ClockFile>,
    /// Maximum duration of a drain. Default: 10s.
    pub(crate) drain: Option<HumanDuration>,
    /// Restart budget of each node instance.
    pub(crate) restart: Option<RestartFile>,
    /// Duration after which a running call is logged once as an error, with its node and replica; it is not cancelled.
    /// Default: 30s.
    pub(crate) call_deadline: Option<HumanDuration>,
}

/// `run.clock` as written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClockFile {
    /// Wall time; recordings are paced by their time stamps.
    Live,
    /// Like live, at this multiple of the recording's own speed.
    Replay(f64),
    /// As fast as possible; every edge blocks, and results do not depend on timing.
    Asap,
}

/// `run.restart` as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestartFile {
    /// Maximum number of restarts of one node instance. Default: 5.
    pub(crate) most: Option<u32>,
    /// Time window of the budget. Default: 60s.
    pub(crate) within: Option<HumanDuration>,
}
