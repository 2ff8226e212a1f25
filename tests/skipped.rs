//! Tests that cannot run here, and that report so where everybody sees it. This does not apply to what `make
//! setup-test` installs: without that, tests fail.

#![allow(dead_code, reason = "each program of tests uses a part")]

use std::io::Write;
use std::path::PathBuf;

/// Reports that a test, or a part of it, is skipped here.
pub(crate) fn skip(why: &str) {
    // Bypasses the harness, which shows a test's output only if it fails.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Returns the folder of real videos and models, which are not part of the repository.
pub(crate) fn data() -> Option<PathBuf> {
    let data = std::env::var_os("FERMATA_DATA").map(PathBuf::from);
    if data.is_none() {
        skip("no FERMATA_DATA");
    }
    data
}
