//! Passes a locked file through `exec`: its descriptor stays open, and an environment variable holds the descriptor's
//! number.

#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

/// Environment variable with the value `PROCESS:DESCRIPTOR`. `exec` keeps the process id, so other processes ignore it.
const VARIABLE: &str = "FERMATA_FOLDER_LOCK";

/// Whether this process has taken over the lock: a second lock of the same folder must not come from the variable. It
/// is as global as the environment.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Keeps the file open in the program of `command`.
pub(super) fn give(file: &File, command: &mut Command) -> io::Result<()> {
    fcntl_setfd(file, FdFlags::empty())?;
    let number = file.as_raw_fd();
    command.env(VARIABLE, format!("{}:{number}", std::process::id()));
    Ok(())
}

/// Returns the locked file `path` if the previous program handed it over.
pub(super) fn take(path: &Path) -> Option<File> {
    let handed = std::env::var(VARIABLE).ok()?;
    let (process, number) = handed.split_once(':')?;
    let number: RawFd = number.parse().ok()?;
    if process.parse() != Ok(std::process::id()) {
        return None;
    }
    // It may be the lock of another folder.
    let open = fs::metadata(format!("/proc/self/fd/{number}")).ok()?;
    let found = fs::metadata(path).ok()?;
    if (open.dev(), open.ino()) != (found.dev(), found.ino()) || TAKEN.swap(true, Ordering::AcqRel)
    {
        return None;
    }
    // SAFETY: the descriptor is open, as was just checked. Nothing in this process owns it, since it came through
    // `exec`, so nothing closes it while it is borrowed.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    let file = File::from(fcntl_dupfd_cloexec(inherited, 0).ok()?);
    // Child processes must not inherit it.
    fcntl_setfd(inherited, FdFlags::CLOEXEC).ok()?;
    // Succeeds at once for a descriptor that holds the lock; one that only has the right number is rejected.
    file.try_lock().ok()?;
    Some(file)
}
