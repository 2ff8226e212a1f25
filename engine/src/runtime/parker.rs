//! Parks and wakes a lane's thread without losing a wake-up, and without a system call while it is awake.
//!
//! A thread that finds nothing to do announces that it is about to park, polls once more, and only then parks; a waker
//! publishes its data first and then checks for the announcement. The two fences ensure that at least one of them sees
//! the other.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::thread::Thread;
use std::time::Duration;

const AWAKE: u8 = 0;
const PARKING: u8 = 1;
const WOKEN: u8 = 2;

/// The parking state of one lane's thread.
#[derive(Default)]
pub(crate) struct Parker {
    state: AtomicU8,
    thread: OnceLock<Thread>,
}

impl Parker {
    /// Registers the current thread as the one that parks here.
    pub(crate) fn adopt_current_thread(&self) {
        self.thread.get_or_init(std::thread::current);
    }

    /// Announces that the thread will park unless it finds work when it polls once more.
    pub(crate) fn announce(&self) {
        self.state.store(PARKING, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Returns whether the thread has announced that it parks and has not been woken since.
    pub(crate) fn is_parking(&self) -> bool {
        self.state.load(Ordering::Acquire) == PARKING
    }

    /// Withdraws the announcement, because work was found.
    pub(crate) fn retract(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Sleeps until woken or until the timeout expires; returns at once if woken since [`Parker::announce`].
    pub(crate) fn park(&self, timeout: Option<Duration>) {
        while self.state.load(Ordering::Acquire) == PARKING {
            match timeout {
                Some(timeout) => {
                    std::thread::park_timeout(timeout);
                    break;
                }
                None => std::thread::park(),
            }
        }
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Wakes the thread if it is parked or about to park. The caller must publish its data first.
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == PARKING
            && self.state.swap(WOKEN, Ordering::AcqRel) == PARKING
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}
