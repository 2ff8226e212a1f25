//! Taking a lock whose holder may have panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic under the lock. A panic of an actor is caught where it is called and passes no lock; one
/// of the engine's own code ends the run, and the report that says so needs what is kept here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
