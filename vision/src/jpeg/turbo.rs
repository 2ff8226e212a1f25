//! libjpeg-turbo through its C interface, TurboJPEG 2, which Debian 12 and 13 and Ubuntu 24.04 have.
//!
//! `image` encodes in ten times the time (`cargo bench -p fermata-vision --bench jpeg`). The crate `turbojpeg` requires
//! version 3 and would build it from source: cmake, nasm, and two minutes of every first build.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_uchar, c_ulong, c_void};
use std::ptr::NonNull;

use crate::frame::CHANNELS;

// <turbojpeg.h>; the numbers below are from there too.
unsafe extern "C" {
    fn tjInitCompress() -> *mut c_void;
    fn tjInitDecompress() -> *mut c_void;
    fn tjDestroy(handle: *mut c_void) -> c_int;
    fn tjGetErrorStr2(handle: *mut c_void) -> *const c_char;
    fn tjFree(buffer: *mut c_uchar);
    fn tjCompress2(
        handle: *mut c_void,
        pixels: *const c_uchar,
        width: c_int,
        pitch: c_int,
        height: c_int,
        order: c_int,
        jpeg: *mut *mut c_uchar,
        length: *mut c_ulong,
        sampling: c_int,
        quality: c_int,
        flags: c_int,
    ) -> c_int;
    fn tjDecompressHeader3(
        handle: *mut c_void,
        jpeg: *const c_uchar,
        length: c_ulong,
        width: *mut c_int,
        height: *mut c_int,
        sampling: *mut c_int,
        colours: *mut c_int,
    ) -> c_int;
    fn tjDecompress2(
        handle: *mut c_void,
        jpeg: *const c_uchar,
        length: c_ulong,
        pixels: *mut c_uchar,
        width: c_int,
        pitch: c_int,
        height: c_int,
        order: c_int,
        flags: c_int,
    ) -> c_int;
}

/// The exact transform, which gives the same pixels on every processor.
const ACCURATE_DCT: c_int = 4096;
/// Corrupt data is an error. The default is to fill in gray.
const STOP_ON_WARNING: c_int = 8192;
/// A progressive picture with more than 500 scans is an error: a small file would decode for minutes.
const LIMIT_SCANS: c_int = 32_768;

/// Order of a pixel's channels: blue, green, red.
const BGR: c_int = 1;
const SAMPLING_444: c_int = 0;
const SAMPLING_420: c_int = 2;
/// Qualities from here on keep the colour of every pixel.
const FULL_COLOUR: u8 = 90;

/// Why libjpeg-turbo cannot encode or decode a picture, in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

/// A compressor or a decompressor.
struct Handle(NonNull<c_void>);

impl Handle {
    fn new(created: *mut c_void) -> Result<Self, CodecError> {
        let created = NonNull::new(created);
        created
            .map(Self)
            .ok_or_else(|| CodecError("no memory".to_owned()))
    }

    /// Turns a return value into a result.
    fn result(&self, returned: c_int) -> Result<(), CodecError> {
        if returned == 0 {
            return Ok(());
        }
        // SAFETY: the handle is alive, and the text is a terminated string that lasts until its next call.
        let text = unsafe { CStr::from_ptr(tjGetErrorStr2(self.0.as_ptr())) };
        Err(CodecError(text.to_string_lossy().into_owned()))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle came from `tjInit…` and is not used again.
        unsafe { tjDestroy(self.0.as_ptr()) };
    }
}

/// A JPEG in memory that libjpeg-turbo has allocated.
struct Buffer(*mut c_uchar);

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: null, or allocated by `tjCompress2` and not used again.
        unsafe { tjFree(self.0) };
    }
}

fn length(side: usize) -> Result<c_int, CodecError> {
    c_int::try_from(side).map_err(|_| CodecError(format!("{side} is too large")))
}

/// Appends a picture of `3 * width * height` bytes, blue first, as a JPEG with a quality from 1 to 100.
///
/// # Errors
/// Fails if the picture has no pixels, or a side of more than 65,500 pixels.
pub(super) fn encode(
    bgr: &[u8],
    (width, height): (usize, usize),
    quality: u8,
    bytes: &mut Vec<u8>,
) -> Result<(), CodecError> {
    assert_eq!(bgr.len(), CHANNELS * width * height, "{width} x {height}");
    let (columns, rows) = (length(width)?, length(height)?);
    let sampling = if quality < FULL_COLOUR {
        SAMPLING_420
    } else {
        SAMPLING_444
    };
    // SAFETY: no arguments.
    let handle = Handle::new(unsafe { tjInitCompress() })?;
    let mut jpeg = Buffer(std::ptr::null_mut());
    let mut size = 0;
    // SAFETY: the pixels are as many as the sides announce (a pitch of 0 means rows without padding), and the buffer is
    // null, so that it is allocated.
    let returned = unsafe {
        tjCompress2(
            handle.0.as_ptr(),
            bgr.as_ptr(),
            columns,
            0,
            rows,
            BGR,
            &raw mut jpeg.0,
            &raw mut size,
            sampling,
            c_int::from(quality.clamp(1, 100)),
            ACCURATE_DCT,
        )
    };
    handle.result(returned)?;
    // SAFETY: after success the buffer holds `size` bytes.
    bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(jpeg.0, size as usize) });
    Ok(())
}

/// A JPEG whose header has been read.
pub(super) struct Decoder<'a> {
    handle: Handle,
    bytes: &'a [u8],
    width: c_int,
    height: c_int,
    colours: c_int,
}

impl<'a> Decoder<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// Fails if there is none, or if it is of a kind that TurboJPEG does not decode.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, CodecError> {
        // SAFETY: no arguments.
        let handle = Handle::new(unsafe { tjInitDecompress() })?;
        let (mut width, mut height, mut sampling, mut colours) = (0, 0, 0, 0);
        // SAFETY: the bytes are as many as announced, and the results have places.
        let returned = unsafe {
            tjDecompressHeader3(
                handle.0.as_ptr(),
                bytes.as_ptr(),
                bytes.len() as c_ulong,
                &raw mut width,
                &raw mut height,
                &raw mut sampling,
                &raw mut colours,
            )
        };
        handle.result(returned)?;
        Ok(Self {
            handle,
            bytes,
            width,
            height,
            colours,
        })
    }

    /// Returns the number of columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        // Positive: the library refuses a picture without pixels.
        (self.width as usize, self.height as usize)
    }

    /// Returns the number of channels: 1, 3 or 4.
    pub(super) fn channels(&self) -> u8 {
        match self.colours {
            2 => 1,
            0 | 1 => 3,
            _ => 4,
        }
    }

    /// Decodes into `3 * width * height` bytes, blue first; a gray picture too.
    ///
    /// # Errors
    /// Fails if the data is corrupt or truncated, or has four channels.
    pub(super) fn read(self, pixels: &mut [u8]) -> Result<(), CodecError> {
        let (width, height) = self.size();
        assert_eq!(
            pixels.len(),
            CHANNELS * width * height,
            "{width} x {height}"
        );
        // SAFETY: the bytes are as many as announced, and there is room for every pixel: the library writes no larger picture
        // than the size that it is given.
        let returned = unsafe {
            tjDecompress2(
                self.handle.0.as_ptr(),
                self.bytes.as_ptr(),
                self.bytes.len() as c_ulong,
                pixels.as_mut_ptr(),
                self.width,
                0,
                self.height,
                BGR,
                ACCURATE_DCT | STOP_ON_WARNING | LIMIT_SCANS,
            )
        };
        self.handle.result(returned)
    }
}
