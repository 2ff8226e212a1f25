//! The outcome of a simulated run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::observer::Fate;
use crate::report::Report;
use crate::start_error::StartError;

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

/// The outcome of a simulated run.
#[derive(Debug)]
pub struct SimRun {
    /// The report of the run.
    pub report: Report,
    /// All deliveries in the order in which they happened.
    pub deliveries: Vec<Delivery>,
    /// Number of steps taken.
    pub steps: u64,
    /// Virtual time that passed.
    pub time: Duration,
    /// Whether the run ended. False if it was given up at its deadline; the report is then as of that moment.
    pub ended: bool,
    /// Names of node instances that had not finished when the run was over or given up.
    pub unfinished: Vec<String>,
    /// Number of times a lane had nothing to do but asked to be stepped again at once: on a thread it would spin.
    pub spins: u64,
    /// The result of each [`SimCommand::AddStream`](super::SimCommand::AddStream) that was given, in order: the
    /// stream's name, or why it could not be added.
    pub added: Vec<Result<String, StartError>>,
    /// Number of packets by node instance and fate, as an observer counted them; a join counts each input's packet.
    pub settled: BTreeMap<(String, Fate), u64>,
}
