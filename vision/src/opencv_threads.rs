//! Restricts OpenCV to one thread. Parallelism comes from the engine's lanes; a thread pool behind each of them would
//! only interfere.

use std::sync::OnceLock;

/// Disables OpenCV's own threads for the whole process. Must be called before any other use of OpenCV; may be called
/// from any number of threads at once.
///
/// # Errors
/// Returns an error of OpenCV, the same one for every caller.
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
