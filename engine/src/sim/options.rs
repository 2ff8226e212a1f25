//! How a graph is simulated, and what is done to it meanwhile.

use std::time::Duration;

/// How a graph is simulated.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Decides who goes next at every step, and how long steps take.
    pub seed: u64,
    /// See [`crate::RunOptions::hold_open`].
    pub hold_open: bool,
    /// Virtual time after which a run that has not ended is given up; see [`SimRun::ended`](super::SimRun::ended).
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
