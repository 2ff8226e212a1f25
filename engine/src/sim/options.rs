//! Options of a simulation, and the commands given during it.

use std::time::Duration;

/// Options of a simulation.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Seed that decides what is stepped next, and how long steps take.
    pub seed: u64,
    /// See [`crate::RunOptions::hold_open`].
    pub hold_open: bool,
    /// Virtual time after which a run that has not ended is given up; see [`SimRun::ended`](super::SimRun::ended).
    pub deadline: Duration,
    /// Commands given to the run from outside, and when.
    pub commands: Vec<(At, SimCommand)>,
}

impl SimOptions {
    /// Returns options for a run without commands, given up after ten minutes of virtual time.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            hold_open: false,
            deadline: Duration::from_secs(600),
            commands: Vec::new(),
        }
    }
}

/// The moment at which a command is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Before this step of the simulation.
    Step(u64),
    /// As soon as this much virtual time has passed.
    Time(Duration),
}

/// A command to a running graph; see the methods of [`crate::RunHandle`] of the same names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimCommand {
    /// Adds a stream.
    AddStream {
        /// Its name.
        name: String,
        /// The address that it comes from.
        uri: String,
    },
    /// Ends a stream early.
    RemoveStream {
        /// Its name.
        name: String,
    },
    /// Declares that no further stream will be added.
    StreamsComplete,
    /// Ends all streams and finishes what is in flight.
    Drain,
    /// Ends the run at once.
    Stop,
}
