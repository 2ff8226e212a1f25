//! Locking a mutex whose holder may have panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, even after a panic under the lock. A panic of an actor is caught where the actor is called and does
/// not reach a lock; a panic of the engine's own code ends the run, and the report of it needs the data kept here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
