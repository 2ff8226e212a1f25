//! What a receiving end keeps of packets until they are settled, and of the question how much the store has.

use super::arrival::Arrival;
use super::wire::SettledMessage;

/// Incarnation and number.
pub(super) type Number = (u64, u64);

/// A packet that has been handed on and not settled.
pub(super) struct Unsettled<A> {
    /// What is remembered once it has been settled.
    pub(super) settled: SettledMessage,
    /// It had come before, and was not handed on.
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

/// The state of the question how much the store has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Look {
    None,
    /// Asked, knowing this.
    Asked(Known),
    /// Nothing was to come then: when so many deliveries of this pass have been seen, everything has been that was
    /// stored.
    Until(u64, Known),
}

/// What the sending end had told: its incarnation, and below which number everything had been stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Known {
    pub(super) incarnation: u64,
    pub(super) sent: u64,
}
