//! Named pipes as inputs: opening one waits for its writer, and reading for its bytes; neither may keep a stream from
//! being ended.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_setfl};

/// Time between two looks at whether the wait is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether a path leads to a pipe.
pub(crate) fn is_pipe(path: &Path) -> bool {
    let found = path.metadata();
    found.is_ok_and(|found| found.file_type().is_fifo())
}

/// An open pipe.
pub(crate) struct Pipe(File);

impl Pipe {
    /// Waits for a writer, until `gives_up` says so: then there is none. Reads of it never wait.
    pub(crate) fn open(path: &Path, gives_up: impl Fn() -> bool) -> io::Result<Option<Self>> {
        let (sender, opened) = std::sync::mpsc::sync_channel(1);
        let waits_for = path.to_owned();
        std::thread::Builder::new()
            .name("pipe".to_owned())
            .spawn(move || {
                // Nobody may wait for it any more.
                let _ = sender.send(File::open(waits_for));
            })?;
        let file = loop {
            match opened.recv_timeout(LOOK_EVERY) {
                Ok(opened) => break opened?,
                Err(_) if gives_up() => {
                    // A writer, so that the thread need not wait on.
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
        // libav asks again, and between two tries whether it is to go on.
        fcntl_setfl(&file, OFlags::NONBLOCK)?;
        Ok(Some(Self(file)))
    }

    /// Under which name libav reads it, as long as this is there.
    pub(crate) fn url(&self) -> String {
        format!("pipe:{}", self.0.as_raw_fd())
    }
}
