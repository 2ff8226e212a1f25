//! One picture of a video: pooled, reference-counted, 8-bit BGR. How it is decoded or drawn on is elsewhere.

use std::sync::Arc;

use opencv::boxed_ref::{BoxedRef, BoxedRefMut};
use opencv::core::{Mat, Vec3b};

use crate::pool::{Pool, Pooled};

/// Bytes of a pixel: blue, green, red.
pub const CHANNELS: usize = 3;

/// A picture that nobody changes any more. Clones share the pixels.
#[derive(Clone, Debug)]
pub struct Frame {
    width: usize,
    height: usize,
    pixels: Arc<Pooled<u8>>,
}

impl Frame {
    /// A frame of `height` × `width` BGR pixels, row by row without padding.
    ///
    /// # Panics
    /// If `pixels` is not `height · width · 3` bytes long.
    pub fn from_bgr(width: usize, height: usize, pixels: Vec<u8>) -> Self {
        assert_eq!(pixels.len(), width * height * CHANNELS, "pixels of a frame");
        Self {
            width,
            height,
            pixels: Arc::new(Pooled::from_vec(pixels)),
        }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels: BGR, row by row without padding.
    pub fn bgr(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels as OpenCV sees them (8UC3), without a copy.
    ///
    /// # Errors
    /// OpenCV's own, for sizes beyond its integers.
    pub fn mat(&self) -> opencv::Result<BoxedRef<'_, Mat>> {
        let (rows, cols) = (to_i32(self.height), to_i32(self.width));
        Mat::new_rows_cols_with_bytes::<Vec3b>(rows, cols, &self.pixels)
    }
}

/// A picture that is being written.
#[derive(Debug)]
pub struct FrameMut {
    width: usize,
    height: usize,
    pixels: Pooled<u8>,
}

impl FrameMut {
    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels: BGR, row by row without padding.
    pub fn bgr_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// See [`Frame::mat`].
    ///
    /// # Errors
    /// OpenCV's own, for sizes beyond its integers.
    pub fn mat_mut(&mut self) -> opencv::Result<BoxedRefMut<'_, Mat>> {
        let (rows, cols) = (to_i32(self.height), to_i32(self.width));
        Mat::new_rows_cols_with_bytes_mut::<Vec3b>(rows, cols, &mut self.pixels)
    }

    /// The finished picture.
    pub fn freeze(self) -> Frame {
        Frame {
            width: self.width,
            height: self.height,
            pixels: Arc::new(self.pixels),
        }
    }
}

/// Where a source or a drawing actor takes its frames from; pixels return when the last clone of a frame is dropped.
#[derive(Clone, Debug, Default)]
pub struct FramePool(Pool<u8>);

impl FramePool {
    /// An empty pool.
    pub fn new() -> Self {
        Self(Pool::new())
    }

    /// A frame to write into; its contents are arbitrary.
    pub fn take(&self, width: usize, height: usize) -> FrameMut {
        FrameMut {
            width,
            height,
            pixels: self.0.take(width * height * CHANNELS),
        }
    }

    /// A copy to draw on.
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
