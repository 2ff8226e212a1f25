//! Real faults, on threads and over time: failures, stalls, floods, and what a long run must not accumulate.
//!
//! In `make test` each test takes seconds; with `FERMATA_SOAK=1` (`make soak`) the long runs take minutes.

mod faults;
mod kills;
mod long_runs;

/// Returns whether to use the long times instead of the short ones.
fn soak() -> bool {
    std::env::var_os("FERMATA_SOAK").is_some()
}
