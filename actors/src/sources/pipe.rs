//! Named pipes as inputs. Opening one blocks until it has a writer, and reading blocks until there are bytes; neither
//! may keep a stream from being ended.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_setfl};

/// Interval between two checks whether to give up waiting.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Returns whether the path is a named pipe.
pub(crate) fn is_pipe(path: &Path) -> bool {
    let found = path.metadata();
    found.is_ok_and(|found| found.file_type().is_fifo())
}

/// An open pipe.
pub(crate) struct Pipe(File);

impl Pipe {
    /// Waits for a writer; returns `None` once `gives_up` returns true. Reads never block.
    pub(crate) fn open(path: &Path, gives_up: impl Fn() -> bool) -> io::Result<Option<Self>> {
        let (sender, opened) = std::sync::mpsc::sync_channel(1);
        let waits_for = path.to_owned();
        std::thread::Builder::new()
            .name("pipe".to_owned())
            .spawn(move || {
                // The receiver may be gone.
                let _ = sender.send(File::open(waits_for));
            })?;
        let file = loop {
            match opened.recv_timeout(LOOK_EVERY) {
                Ok(opened) => break opened?,
                Err(_) if gives_up() => {
                    // Opening a writer lets the thread finish.
                    let mut writer = OpenOptions::new();
                    writer
                        .write(true)
                        .custom_flags(OFlags::NONBLOCK.bits() as i32);
                    let _ = writer.open(path);
                    return Ok(None);
                }
                Err(_) => {}
            }
        };
        // libav retries, and checks between two attempts whether to continue.
        fcntl_setfl(&file, OFlags::NONBLOCK)?;
        Ok(Some(Self(file)))
    }

    /// Returns the URL under which libav reads the pipe while `self` is alive.
    pub(crate) fn url(&self) -> String {
        format!("pipe:{}", self.0.as_raw_fd())
    }
}
