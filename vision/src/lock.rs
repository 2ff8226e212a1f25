//! Taking a lock whose holder may have panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic under the lock: frames and buffers are put in and taken out whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
