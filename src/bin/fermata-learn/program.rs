//! The actors of this program: the live ones and the job actors.

use std::path::Path;

use fermata::program::{Program, live_registry};
use fermata_engine::{Graph, Registry};

/// `fermata-learn`, which has no other program to hand over to.
pub(crate) const PROGRAM: Program = Program {
    registry,
    services: fermata_jobs::services,
    goes_on,
    may_hand_over: false,
};

fn goes_on(folder: &Path, graph: &Graph) -> anyhow::Result<bool> {
    fermata_jobs::begun::is_in(folder, graph).map_err(|error| anyhow::anyhow!("{error}"))
}

fn registry() -> Registry {
    let mut registry = live_registry();
    fermata_jobs::register(&mut registry);
    registry
}
