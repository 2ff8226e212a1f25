//! What a program can run: its actors, and what it lends to them.

use fermata_engine::{Registry, Services};

/// One of the two programs.
pub struct Program {
    /// Its actors.
    pub registry: fn() -> Registry,
    /// What its actors need of it.
    pub services: fn() -> Services,
    /// Whether it becomes the other program for what it does not know.
    pub may_hand_over: bool,
}

/// `fermata`: the live actors.
pub const LIVE: Program = Program {
    registry: live_registry,
    services: Services::new,
    may_hand_over: true,
};

/// The engine's own actors and the live ones.
pub fn live_registry() -> Registry {
    #[allow(unused_mut)]
    let mut registry = Registry::builtin();
    #[cfg(feature = "live")]
    fermata_actors::register(&mut registry);
    #[cfg(feature = "remote")]
    fermata_remote::register(&mut registry);
    registry
}
