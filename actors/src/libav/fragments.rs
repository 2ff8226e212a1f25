//! The end of a fragment in a fragmented MP4, and bytes of one's own between what a muxer writes.

#![allow(unsafe_code)]

use ffmpeg_next::format::context::Output;
use ffmpeg_next::{Error, ffi};

/// libav's words for where a place is counted from (C's `SEEK_SET` and `SEEK_CUR`).
const FROM_START: i32 = 0;
const FROM_HERE: i32 = 1;

/// Writes what has been muxed since the last time as a fragment, and hands it to the system. For muxers that keep
/// packets until they are told.
pub(crate) fn end_fragment(output: &mut Output) -> Result<(), Error> {
    // SAFETY: the context is open for writing, and no packet at all is libav's word for this.
    match unsafe { ffi::av_write_frame(output.as_mut_ptr(), std::ptr::null_mut()) } {
        code if code < 0 => Err(Error::from(code)),
        _ => Ok(()),
    }
}

/// The byte of the file that is written next.
pub(crate) fn position(output: &mut Output) -> Result<u64, Error> {
    // SAFETY: the context is open for writing, so it has a file; a move by nothing changes nothing.
    let place = unsafe { ffi::avio_seek((*output.as_mut_ptr()).pb, 0, FROM_HERE) };
    u64::try_from(place).map_err(|_| Error::from(place as i32))
}

/// Writes bytes behind what is written, and hands them to the system.
pub(crate) fn append(output: &mut Output, bytes: &[u8]) -> Result<(), Error> {
    let length = i32::try_from(bytes.len()).map_err(|_| Error::InvalidData)?;
    // SAFETY: the context is open for writing, so it has a file; the bytes are as many as is said, and libav copies
    // them.
    let code = unsafe {
        let file = (*output.as_mut_ptr()).pb;
        ffi::avio_write(file, bytes.as_ptr(), length);
        ffi::avio_flush(file);
        (*file).error
    };
    match code {
        code if code < 0 => Err(Error::from(code)),
        _ => Ok(()),
    }
}

/// Writes bytes in the place of others that the file has from this one on. For files that are finished: what would be
/// written next would go behind them.
pub(crate) fn replace(output: &mut Output, from: u64, bytes: &[u8]) -> Result<(), Error> {
    let from = i64::try_from(from).map_err(|_| Error::InvalidData)?;
    // SAFETY: the context is open for writing, so it has a file.
    match unsafe { ffi::avio_seek((*output.as_mut_ptr()).pb, from, FROM_START) } {
        code if code < 0 => Err(Error::from(code as i32)),
        _ => append(output, bytes),
    }
}
