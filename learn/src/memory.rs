//! Settings of the allocator for large blocks. libtorch allocates each activation anew; glibc returns blocks beyond 32
//! MiB to the system as soon as they are freed, and the next step faults the same pages in again. On a network with
//! large activations that takes half of the time.

#![allow(unsafe_code)]

use std::ffi::c_int;

/// Larger than any activation.
const LARGEST_BLOCK: c_int = 1 << 30;

/// Lets the allocator keep freed memory for the next step. A program that computes with libtorch calls this once,
/// before it begins. Costs memory: peaks are up to a third higher (docs/results/learn.md). Does nothing if the
/// allocator is not glibc's.
pub fn keep_freed_blocks() {
    #[cfg(target_env = "gnu")]
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: `mallopt` takes two numbers and changes nothing but the allocator's settings, under its own lock. If
        // it refuses, they stay as they were, which is slower but not wrong.
        let _ = unsafe { libc::mallopt(parameter, LARGEST_BLOCK) };
    }
}
