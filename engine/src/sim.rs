//! Runs a graph on one thread with virtual time, in an order that a seed decides: a run that fails repeats exactly.
//!
//! The engine is the one that production runs: lanes, replicas and the control plane's decisions are state machines that
//! production steps on threads and actors, and that [`simulate`] steps one at a time. A lane that has nothing to do is
//! stepped again only when somebody wakes it or its time has come, so a lost wake-up shows as a run that does not end.
//!
//! ```
//! use std::sync::Arc;
//! use fermata_engine::sim::{SimOptions, simulate};
//! use fermata_engine::{Graph, LoadOptions, Registry};
//!
//! let text = "
//! fermata: 1
//! nodes:
//!   source: {use: test_source, count: 3, rate: 10}
//!   end:    {use: discard, in: source}
//! ";
//! let registry = Registry::builtin();
//! let graph = Graph::parse("example.yaml", text, &registry, &LoadOptions::new("out")).unwrap();
//! let run = simulate(graph, Arc::new(registry), &SimOptions::seeded(7)).unwrap();
//! assert!(run.ended && run.report.balanced);
//! assert_eq!(run.deliveries.len(), 3);
//! assert!(run.time.as_millis() >= 200, "the packets were paced by their time stamps");
//! ```
//!
//! Not simulated: what happens between the instructions of one step, and memory ordering. Actors of a simulated graph
//! must not wait for real time or for other threads; they compute with [`Clock::work`](crate::Clock::work) and hang with [`Clock::hang`](crate::Clock::hang).

mod random;
mod stage;

use std::sync::Arc;
use std::time::Duration;

use crate::graph::Graph;
use crate::registry::Registry;
use crate::report::Report;
use crate::run::StartError;

/// How a graph is simulated.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Decides who goes next at every step, and how long steps take.
    pub seed: u64,
    /// See [`crate::RunOptions::hold_open`].
    pub hold_open: bool,
    /// Virtual time after which a run that has not ended is given up; see [`SimRun::ended`].
    pub deadline: Duration,
    /// What is done to the run from outside, and when.
    pub commands: Vec<(At, SimCommand)>,
}

impl SimOptions {
    /// A run without commands, given up after ten minutes of virtual time.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            hold_open: false,
            deadline: Duration::from_secs(600),
            commands: Vec::new(),
        }
    }
}

/// When a command is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Before this step of the simulation.
    Step(u64),
    /// As soon as this much virtual time has passed.
    Time(Duration),
}

/// What can be done to a running graph; see the methods of [`crate::RunHandle`] of the same names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimCommand {
    /// Adds a stream.
    AddStream {
        /// Its name.
        name: String,
        /// Where it comes from.
        uri: String,
    },
    /// Ends a stream early.
    RemoveStream {
        /// Its name.
        name: String,
    },
    /// Says that no further stream will be added.
    StreamsComplete,
    /// Ends all streams and finishes what is in flight.
    Drain,
    /// Ends the run at once.
    Stop,
}

/// A packet that a sink handled without an error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    /// The sink.
    pub node: String,
    /// Name of the stream.
    pub stream: String,
    /// Position in the stream.
    pub sequence: u64,
    /// Bit n is set if input n had a packet.
    pub inputs: u64,
}

/// What a simulated run came to.
#[derive(Debug)]
pub struct SimRun {
    /// What the run says of itself.
    pub report: Report,
    /// All deliveries in the order in which they happened.
    pub deliveries: Vec<Delivery>,
    /// Steps that were taken.
    pub steps: u64,
    /// Virtual time that passed.
    pub time: Duration,
    /// False if the run was given up at its deadline; the report is then of that moment.
    pub ended: bool,
    /// Node instances that had not finished when the run was over or was given up.
    pub unfinished: Vec<String>,
    /// How often a lane had nothing to do but wanted to be stepped again at once: on a thread it would spin.
    pub spins: u64,
    /// What became of each [`SimCommand::AddStream`] that was given, in order: the stream's name.
    pub added: Vec<Result<String, StartError>>,
}

/// Runs a graph to its end.
///
/// # Errors
/// See [`crate::RunningGraph::start`].
pub fn simulate(
    graph: Graph,
    registry: Arc<Registry>,
    options: &SimOptions,
) -> Result<SimRun, StartError> {
    stage::Stage::new(graph, registry, options)?.play()
}
