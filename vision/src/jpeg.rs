//! JPEG compression of frames for edges to other machines: smaller, but lossy. Image files are elsewhere.

use std::io::Cursor;

use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::{ExtendedColorType, ImageDecoder, ImageError};

use crate::frame::{CHANNELS, Frame, FramePool};

/// Why a frame cannot be encoded as JPEG, or a JPEG is not the announced frame.
#[derive(Debug, thiserror::Error)]
pub enum JpegError {
    /// The encoder or the decoder failed.
    #[error("cannot encode or decode the JPEG: {0}")]
    Codec(#[from] ImageError),
    /// The picture has a different size than announced.
    #[error("the picture is {width}x{height}, expected {expected_width}x{expected_height}")]
    Size {
        /// Columns of the picture.
        width: u32,
        /// Rows of the picture.
        height: u32,
        /// Columns of the announced frame.
        expected_width: usize,
        /// Rows of the announced frame.
        expected_height: usize,
    },
    /// The picture is gray or has four channels.
    #[error("the picture has {channels} channels, expected 3")]
    Colours {
        /// Number of channels.
        channels: u8,
    },
}

/// Appends a frame as JPEG with a quality from 1 to 100.
///
/// # Errors
/// Fails if the frame has no pixels, or too many for a JPEG.
pub fn encode(frame: &Frame, quality: u8, bytes: &mut Vec<u8>) -> Result<(), JpegError> {
    let mut rgb = frame.bgr().to_vec();
    swap_red_and_blue(&mut rgb);
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let (width, height) = (side(frame.width()), side(frame.height()));
    let mut encoder = JpegEncoder::new_with_quality(bytes, quality.clamp(1, 100));
    Ok(encoder.encode(&rgb, width, height, ExtendedColorType::Rgb8)?)
}

/// Decodes a frame of a known size, which is checked before memory is allocated.
///
/// # Errors
/// See [`JpegError`].
pub fn decode(
    bytes: &[u8],
    (width, height): (usize, usize),
    pool: &FramePool,
) -> Result<Frame, JpegError> {
    let decoder = JpegDecoder::new(Cursor::new(bytes))?;
    let (columns, rows) = decoder.dimensions();
    if (columns as usize, rows as usize) != (width, height) {
        return Err(JpegError::Size {
            width: columns,
            height: rows,
            expected_width: width,
            expected_height: height,
        });
    }
    let channels = decoder.color_type().channel_count();
    if usize::from(channels) != CHANNELS {
        return Err(JpegError::Colours { channels });
    }
    let mut frame = pool.take(width, height);
    decoder.read_image(frame.bgr_mut())?;
    swap_red_and_blue(frame.bgr_mut());
    Ok(frame.freeze())
}

fn swap_red_and_blue(pixels: &mut [u8]) {
    for pixel in pixels.chunks_exact_mut(CHANNELS) {
        pixel.swap(0, 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a frame that is blue on the left, red on the right.
    fn frame() -> Frame {
        let pixel = |x| if x < 16 { [255, 0, 0] } else { [0, 0, 255] };
        let row = (0..32).flat_map(pixel).collect::<Vec<u8>>();
        Frame::from_bgr(32, 8, row.repeat(8))
    }

    #[test]
    fn a_frame_comes_back_nearly_as_it_was() {
        let mut bytes = Vec::new();
        encode(&frame(), 95, &mut bytes).unwrap();
        let back = decode(&bytes, (32, 8), &FramePool::new()).unwrap();
        let frame = frame();
        for x in [2, 29] {
            let at = CHANNELS * (4 * 32 + x)..CHANNELS * (4 * 32 + x + 1);
            let (was, is) = (&frame.bgr()[at.clone()], &back.bgr()[at]);
            let off = was.iter().zip(is).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(off <= Some(4), "{was:?} {is:?}");
        }
    }

    #[test]
    fn another_size_and_bytes_that_are_cut_are_refused() {
        let mut bytes = Vec::new();
        encode(&frame(), 80, &mut bytes).unwrap();
        let pool = FramePool::new();
        let error = decode(&bytes, (32, 9), &pool).unwrap_err();
        assert!(matches!(
            error,
            JpegError::Size {
                width: 32,
                height: 8,
                expected_width: 32,
                expected_height: 9,
            }
        ));
        for end in [0, 2, 100] {
            assert!(decode(&bytes[..end], (32, 8), &pool).is_err(), "{end}");
        }
    }
}
