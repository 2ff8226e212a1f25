//! Image files as frames: png, jpg, bmp and webp, turned as their camera noted, without transparency, and with eight bits
//! a colour. Which files belong together is the caller's.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader};

use crate::frame::{CHANNELS, Frame, FramePool};

/// Endings of the files that can be read, in lower case.
pub const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "bmp", "webp"];

/// Why a file is no image.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ImageFileError {
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    #[error("the file is empty")]
    Empty,
    /// A decoder would fill the missing part and say nothing.
    #[error("the file ends too early")]
    Cut,
    #[error("it is no image of a known format ({})", EXTENSIONS.join(", "))]
    UnknownFormat,
    #[error("it is damaged: {0}")]
    Damaged(#[source] image::ImageError),
}

/// Reads and decodes a file.
///
/// # Errors
/// See [`ImageFileError`]; the path is the caller's to name.
pub fn read(path: &Path, pool: &FramePool) -> Result<Frame, ImageFileError> {
    decode(&fs::read(path)?, pool)
}

/// Decodes a file's bytes. The format is told from them, not from a name.
///
/// # Errors
/// See [`ImageFileError`].
pub fn decode(bytes: &[u8], pool: &FramePool) -> Result<Frame, ImageFileError> {
    if bytes.is_empty() {
        return Err(ImageFileError::Empty);
    }
    if is_cut_jpeg(bytes) {
        return Err(ImageFileError::Cut);
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    if reader.format().is_none() {
        return Err(ImageFileError::UnknownFormat);
    }
    let image = decode_upright(reader).map_err(ImageFileError::Damaged)?;
    let rgb = image.into_rgb8();
    let mut frame = pool.take(rgb.width() as usize, rgb.height() as usize);
    let targets = frame.bgr_mut().chunks_exact_mut(CHANNELS);
    for (target, pixel) in targets.zip(rgb.pixels()) {
        let [red, green, blue] = pixel.0;
        target.copy_from_slice(&[blue, green, red]);
    }
    Ok(frame.freeze())
}

fn decode_upright(reader: ImageReader<Cursor<&[u8]>>) -> image::ImageResult<DynamicImage> {
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// True for a JPEG file that has no end-of-image marker behind its last start of scan. (ITU-T T.81, B.1.1: inside a
/// scan, 0xFF is never followed by a marker's code.)
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|two| two == marker);
    let (scan, end) = (last([0xFF, 0xDA]), last([0xFF, 0xD9]));
    bytes.starts_with(&[0xFF, 0xD8, 0xFF]) && (end.is_none() || end < scan)
}
