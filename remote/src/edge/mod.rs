//! The protocol of an edge between machines, without a network: what its two ends do, and what they tell each other.
//!
//! The store between them delivers at least once and keeps no order; it may be full, forget, and be away for a while.
//! See [`receiver`] for how that is handled.

pub mod arrival;
mod held;
#[cfg(test)]
mod laws;
mod place;
pub mod receiver;
pub mod sender;
pub mod simulated;
mod unfetched;
pub mod wire;
