//! Ends fragments of a fragmented MP4, and writes custom bytes between a muxer's output.

#![allow(unsafe_code)]

use ffmpeg_next::format::context::Output;
use ffmpeg_next::{Error, ffi};

/// Values of libav's `whence` argument (C's `SEEK_SET` and `SEEK_CUR`).
const FROM_START: i32 = 0;
const FROM_HERE: i32 = 1;

/// Writes what has been muxed since the last call as a fragment, and passes it to the system. For muxers that buffer
/// packets until they are flushed.
pub(crate) fn end_fragment(output: &mut Output) -> Result<(), Error> {
    // SAFETY: the context is open for writing, and a null packet is libav's way to ask for this.
    match unsafe { ffi::av_write_frame(output.as_mut_ptr(), std::ptr::null_mut()) } {
        code if code < 0 => Err(Error::from(code)),
        _ => Ok(()),
    }
}

/// Returns the file position of the next byte to be written.
pub(crate) fn position(output: &mut Output) -> Result<u64, Error> {
    // SAFETY: the context is open for writing, so it has a file; seeking by 0 changes nothing.
    let place = unsafe { ffi::avio_seek((*output.as_mut_ptr()).pb, 0, FROM_HERE) };
    u64::try_from(place).map_err(|_| Error::from(place as i32))
}

/// Appends bytes to what is written, and passes them to the system.
pub(crate) fn append(output: &mut Output, bytes: &[u8]) -> Result<(), Error> {
    let length = i32::try_from(bytes.len()).map_err(|_| Error::InvalidData)?;
    // SAFETY: the context is open for writing, so it has a file; the length is that of the bytes, and libav copies
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

/// Overwrites bytes of the file from this position on. Only for finished files: anything written next would go after
/// these bytes.
pub(crate) fn replace(output: &mut Output, from: u64, bytes: &[u8]) -> Result<(), Error> {
    let from = i64::try_from(from).map_err(|_| Error::InvalidData)?;
    // SAFETY: the context is open for writing, so it has a file.
    match unsafe { ffi::avio_seek((*output.as_mut_ptr()).pb, from, FROM_START) } {
        code if code < 0 => Err(Error::from(code as i32)),
        _ => append(output, bytes),
    }
}
