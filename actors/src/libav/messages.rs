//! Turns libav's own messages into lines of this program's log.

// A C callback and its argument list.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};

use ffmpeg_next::{ffi, log};
use tracing::Level;

use super::complaints;

const TARGET: &str = "libav";
/// Longer messages are cut to this many bytes.
const MOST_BYTES: usize = 1024;

/// Type in which libav passes an argument list: every ABI passes one as a pointer or in registers like one, and it is
/// only forwarded. The bindings declare a different type for each processor.
type Arguments = *mut c_void;

/// Turns messages into log lines from now on, and counts errors among them. Errors are also returned and reported by
/// the actors, so that libav's own messages only matter when looking for a cause.
#[allow(clippy::missing_transmute_annotations)]
pub(super) fn hear() {
    // SAFETY: the callback has the type that libav calls except for how its last argument is declared, and may be
    // called from any thread.
    unsafe {
        ffi::av_log_set_callback(Some(std::mem::transmute::<
            unsafe extern "C" fn(*mut c_void, c_int, *const c_char, Arguments),
            _,
        >(told)));
    }
}

fn level(of: c_int) -> Option<Level> {
    match log::Level::try_from(of).ok()? {
        log::Level::Panic => Some(Level::ERROR),
        // A message that is fatal to one picture may come with every picture.
        log::Level::Fatal | log::Level::Error | log::Level::Warning => Some(Level::DEBUG),
        log::Level::Info | log::Level::Verbose => Some(Level::TRACE),
        _ => None,
    }
}

unsafe extern "C" fn told(
    from: *mut c_void,
    of: c_int,
    format: *const c_char,
    arguments: Arguments,
) {
    complaints::count(of);
    // The macros need the level at compile time; most messages are not wanted, which is cheap to find out first.
    let wanted = match level(of) {
        Some(Level::ERROR) => tracing::enabled!(target: TARGET, Level::ERROR),
        Some(Level::DEBUG) => tracing::enabled!(target: TARGET, Level::DEBUG),
        Some(_) => tracing::enabled!(target: TARGET, Level::TRACE),
        None => false,
    };
    if !wanted {
        return;
    }
    let mut line = [0u8; MOST_BYTES];
    let mut with_prefix: c_int = 1;
    // SAFETY: libav's own arguments are used only once; the line has the stated size and ends with a zero byte.
    unsafe {
        ffi::av_log_format_line2(
            from,
            of,
            format,
            arguments.cast(),
            line.as_mut_ptr().cast(),
            MOST_BYTES as c_int,
            &raw mut with_prefix,
        );
    }
    let Ok(line) = CStr::from_bytes_until_nul(&line) else {
        return;
    };
    let line = without_passwords(line.to_string_lossy().trim_end());
    match level(of) {
        Some(Level::ERROR) => tracing::error!(target: TARGET, "{line}"),
        Some(Level::DEBUG) => tracing::debug!(target: TARGET, "{line}"),
        _ => tracing::trace!(target: TARGET, "{line}"),
    }
}

/// Removes the passwords of addresses, which libav's messages contain as given.
fn without_passwords(line: &str) -> String {
    fermata_engine::graph::redact(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_message_is_a_log_line_a_level_lower_and_without_passwords() {
        super::super::start();
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let say = |level: c_int, text: &CStr| {
                // SAFETY: the format takes one string, which is given and ends with a zero byte.
                unsafe {
                    ffi::av_log(
                        std::ptr::null_mut(),
                        level,
                        c"opening %s\n".as_ptr(),
                        text.as_ptr(),
                    )
                };
            };
            say(
                ffi::AV_LOG_WARNING as c_int,
                c"rtsp://user:secret@door/main",
            );
            say(ffi::AV_LOG_INFO as c_int, c"too much");
            say(ffi::AV_LOG_FATAL as c_int, c"no picture");
        });
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(lines.contains("DEBUG libav: opening rtsp://"), "{lines}");
        assert!(lines.contains("door/main"), "{lines}");
        assert!(lines.contains("DEBUG libav: opening no picture"), "{lines}");
        assert!(
            !lines.contains("secret") && !lines.contains("too much"),
            "{lines}"
        );
    }
}
