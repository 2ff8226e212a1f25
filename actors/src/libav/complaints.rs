//! What libav says of damage it reads over: it returns no error for it, and only logs. Which file it was is the caller's to
//! know; messages of other threads are not seen.

// libav's log is a C callback, of which it has one; the type of its last argument differs between processors.
#![allow(unsafe_code, clippy::missing_transmute_annotations)]

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};

use ffmpeg_next::ffi;

thread_local! {
    static COMPLAINTS: Cell<u64> = const { Cell::new(0) };
}

/// How many errors libav has logged on this thread so far.
pub(crate) fn complaints() -> u64 {
    COMPLAINTS.get()
}

/// Counts libav's errors from now on, in the place of printing them.
pub(crate) fn count_complaints() {
    // SAFETY: the callback is a plain function that lives as long as the process and reads none of its pointers. Its last
    // argument is a `va_list`, which every ABI passes as a pointer or in registers like one, and which it does not touch.
    unsafe {
        ffi::av_log_set_callback(Some(std::mem::transmute::<
            unsafe extern "C" fn(*mut c_void, c_int, *const c_char, *mut c_void),
            _,
        >(count)));
    }
}

unsafe extern "C" fn count(_: *mut c_void, level: c_int, _: *const c_char, _: *mut c_void) {
    // A thread that ends may log after its own storage is gone.
    if level <= ffi::AV_LOG_ERROR {
        let _ = COMPLAINTS.try_with(|complaints| complaints.set(complaints.get() + 1));
    }
}
