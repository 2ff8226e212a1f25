//! How the process's allocator treats large blocks. libtorch allocates each activation anew; glibc gives blocks beyond
//! 32 MiB back to the system as soon as they are free, and the next step faults the same pages in again. On a network
//! with large activations that is half of the time.

#![allow(unsafe_code)]

use std::ffi::c_int;

/// Larger than any activation.
const LARGEST_BLOCK: c_int = 1 << 30;

/// Lets the allocator keep what is freed for the next step: called once by a program that computes with libtorch,
/// before it does. Costs memory: peaks are up to a third higher (docs/results/learn.md). Does nothing where the
/// allocator is not glibc's.
pub fn keep_freed_blocks() {
    #[cfg(target_env = "gnu")]
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: `mallopt` takes two numbers and touches nothing but the allocator's settings, under its own lock. A
        // refusal leaves them as they were, which is slower and not wrong.
        let _ = unsafe { libc::mallopt(parameter, LARGEST_BLOCK) };
    }
}
