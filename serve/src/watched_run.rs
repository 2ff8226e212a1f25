//! What routes know of the run: a handle to it, and whether it is ready.

use std::sync::atomic::{AtomicBool, Ordering};

use fermata_engine::RunHandle;

/// A run as its routes see it.
pub struct WatchedRun {
    /// The run.
    pub handle: RunHandle,
    is_ready: AtomicBool,
}

impl WatchedRun {
    /// A run whose nodes are still being created.
    pub fn new(handle: RunHandle) -> Self {
        Self {
            handle,
            is_ready: AtomicBool::new(false),
        }
    }

    /// Whether all nodes have been created and the run is not over.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// Says whether it is.
    pub(crate) fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }
}
