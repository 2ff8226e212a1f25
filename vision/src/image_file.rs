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

/// True for a JPEG file that ends before its end-of-image marker. What stands behind that marker is no part of the picture:
/// phones put a film there. (ITU-T T.81, B.1.1: segments say how long they are; inside a scan, 0xFF is never followed by a
/// marker's code, but by 0 or the number of a restart.)
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xD9;
    const START_OF_SCAN: u8 = 0xDA;
    if !bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
        return false;
    }
    let mut at = 2;
    loop {
        // Markers may be padded by more of their first byte; what is none is skipped, as decoders do.
        let Some(marker) = bytes[at..]
            .windows(2)
            .position(|two| two[0] == 0xFF && !matches!(two[1], 0 | 0x01 | 0xD0..=0xD7 | 0xFF))
        else {
            return true;
        };
        at += marker + 2;
        match bytes[at - 1] {
            END_OF_IMAGE => return false,
            // Its header is short and holds no marker; the scan goes up to the next one.
            START_OF_SCAN => {}
            _ => match bytes.get(at..at + 2) {
                Some(length) => at += usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return true,
            },
        }
        if at > bytes.len() {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, ImageFormat, Rgb, Rgba};

    use super::*;

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn decoded(bytes: &[u8]) -> Frame {
        decode(bytes, &FramePool::new()).unwrap()
    }

    /// Left half red, right half blue.
    fn red_and_blue() -> DynamicImage {
        let colour = |x, _| {
            if x < 16 {
                Rgb([255u8, 0, 0])
            } else {
                Rgb([0, 0, 255])
            }
        };
        ImageBuffer::from_fn(32, 16, colour).into()
    }

    #[test]
    fn every_format_gives_blue_green_red() {
        for format in [
            ImageFormat::Png,
            ImageFormat::Bmp,
            ImageFormat::WebP,
            ImageFormat::Jpeg,
        ] {
            let frame = decoded(&encoded(&red_and_blue(), format));
            assert_eq!((frame.width(), frame.height()), (32, 16), "{format:?}");
            for (x, expected) in [(2, [0, 0, 255]), (29, [255, 0, 0])] {
                let pixel = &frame.bgr()[CHANNELS * (8 * 32 + x)..][..CHANNELS];
                let off = pixel
                    .iter()
                    .zip(expected)
                    .map(|(&a, b)| a.abs_diff(b))
                    .max();
                // A JPEG is not exact.
                assert!(off <= Some(3), "{format:?}: {pixel:?}");
            }
        }
    }

    #[test]
    fn transparency_and_the_lower_byte_of_sixteen_bits_are_left_out() {
        let clear = ImageBuffer::from_pixel(1, 1, Rgba([10u8, 20, 30, 0]));
        let frame = decoded(&encoded(&clear.into(), ImageFormat::Png));
        assert_eq!(frame.bgr(), [30, 20, 10]);
        let deep = ImageBuffer::from_pixel(1, 1, Rgb([0xFFFFu16, 0x8080, 0]));
        let frame = decoded(&encoded(&deep.into(), ImageFormat::Png));
        assert_eq!(frame.bgr(), [0, 0x80, 0xFF]);
    }

    #[test]
    fn a_picture_is_turned_as_its_camera_noted() {
        let jpeg = encoded(&red_and_blue(), ImageFormat::Jpeg);
        // An Exif segment behind the start of the image: one entry, Orientation (0x0112) = 6, to be turned clockwise.
        let mut turned = jpeg[..2].to_vec();
        turned.extend([0xFF, 0xE1, 0, 34]);
        turned.extend(b"Exif\0\0II*\0\x08\0\0\0");
        turned.extend([1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
        turned.extend(&jpeg[2..]);
        let frame = decoded(&turned);
        assert_eq!((frame.width(), frame.height()), (16, 32));
        let (top, bottom) = (&frame.bgr()[..CHANNELS], &frame.bgr()[CHANNELS * 16 * 31..]);
        assert!(top[2] > 250 && bottom[0] > 250, "what was left is on top");
    }

    #[test]
    fn what_stands_behind_a_jpegs_end_is_no_part_of_it() {
        let jpeg = encoded(&red_and_blue(), ImageFormat::Jpeg);
        // As in a film: the beginning of a scan, and no end.
        let film = [b"\0\0\0\x18ftypmp42", &[0xFF, 0xDA, 1, 2, 3][..]].concat();
        let motion = [&jpeg[..], &film].concat();
        assert_eq!(decoded(&motion).bgr(), decoded(&jpeg).bgr());
        // A preview inside the picture's own data has an end too, which is not the picture's.
        let preview = [&[0xFF, 0xE1, 0, 8][..], &[0xFF, 0xD8, 0xFF, 0xD9, 0, 0]].concat();
        let with_preview = [&jpeg[..2], &preview, &jpeg[2..]].concat();
        assert_eq!(decoded(&with_preview).bgr(), decoded(&jpeg).bgr());
        let cut = &with_preview[..with_preview.len() - 2];
        assert!(matches!(
            decode(cut, &FramePool::new()),
            Err(ImageFileError::Cut)
        ));
    }

    #[test]
    fn what_is_cut_empty_or_no_image_is_said_to_be() {
        let error = |bytes: &[u8]| decode(bytes, &FramePool::new()).unwrap_err();
        assert!(matches!(error(&[]), ImageFileError::Empty));
        assert!(matches!(
            error(b"not an image at all"),
            ImageFileError::UnknownFormat
        ));
        let jpeg = encoded(&red_and_blue(), ImageFormat::Jpeg);
        for length in [20, jpeg.len() / 2, jpeg.len() - 2] {
            let error = error(&jpeg[..length]);
            assert!(matches!(error, ImageFileError::Cut), "{length}: {error}");
        }
        let png = encoded(&red_and_blue(), ImageFormat::Png);
        let error = error(&png[..png.len() / 2]);
        assert!(matches!(error, ImageFileError::Damaged(_)), "{error}");
        let missing = read(Path::new("none.png"), &FramePool::new()).unwrap_err();
        assert!(matches!(missing, ImageFileError::Unreadable(_)));
    }
}
