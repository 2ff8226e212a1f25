//! Checks that this process may open as many files as a run needs before its first node. Running out there (signals,
//! control plane) would panic inside libraries; when a node runs out, the error names the node.

use std::fs::File;
use std::io::{Error, ErrorKind};

use anyhow::bail;

/// Files, sockets and the like needed for the log, the lock, the outputs, the signal watcher and the control plane.
const NEEDED: usize = 16;

/// Refuses to start with fewer descriptors.
///
/// # Errors
/// Fails if there are too few, or if not even `/dev/null` can be opened.
pub(crate) fn refuse_too_few() -> anyhow::Result<()> {
    let mut open = Vec::with_capacity(NEEDED);
    while open.len() < NEEDED {
        match File::open("/dev/null") {
            Ok(file) => open.push(file),
            // A machine without `/dev/null` has other limits.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => bail!(too_few(open.len(), &error)),
        }
    }
    Ok(())
}

fn too_few(open: usize, error: &Error) -> String {
    format!(
        "nothing was started: a run needs {NEEDED} open files before its first node, and this process may open {open} more ({error}): raise `ulimit -n`"
    )
}
