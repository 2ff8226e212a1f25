//! One picture of a video: pooled, reference-counted, 8-bit BGR. Decoding and drawing are elsewhere.

use std::sync::Arc;

use opencv::boxed_ref::{BoxedRef, BoxedRefMut};
use opencv::core::{Mat, Vec3b};

use crate::pool::{Pool, Pooled};

/// Bytes per pixel: blue, green, red.
pub const CHANNELS: usize = 3;

/// An immutable picture. Clones share the pixels.
#[derive(Clone, Debug)]
pub struct Frame {
    width: usize,
    height: usize,
    pixels: Arc<Pooled<u8>>,
}

impl Frame {
    /// Creates a frame of `height` × `width` BGR pixels, row by row without padding.
    ///
    /// # Panics
    /// Panics if `pixels` is not `height · width · 3` bytes long.
    pub fn from_bgr(width: usize, height: usize, pixels: Vec<u8>) -> Self {
        assert_eq!(pixels.len(), width * height * CHANNELS, "pixels of a frame");
        Self {
            width,
            height,
            pixels: Arc::new(Pooled::from_vec(pixels)),
        }
    }

    /// Returns the number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Returns the pixels: BGR, row by row without padding.
    pub fn bgr(&self) -> &[u8] {
        &self.pixels
    }

    /// Returns the pixels as an OpenCV matrix (8UC3), without copying.
    ///
    /// # Errors
    /// Returns an error of OpenCV if a side exceeds its integers.
    pub fn mat(&self) -> opencv::Result<BoxedRef<'_, Mat>> {
        let (rows, cols) = (to_i32(self.height), to_i32(self.width));
        Mat::new_rows_cols_with_bytes::<Vec3b>(rows, cols, &self.pixels)
    }
}

/// A picture being written.
#[derive(Debug)]
pub struct FrameMut {
    width: usize,
    height: usize,
    pixels: Pooled<u8>,
}

impl FrameMut {
    /// Returns the number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Returns the pixels: BGR, row by row without padding.
    pub fn bgr_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// Returns the pixels as a mutable OpenCV matrix; see [`Frame::mat`].
    ///
    /// # Errors
    /// Returns an error of OpenCV if a side exceeds its integers.
    pub fn mat_mut(&mut self) -> opencv::Result<BoxedRefMut<'_, Mat>> {
        let (rows, cols) = (to_i32(self.height), to_i32(self.width));
        Mat::new_rows_cols_with_bytes_mut::<Vec3b>(rows, cols, &mut self.pixels)
    }

    /// Returns the finished picture.
    pub fn freeze(self) -> Frame {
        Frame {
            width: self.width,
            height: self.height,
            pixels: Arc::new(self.pixels),
        }
    }
}

/// Allocator of the frames of a source or a drawing actor; pixels return to it when the last clone of a frame is
/// dropped.
#[derive(Clone, Debug, Default)]
pub struct FramePool(Pool<u8>);

impl FramePool {
    /// Creates an empty pool.
    pub fn new() -> Self {
        Self(Pool::new())
    }

    /// Returns a frame to write into; its contents are arbitrary.
    pub fn take(&self, width: usize, height: usize) -> FrameMut {
        FrameMut {
            width,
            height,
            pixels: self.0.take(width * height * CHANNELS),
        }
    }

    /// Returns a copy to draw on.
    pub fn copy(&self, frame: &Frame) -> FrameMut {
        let mut copy = self.take(frame.width, frame.height);
        copy.pixels.copy_from_slice(&frame.pixels);
        copy
    }
}

fn to_i32(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opencv::prelude::*;

    #[test]
    fn opencv_sees_the_pixels_of_a_frame_in_place() {
        let mut frame = FramePool::new().take(4, 2);
        frame.bgr_mut().fill(0);
        *frame
            .mat_mut()
            .expect("a small mat")
            .at_2d_mut::<Vec3b>(1, 3)
            .expect("inside") = Vec3b::from([1, 2, 3]);
        let frame = frame.freeze();
        assert_eq!(&frame.bgr()[21..], &[1, 2, 3]);
        let mat = frame.mat().expect("a small mat");
        assert_eq!((mat.rows(), mat.cols(), mat.channels()), (2, 4, 3));
    }
}
