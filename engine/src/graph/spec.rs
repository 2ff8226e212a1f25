//! What a graph file says, once it has been read and checked. How it is read is elsewhere.

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
    /// Name of the graph; it names the run's folder.
    pub name: String,
    /// The streams that the file or the command line declares.
    pub streams: Vec<StreamSpec>,
    /// What gives the graph its streams while it runs, in the place of a list of them.
    pub provider: Option<ProviderSpec>,
    /// The nodes, each after all that it takes packets from.
    pub nodes: Vec<NodeSpec>,
    /// How it is run.
    pub run: RunSpec,
    /// Where outputs go.
    pub run_dir: PathBuf,
    /// The machines of a site, each of which runs its part of the graph; empty where one machine runs all of it.
    pub machines: Vec<String>,
    /// Of a part: the machine that it is for, and the graph that it is a part of.
    pub(crate) part_of: Option<(String, Arc<Graph>)>,
    /// The edges that lead from one machine to another.
    pub(crate) crossings: Vec<Crossing>,
    /// In which order the streams of a part stand in the graph that it is a part of; empty where they stand as they
    /// are.
    pub(crate) stream_order: Vec<String>,
    /// Files that no node may write, with what they are; those that the graph was read from among them.
    pub(crate) kept: Vec<(PathBuf, String)>,
    pub(crate) resolved: Tree,
    /// The file with what it includes and with what the command line changes, before anything is replaced.
    pub(crate) given: Tree,
    pub(crate) secrets: Secrets,
}

/// What is known of the streams that are listed, besides what a [`StreamSpec`] says; by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamValues {
    /// What they have besides their `uri`, by key: `${stream.KEY}`.
    pub(crate) own: BTreeMap<String, BTreeMap<String, String>>,
    /// Where the `uri` was given, in the file or on the command line; not of one that holds a secret.
    pub(crate) uri_places: BTreeMap<String, Span>,
}

/// A stream of the graph file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// Used in instance names and paths.
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

/// `streams: {use: NAME, open: N, …}`: each stream is a unit of work that a provider gives.
#[derive(Clone, Debug)]
pub struct ProviderSpec {
    /// Name of the provider.
    pub name: String,
    /// How many streams may be there at once. Default: 1, one unit after the other.
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
    /// Whether each stream has an instance of its own.
    pub each_stream: bool,
    /// What feeds its inputs.
    pub inputs: Vec<InputSpec>,
    /// Its ports, as the actor declares them under these settings.
    pub ports: Ports,
    /// The queue at each input, for each stream.
    pub queue: QueueSpec,
    /// Nodes of one lane share a thread.
    pub lane: Option<String>,
    /// Workers of a stateless actor.
    pub replicas: usize,
    /// Packets are handed to the actor in batches.
    pub batch: Option<BatchSpec>,
    /// What an error on a packet does.
    pub on_error: OnError,
    /// Which inputs of a join a packet needs.
    pub require: Require,
    /// On which machine of the site it runs, if the graph is for several.
    pub on: Option<Placement>,
    /// Of a node of a part: the streams that come to it there, by their names.
    pub(crate) of_streams: Option<Arc<BTreeSet<String>>>,
    /// Of a source of a part: its streams come from another machine.
    pub(crate) is_inlet: bool,
    /// Of a node that is the end of an edge between machines: the edge's name.
    pub(crate) edge: Option<String>,
    pub(crate) settings: Arc<Tree>,
    /// What streams have of their own.
    pub(crate) stream_values: Arc<StreamValues>,
}

/// On which machine of a site a node runs: `on:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On this one.
    Machine(String),
    /// Each stream's instance on that one: `on: "${stream.machine}"`.
    OfStream(BTreeMap<String, String>),
}

impl Placement {
    /// The machine of the instance that a stream comes to.
    pub fn of(&self, stream: &str) -> Option<&str> {
        match self {
            Self::Machine(machine) => Some(machine),
            Self::OfStream(machines) => machines.get(stream).map(String::as_str),
        }
    }

    /// Whether anything of the node runs there.
    pub fn is_on(&self, machine: &str) -> bool {
        match self {
            Self::Machine(here) => here == machine,
            Self::OfStream(machines) => machines.values().any(|here| here == machine),
        }
    }
}

/// What an output gives to the nodes of another machine.
#[derive(Clone, Debug)]
pub(crate) struct Crossing {
    pub(crate) from: OutputRef,
    /// The other machine.
    pub(crate) to: String,
    /// What it is called; no other edge of the graph is.
    pub(crate) name: String,
    /// The name of the payload's codec.
    pub(crate) carries: &'static str,
    /// Its streams, and from which machine each comes.
    pub(crate) streams: BTreeMap<String, String>,
    /// The nodes that take from it.
    pub(crate) consumers: BTreeSet<usize>,
    /// What holds for all of these.
    pub(crate) queue: QueueSpec,
}

/// What feeds one input.
#[derive(Clone, Debug)]
pub struct InputSpec {
    /// Index of the input.
    pub port: usize,
    /// The outputs that feed it; more than one if streams are merged.
    pub from: Vec<OutputRef>,
}

/// An output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputRef {
    /// Index of the node.
    pub node: usize,
    /// Index of the output.
    pub output: usize,
}

