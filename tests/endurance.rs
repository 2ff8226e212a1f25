//! Faults for real, on threads and over time: what breaks, what is held up, what floods, and what a long run must not
//! gather.
//!
//! In `make test` each takes seconds; with `FERMATA_SOAK=1` (`make soak`) the long runs take minutes.

mod faults;
mod kills;
mod long_runs;

/// The long times instead of the short ones.
fn soak() -> bool {
    std::env::var_os("FERMATA_SOAK").is_some()
}
