//! How many threads OpenCV uses by itself: one. The engine's lanes are the parallelism; a pool behind each of them
//! would only get in their way.

use std::sync::OnceLock;

/// Turns OpenCV's own threads off for the whole process. Everything that calls OpenCV calls this first; it may be
/// called from any number of threads at once.
///
/// # Errors
/// OpenCV's own, the same ones for every caller.
pub fn use_one_thread() -> Result<(), opencv::Error> {
    // OpenCV changes the number without a lock: two callers at once crash it (OpenCV 4.6 with TBB).
    static DONE: OnceLock<Result<(), (i32, String)>> = OnceLock::new();
    let done = DONE.get_or_init(|| {
        let set = opencv::core::set_num_threads(1);
        set.map_err(|error| (error.code, error.message))
    });
    done.clone()
        .map_err(|(code, message)| opencv::Error::new(code, message))
}
