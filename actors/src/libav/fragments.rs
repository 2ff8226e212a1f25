//! The end of a fragment in a fragmented MP4.

#![allow(unsafe_code)]

use ffmpeg_next::format::context::Output;
use ffmpeg_next::{Error, ffi};

/// Writes what has been muxed since the last time as a fragment, and hands it to the system. For muxers that keep packets until
/// they are told.
pub(crate) fn end_fragment(output: &mut Output) -> Result<(), Error> {
    // SAFETY: the context is open for writing, and no packet at all is libav's word for this.
    match unsafe { ffi::av_write_frame(output.as_mut_ptr(), std::ptr::null_mut()) } {
        code if code < 0 => Err(Error::from(code)),
        _ => Ok(()),
    }
}
