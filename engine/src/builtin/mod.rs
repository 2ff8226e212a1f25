//! The engine's own actors, for tests, benches and experiments.

mod discard;
mod identity;
mod inject_faults;
mod test_source;

pub use discard::Discard;
pub use identity::Identity;
pub use inject_faults::InjectFaults;
pub use test_source::{Blob, TestSource};

use crate::registry::Registry;

impl Registry {
    /// Creates a registry of the engine's own actors.
    pub fn builtin() -> Self {
        let mut registry = Self::default();
        registry.register_source::<TestSource>();
        registry.register::<Identity>();
        registry.register::<Discard>();
        registry.register::<InjectFaults>();
        registry
    }
}
