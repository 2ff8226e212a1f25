//! Counts the errors that libav logs about damage that it skips without returning an error. The caller knows which file
//! it reads; messages of other threads do not count.

use std::cell::Cell;
use std::ffi::c_int;

use ffmpeg_next::ffi;

thread_local! {
    static COMPLAINTS: Cell<u64> = const { Cell::new(0) };
}

/// Returns how many errors libav has logged on this thread so far.
pub(crate) fn complaints() -> u64 {
    COMPLAINTS.get()
}

/// Counts a message if it is an error.
pub(super) fn count(level: c_int) {
    // An ending thread may log after its thread-local storage is gone.
    if level <= ffi::AV_LOG_ERROR {
        let _ = COMPLAINTS.try_with(|complaints| complaints.set(complaints.get() + 1));
    }
}
