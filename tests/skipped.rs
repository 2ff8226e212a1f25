//! Tests that do nothing where they cannot, and say so where everybody sees it. What `make setup-test` installs is no
//! such case: without it, tests fail.

#![allow(dead_code, reason = "each program of tests uses a part")]

use std::io::Write;
use std::path::PathBuf;

/// Says that a test, or a part of it, does nothing here.
pub(crate) fn skip(why: &str) {
    // Past the harness, which shows nothing that a test prints unless it fails.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Folder of real videos and models, which are not part of the repository.
pub(crate) fn data() -> Option<PathBuf> {
    let data = std::env::var_os("FERMATA_DATA").map(PathBuf::from);
    if data.is_none() {
        skip("no FERMATA_DATA");
    }
    data
}
