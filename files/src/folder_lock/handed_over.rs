//! A locked file's way through `exec`: its descriptor stays open, and an environment variable tells the next program
//! its number.

#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

/// `PROCESS:DESCRIPTOR`. With `exec` the process keeps its number, so what stands there is for no other.
const VARIABLE: &str = "FERMATA_FOLDER_LOCK";

/// Whether this process has taken over what it was handed: a second lock of the same folder must not come from there.
/// As global as the environment that it belongs to.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Lets the file stay open in the program that `command` is.
pub(super) fn give(file: &File, command: &mut Command) -> io::Result<()> {
    fcntl_setfd(file, FdFlags::empty())?;
    let number = file.as_raw_fd();
    command.env(VARIABLE, format!("{}:{number}", std::process::id()));
    Ok(())
}

/// The file `path`, open and locked, if the program before this one handed it over.
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
    // SAFETY: the descriptor is open, as was just seen. Nothing in this process owns it, since it came with `exec`, so
    // nothing closes it while it is borrowed.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    let file = File::from(fcntl_dupfd_cloexec(inherited, 0).ok()?);
    // Programs that this one starts are not to hold it.
    fcntl_setfd(inherited, FdFlags::CLOEXEC).ok()?;
    // Of a descriptor that is locked already this is true at once; one that only looks like it is not taken.
    file.try_lock().ok()?;
    Some(file)
}