/// Packets a queue holds if the graph does not say.
pub const DEFAULT_CAPACITY: usize = 4;
/// Packets a queue may be told to hold; more is a slip of the pen, and would take gigabytes.
pub(crate) const MOST_CAPACITY: usize = 1_000_000;
/// Replicas a node may have: each is a thread.
pub(crate) const MOST_REPLICAS: usize = 256;
/// Streams that a provider may be told to have open at once: each has instances and threads of its own.
pub(crate) const MOST_OPEN: usize = 1000;
/// Weight at which a batch may be told to close.
pub(crate) const MOST_BATCH: usize = 1_000_000;

/// `queue:` of a node: how much waits at each of its inputs, for each stream, and what happens when it is full. It
/// holds between threads and inside a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// Packets.
    pub capacity: usize,
    /// Bytes of payload; a packet that is larger by itself is admitted alone.
    pub bytes: Option<u64>,
    /// What a full queue does.
    pub full: WhenFull,
    /// Packets whose capture is longer ago than this when they would be handled are dropped. It is the age of what they
    /// show, not the time for which they have waited here: what took long before is as old as what waited here.
    pub max_age: Option<Duration>,
    /// Where what feeds it is on another machine: pictures travel as JPEG of this quality, 1 to 100; without one, as
    /// they are.
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

/// What a full queue does. The queue is that of one stream at one input, so one stream never costs another a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Upstream: the producer takes nothing more of this stream until there is room, and so what feeds it waits too, up
    /// to the source; a recording is read more slowly, a live camera keeps its newest frame and counts those that it
    /// overwrote as `missed`. The data: nothing is lost here. Choose it where every packet counts: files, tables,
    /// whatever is compared afterwards.
    #[default]
    Block,
    /// Upstream: goes on as if there were room. The data: the packet that has waited longest here is dropped and
    /// counted, so what is handled is the newest there is, with gaps. Choose it where the present matters: overlays,
    /// alarms, a detector that is slower than its camera.
    DropOldest,
    /// Upstream: goes on as if there were room. The data: the packet that comes is dropped and counted, so what is
    /// handled has waited a full queue, and its packets lie together. Choose it where what was begun is to be finished,
    /// and for sampling: with `capacity: 1`, each packet that is handled was the next one when the node was free.
    DropNewest,
}

/// `batch:` of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSpec {
    /// Weight (faces, rows) at which a batch is closed; also the most packets it holds.
    pub max: usize,
    /// How long the oldest packet waits for others. Under `asap` batches are closed by `max` and at the end only.
    pub wait: Duration,
    /// `each: stream`: a batch holds packets of one stream and is closed when that ends, so that what is computed for a
    /// stream does not depend on the others. Otherwise a shared node's batch is of all its streams.
    pub each_stream: bool,
}

/// What an error on a packet does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The packet is counted as failed and logged, and the graph goes on.
    #[default]
    Skip,
    /// The actor is built anew, as after a panic.
    Restart,
    /// The failure escalates: the node's stream ends, or for a shared node the graph drains.
    Stop,
}

/// Which inputs of a join a packet needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Require {
    /// All of them.
    All,
    /// These; the others may be absent.
    Ports(Vec<String>),
}

/// `run:` of a graph.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// How time passes.
    pub clock: ClockMode,
    /// How long a drain may take before the run ends with what is left counted as abandoned.
    pub drain: Duration,
    /// How often a node may be restarted.
    pub restart: RestartSpec,
    /// A call that has run longer is logged once as an error, with its node and replica; it is not cancelled.
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
    /// Restarts …
    pub most: u32,
    /// … within this time; one more escalates.
    pub within: Duration,
}

/// Delay before the first restart; it doubles with each restart inside the budget's window.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

impl RestartSpec {
    /// How long a node waits for its next restart after so many.
    pub(crate) fn delay(restarts: usize) -> Duration {
        let doubled = FIRST_DELAY.saturating_mul(1 << restarts.min(16));
        doubled.min(LONGEST_DELAY)
    }

    /// The delays of as many restarts as there may be, together.
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
    /// Packets of one stream that may wait here, at most 1000000. Default: 4.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) capacity: Option<usize>,
    /// Bytes of one stream that may wait here; a larger packet is admitted alone. Default: no limit.
    pub(crate) bytes: Option<HumanBytes>,
    /// What a full queue does. Default: block.
    #[serde(default)]
    pub(crate) full: WhenFull,
    /// Packets whose capture is longer ago than this when they would be handled are dropped. Default: none.
    pub(crate) max_age: Option<HumanDuration>,
    /// Where what feeds it is on another machine: pictures travel as JPEG of this quality, 1 to 100. Default: as they
    /// are.
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
    /// `stream`: a batch is of one stream and closed when that ends. Default: of all streams of the node.
    pub(crate) each: Option<Each>,
}

/// `each:` as written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Each {
    /// One for each stream.
    Stream,
}

/// How time passes, how a drain ends, and what nodes may take.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunFile {
    /// How time passes. Default: live.
    pub(crate) clock: Option<ClockFile>,
    /// How long a drain may take. Default: 10s.
    pub(crate) drain: Option<HumanDuration>,
    /// How often a node may be restarted.
    pub(crate) restart: Option<RestartFile>,
    /// A call that has run longer is logged once as an error, with its node and replica; it is not cancelled. Default:
    /// 30s.
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
    /// As fast as possible; every edge blocks, results do not depend on timing.
    Asap,
}

/// `run.restart` as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestartFile {
    /// Restarts of one node instance. Default: 5.
    pub(crate) most: Option<u32>,
    /// Time within which they count. Default: 60s.
    pub(crate) within: Option<HumanDuration>,
}
