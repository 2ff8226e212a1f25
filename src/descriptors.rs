//! Whether this process may open as many files as a run needs before its first node. What lacks one there (the signals,
//! the control plane) panics in libraries; what a node lacks is told with its name.

use std::fs::File;
use std::io::{Error, ErrorKind};

use anyhow::bail;

/// Files, sockets and the like: of the log, the lock and the outputs, of what waits for signals, and of the control
/// plane.
const NEEDED: usize = 16;

/// Refuses to begin with less.
///
/// # Errors
/// There are too few, or not even `/dev/null` can be opened.
pub(crate) fn refuse_too_few() -> anyhow::Result<()> {
    let mut open = Vec::with_capacity(NEEDED);
    while open.len() < NEEDED {
        match File::open("/dev/null") {
            Ok(file) => open.push(file),
            // A machine without it has other limits.
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
