//! What libav says of damage it reads over: it returns no error for it, and only logs. Which file it was is the
//! caller's to know; messages of other threads are not seen.

use std::cell::Cell;
use std::ffi::c_int;

use ffmpeg_next::ffi;

thread_local! {
    static COMPLAINTS: Cell<u64> = const { Cell::new(0) };
}

/// How many errors libav has logged on this thread so far.
pub(crate) fn complaints() -> u64 {
    COMPLAINTS.get()
}

/// Counts a message if it is an error.
pub(super) fn count(level: c_int) {
    // A thread that ends may log after its own storage is gone.
    if level <= ffi::AV_LOG_ERROR {
        let _ = COMPLAINTS.try_with(|complaints| complaints.set(complaints.get() + 1));
    }
}
