//! Taking a lock whose holder may have panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic under the lock: what is kept is changed in single steps (put in, taken out or counted),
/// and a page that goes on with it shows no worse than a number that is old.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
