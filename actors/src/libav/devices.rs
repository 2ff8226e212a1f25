//! Cameras of the machine. libavdevice is only loaded when the first camera is opened: it links to sound, window and
//! disc libraries, about eighty in all, which would slow down every start of the program.

// The compiler cannot check a library that is loaded at run time.
#![allow(unsafe_code)]

use std::sync::OnceLock;

use ffmpeg_next::{Format, ffi, format};

/// Returns the library's file name. libavdevice has had libavformat's major number since FFmpeg 5.0, and a mixture of
/// releases would not work.
fn library_name() -> String {
    format!("libavdevice.so.{}", ffi::LIBAVFORMAT_VERSION_MAJOR)
}

/// Returns the input format for V4L2 cameras.
///
/// # Errors
/// If libavdevice cannot be loaded, or was built without V4L2.
pub(crate) fn v4l2() -> Result<Format, String> {
    register()?;
    // SAFETY: the name ends with a zero byte; the result is static or null.
    let found = unsafe { ffi::av_find_input_format(c"v4l2".as_ptr()) };
    if found.is_null() {
        return Err(format!("{} was built without V4L2", library_name()));
    }
    // SAFETY: not null, and formats live as long as the process.
    let input = unsafe { format::Input::wrap(found.cast_mut()) };
    Ok(Format::Input(input))
}

fn register() -> Result<(), String> {
    static REGISTERED: OnceLock<Result<(), String>> = OnceLock::new();
    let registered = REGISTERED.get_or_init(|| {
        // SAFETY: libav's libraries have no constructors with preconditions, and `avdevice_register_all` takes and
        // returns nothing. The library is never unloaded: libavformat keeps pointers into it.
        unsafe {
            let name = library_name();
            let library = libloading::Library::new(&name)
                .map_err(|error| format!("a camera needs {name} (apt's libavdevice): {error}"))?;
            let library = Box::leak(Box::new(library));
            let register: libloading::Symbol<unsafe extern "C" fn()> = library
                .get(b"avdevice_register_all\0")
                .map_err(|error| error.to_string())?;
            register();
        }
        Ok(())
    });
    registered.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libav;

    #[test]
    fn libav_knows_v4l2() {
        libav::start();
        let format = v4l2().unwrap_or_else(|error| panic!("{error}"));
        assert!(format.name().contains("v4l2"));
    }
}
