//! JPEG: what frames become in files, on the live page and on edges to other machines, and again behind these and from
//! plain files.

mod turbo;

use crate::frame::{CHANNELS, Frame, FramePool};
pub use turbo::CodecError;
use turbo::Decoder;

/// Why a frame cannot be encoded as JPEG, or a JPEG is not the announced frame.
#[derive(Debug, thiserror::Error)]
pub enum JpegError {
    /// The encoder or the decoder failed.
    #[error("cannot encode or decode the JPEG: {0}")]
    Codec(#[from] CodecError),
    /// The picture has a different size than announced.
    #[error("the picture is {width}x{height}, expected {expected_width}x{expected_height}")]
    Size {
        /// Columns of the picture.
        width: usize,
        /// Rows of the picture.
        height: usize,
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

/// Encodes a frame as JPEG with a quality from 1 to 100. Below 90, colours have half the resolution.
///
/// # Errors
/// Fails if the frame has no pixels, or too many for a JPEG.
pub fn encode(frame: &Frame, quality: u8) -> Result<Vec<u8>, JpegError> {
    let mut bytes = Vec::new();
    let size = (frame.width(), frame.height());
    append(frame.bgr(), size, quality, &mut bytes)?;
    Ok(bytes)
}

/// Appends a picture of `3 * width * height` bytes, blue first, as [`encode`] does.
///
/// # Errors
/// As [`encode`].
///
/// # Panics
/// Panics on another number of bytes.
pub fn append(
    bgr: &[u8],
    size: (usize, usize),
    quality: u8,
    bytes: &mut Vec<u8>,
) -> Result<(), JpegError> {
    Ok(turbo::encode(bgr, size, quality, bytes)?)
}

/// Decodes a frame of a known size, which is checked before memory is allocated. Corrupt data is an error.
///
/// # Errors
/// See [`JpegError`].
pub fn decode(
    bytes: &[u8],
    (width, height): (usize, usize),
    pool: &FramePool,
) -> Result<Frame, JpegError> {
    let decoder = Decoder::new(bytes)?;
    let (columns, rows) = decoder.size();
    if (columns, rows) != (width, height) {
        return Err(JpegError::Size {
            width: columns,
            height: rows,
            expected_width: width,
            expected_height: height,
        });
    }
    let channels = decoder.channels();
    if usize::from(channels) != CHANNELS {
        return Err(JpegError::Colours { channels });
    }
    let mut frame = pool.take(width, height);
    decoder.read(frame.bgr_mut())?;
    Ok(frame.freeze())
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
        let bytes = encode(&frame(), 95).unwrap();
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
    fn another_decoder_shows_the_same_picture() {
        let colour = |x: usize, y: usize| [255 - 2 * (x + y) as u8, 4 * y as u8, 4 * x as u8];
        let pixels = (0..43).flat_map(|y| (0..61).flat_map(move |x| colour(x, y)));
        let source = Frame::from_bgr(61, 43, pixels.collect());
        let off = |one: &[u8], other: &[u8]| {
            let off = one.iter().zip(other).map(|(a, b)| a.abs_diff(*b));
            off.max().unwrap()
        };
        // With colours of half the resolution, and of the full one.
        for quality in [80, 95] {
            let bytes = encode(&source, quality).unwrap();
            let ours = decode(&bytes, (61, 43), &FramePool::new()).unwrap();
            let theirs = image::load_from_memory(&bytes).unwrap().into_rgb8();
            let theirs = theirs.pixels().flat_map(|pixel| pixel.0.into_iter().rev());
            let theirs = theirs.collect::<Vec<u8>>();
            let (apart, lost) = (off(ours.bgr(), &theirs), off(ours.bgr(), source.bgr()));
            assert!(apart <= 3 && lost <= 24, "{quality}: {apart}, {lost}");
        }
    }

    #[test]
    fn another_size_and_bytes_that_are_cut_are_refused() {
        let bytes = encode(&frame(), 80).unwrap();
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
        for end in [0, 2, 100, bytes.len() - 9] {
            assert!(decode(&bytes[..end], (32, 8), &pool).is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_no_picture_or_has_no_pixels_is_refused() {
        let pool = FramePool::new();
        let gray = image::GrayImage::new(32, 8);
        let mut bytes = std::io::Cursor::new(Vec::new());
        gray.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
        let error = decode(bytes.get_ref(), (32, 8), &pool).unwrap_err();
        assert!(
            matches!(error, JpegError::Colours { channels: 1 }),
            "{error}"
        );
        assert!(decode(b"no picture", (32, 8), &pool).is_err());
        assert!(encode(&Frame::from_bgr(0, 8, Vec::new()), 80).is_err());
        let long = Frame::from_bgr(70_000, 1, vec![0; 3 * 70_000]);
        assert!(encode(&long, 80).is_err());
    }
}
