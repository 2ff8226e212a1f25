//! What a program can run: its actors, and what it lends to them.

use std::path::Path;

use fermata_engine::{Graph, Registry, Services};

/// One of the two programs.
pub struct Program {
    /// Its actors.
    pub registry: fn() -> Registry,
    /// What its actors need of it.
    pub services: fn() -> Services,
    /// Whether a folder holds the job of a graph, begun and not done, which a run in it takes up again. An error says
    /// that nothing is left to do.
    pub goes_on: fn(&Path, &Graph) -> anyhow::Result<bool>,
    /// Whether it becomes the other program for what it does not know.
    pub may_hand_over: bool,
}

/// `fermata`: the live actors.
pub const LIVE: Program = Program {
    registry: live_registry,
    services: Services::new,
    goes_on: |_, _| Ok(false),
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
