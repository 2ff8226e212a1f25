//! What a program can run: its actors, and the services it lends them.

use std::path::Path;

use fermata_engine::{Graph, Registry, Services};

/// One of the two programs.
pub struct Program {
    /// The actors.
    pub registry: fn() -> Registry,
    /// The services that its actors need.
    pub services: fn() -> Services,
    /// Returns whether a folder holds the unfinished job of a graph, which a run in it resumes. Fails if nothing is
    /// left to do.
    pub goes_on: fn(&Path, &Graph) -> anyhow::Result<bool>,
    /// Whether it hands commands and graphs that it does not know over to the other program.
    pub may_hand_over: bool,
}

/// `fermata`: the live actors.
pub const LIVE: Program = Program {
    registry: live_registry,
    services: Services::new,
    goes_on: |_, _| Ok(false),
    may_hand_over: true,
};

/// Returns the engine's own actors and the live ones.
pub fn live_registry() -> Registry {
    #[allow(unused_mut)]
    let mut registry = Registry::builtin();
    #[cfg(feature = "live")]
    fermata_actors::register(&mut registry);
    #[cfg(feature = "remote")]
    fermata_remote::register(&mut registry);
    registry
}
