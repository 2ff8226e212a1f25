//! Pixel buffers that OpenCV writes into, kept between faces (a `Mat` would be freed and allocated for every new size),
//! and conversions to OpenCV's sizes and methods.

use opencv::boxed_ref::BoxedRefMut;
use opencv::core::{Mat, Size, Vec3b};
use opencv::imgproc;

use crate::card::Interpolation;

/// A picture of varying size in a buffer that only grows.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    bytes: Vec<u8>,
}

impl Canvas {
    /// Returns a picture of this size with 1 or 3 channels of 8 bits; its contents are arbitrary. OpenCV writes into it
    /// only if its result has exactly this size and type.
    pub(super) fn paint(
        &mut self,
        size: Size,
        channels: usize,
    ) -> opencv::Result<BoxedRefMut<'_, Mat>> {
        let pixels = usize::try_from(size.area()).unwrap_or_default();
        let len = pixels * channels;
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        let bytes = &mut self.bytes[..len];
        match channels {
            1 => Mat::new_rows_cols_with_bytes_mut::<u8>(size.height, size.width, bytes),
            _ => Mat::new_rows_cols_with_bytes_mut::<Vec3b>(size.height, size.width, bytes),
        }
    }
}

/// Returns OpenCV's size; sides beyond its integers saturate and fail in OpenCV.
pub(super) fn size(width: usize, height: usize) -> Size {
    let side = |pixels| i32::try_from(pixels).unwrap_or(i32::MAX);
    Size::new(side(width), side(height))
}

/// Returns OpenCV's constant for a method.
pub(super) fn method(interpolation: Interpolation) -> i32 {
    match interpolation {
        Interpolation::Nearest => imgproc::INTER_NEAREST,
        Interpolation::Linear => imgproc::INTER_LINEAR,
        Interpolation::Cubic => imgproc::INTER_CUBIC,
        Interpolation::Area => imgproc::INTER_AREA,
        Interpolation::Lanczos4 => imgproc::INTER_LANCZOS4,
    }
}
