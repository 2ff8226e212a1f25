//! The actors of this program: the live ones and those of jobs.

use fermata::program::{Program, live_registry};
use fermata_engine::Registry;

/// `fermata-learn`. There is no other program that knows more.
pub(crate) const PROGRAM: Program = Program {
    registry,
    services: fermata_jobs::services,
    may_hand_over: false,
};

fn registry() -> Registry {
    let mut registry = live_registry();
    fermata_jobs::register(&mut registry);
    registry
}
