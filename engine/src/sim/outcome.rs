//! What a simulated run came to.

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
    /// What became of each [`SimCommand::AddStream`](super::SimCommand::AddStream) that was given, in order: the
    /// stream's name.
    pub added: Vec<Result<String, StartError>>,
    /// What an observer was told by node instance and fate: packets, those of a join by input.
    pub settled: BTreeMap<(String, Fate), u64>,
}
