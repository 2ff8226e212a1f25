//! Identity of a worker, and what a worker is given.

/// Identity of a worker.
#[derive(Clone, Debug)]
pub struct WorkerSpec {
    /// A name that no other process has: letters, digits, `-`, `_`.
    pub worker: String,
    /// Its machine.
    pub host: String,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A unit.
    Unit {
        /// Its number.
        unit: u64,
        /// The number of this attempt, from 1.
        attempt: u32,
    },
    /// Nothing for now.
    NotYet,
    /// Nothing any more: the job is over, or this worker no longer takes part.
    NoMore,
}
