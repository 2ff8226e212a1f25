//! What a receiving end keeps of packets until they are settled, and of its question how much the store has.

use super::arrival::Arrival;
use super::wire::SettledMessage;

/// Incarnation and number.
pub(super) type Number = (u64, u64);

/// A packet that has been handed on but not settled.
pub(super) struct Unsettled<A> {
    /// Progress to remember once it has been settled.
    pub(super) settled: SettledMessage,
    /// Whether it had come before, and was not handed on.
    pub(super) is_again: bool,
    pub(super) stored: u64,
    /// None once it has been acknowledged.
    pub(super) delivery: Option<A>,
}

/// A packet that waits for its turn.
pub(super) struct Held<T, A> {
    pub(super) arrival: Arrival<T>,
    /// None once it has been acknowledged.
    pub(super) delivery: Option<A>,
}

/// State of the question how much the store has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Look {
    None,
    /// Asked, with what was known then.
    Asked(Known),
    /// Nothing more was to come then: once this many deliveries of this pass have been seen, everything that was stored
    /// has been seen.
    Until(u64, Known),
}

/// What the sending end had told: its incarnation, and the number below which everything had been stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Known {
    pub(super) incarnation: u64,
    pub(super) sent: u64,
}
