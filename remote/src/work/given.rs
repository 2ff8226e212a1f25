//! Who works, and what a worker is given.

/// Who works.
#[derive(Clone, Debug)]
pub struct WorkerSpec {
    /// A name that no other process has: letters, digits, `-`, `_`.
    pub worker: String,
    /// Its machine.
    pub host: String,
}

/// What there is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A unit.
    Unit {
        /// Its number.
        unit: u64,
        /// The number of this attempt, from 1.
        attempt: u32,
    },
    /// Nothing now.
    NotYet,
    /// Nothing any more: the job is over, or this worker takes no more part.
    NoMore,
}
