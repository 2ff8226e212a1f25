//! Decodes image files into frames: png, jpg, bmp and webp, rotated according to their orientation tag, without
//! transparency, and with eight bits per channel. Which files belong together is up to the caller.

mod jpeg_markers;
mod pixels;

use std::io::{Cursor, ErrorKind};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader};

use crate::frame::{Frame, FramePool};
use crate::jpeg;
use jpeg_markers::{End, Markers};
use pixels::write_bgr;

/// Extensions of readable files, in lower case.
pub const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "bmp", "webp"];

/// Limits of an image, so that a small file cannot exhaust memory: a header of a few bytes can announce gigabytes.
#[derive(Clone, Copy, Debug)]
pub struct ImageLimits {
    /// Maximum width times height.
    pub pixels: u64,
    /// Maximum size of the file, in bytes.
    pub bytes: u64,
}

/// Default limit of width times height: phones take pictures of up to 108 million pixels. Decoding 8-bit RGB takes six
/// bytes of memory per pixel (picture and frame), 16-bit RGBA up to 16 (the picture twice while it is rotated; 14 with
/// its 8-bit copy and the frame), besides what the decoder itself needs.
pub const MOST_PIXELS: u64 = 110_000_000;
/// Longest side of a picture: OpenCV cannot warp longer ones.
pub const MOST_SIDE: u32 = 32_767;

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            pixels: MOST_PIXELS,
            bytes: 256 << 20,
        }
    }
}

impl ImageLimits {
    /// Returns whether a picture of this size is decoded.
    pub fn admit(&self, width: u32, height: u32) -> bool {
        let pixels = u64::from(width) * u64::from(height);
        width <= MOST_SIDE && height <= MOST_SIDE && pixels <= self.pixels
    }
}

/// Why a file cannot be read as an image.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ImageFileError {
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    /// Devices and pipes may never end.
    #[error("it is not a regular file")]
    NotRegular,
    #[error("the file is larger than the limit of {most} bytes")]
    TooLarge { most: u64 },
    #[error(
        "its header announces {width} x {height} pixels; the limit is {most} in all and {MOST_SIDE} on a side"
    )]
    TooManyPixels { width: u32, height: u32, most: u64 },
    #[error("the file is empty")]
    Empty,
    /// A decoder would silently fill the missing part.
    #[error("the file ends too early")]
    Cut,
    #[error("it is not an image of a known format ({})", EXTENSIONS.join(", "))]
    UnknownFormat,
    /// Phones and browsers give such files wrong extensions.
    #[error("it is {0}, despite its name; supported are {known}", known = EXTENSIONS.join(", "))]
    OtherFormat(String),
    #[error("it is damaged: {0}")]
    Damaged(#[source] image::ImageError),
    #[error("its pixels cannot be converted: {0}")]
    Pixels(#[from] opencv::Error),
}

/// A picture, and what the user of its file should know.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The picture.
    pub frame: Frame,
    /// Whether the file is a JPEG without its end marker: it has been truncated, but only after the last pixel.
    pub lacks_end: bool,
}

/// Reads and decodes a file.
///
/// # Errors
/// See [`ImageFileError`]; naming the path is up to the caller.
pub fn read(path: &Path, pool: &FramePool) -> Result<Frame, ImageFileError> {
    read_within(path, pool, &ImageLimits::default()).map(|picture| picture.frame)
}

/// Reads and decodes a file within given limits, and returns what should be known about it.
///
/// # Errors
/// See [`ImageFileError`].
pub fn read_within(
    path: &Path,
    pool: &FramePool,
    limits: &ImageLimits,
) -> Result<Picture, ImageFileError> {
    decode_within(&read_bytes(path, limits)?, pool, limits)
}

/// Reads the bytes of a file that may be an image.
///
/// # Errors
/// Fails if the file cannot be read, is not a regular file, or is too large.
pub fn read_bytes(path: &Path, limits: &ImageLimits) -> Result<Vec<u8>, ImageFileError> {
    fermata_files::read(path, limits.bytes).map_err(|error| match error.kind() {
        ErrorKind::IsADirectory | ErrorKind::InvalidInput => ImageFileError::NotRegular,
        ErrorKind::FileTooLarge => ImageFileError::TooLarge { most: limits.bytes },
        _ => ImageFileError::Unreadable(error),
    })
}

/// Returns whether these bytes are a JPEG without its end-of-image marker; a marker within its segments (of a smaller
/// picture) does not count.
pub fn is_jpeg_without_end(bytes: &[u8]) -> bool {
    Markers::of(bytes).end != End::Marked
}

/// Decodes the bytes of a file. The format is determined from them, not from a name.
///
/// # Errors
/// See [`ImageFileError`].
pub fn decode(bytes: &[u8], pool: &FramePool) -> Result<Frame, ImageFileError> {
    decode_within(bytes, pool, &ImageLimits::default()).map(|picture| picture.frame)
}

/// Decodes the bytes of a file within given limits, and returns what should be known about it.
///
/// # Errors
/// See [`ImageFileError`].
pub fn decode_within(
    bytes: &[u8],
    pool: &FramePool,
    limits: &ImageLimits,
) -> Result<Picture, ImageFileError> {
    if bytes.is_empty() {
        return Err(ImageFileError::Empty);
    }
    let markers = Markers::of(bytes);
    if let Some(frame) = decode_plain(bytes, &markers, pool, limits) {
        return Ok(Picture {
            frame,
            lacks_end: false,
        });
    }
    let image = match markers.end {
        End::Marked => decode_upright(bytes, limits)?,
        End::Open => {
            let picture = decode_within(&completed(bytes, limits)?, pool, limits)?;
            return Ok(Picture {
                lacks_end: true,
                ..picture
            });
        }
        End::Cut => return Err(ImageFileError::Cut),
    };
    let mut frame = pool.take(image.width() as usize, image.height() as usize);
    write_bgr(image, &mut frame.mat_mut()?)?;
    Ok(Picture {
        frame: frame.freeze(),
        lacks_end: false,
    })
}

/// Decodes what libjpeg-turbo can decode right into a frame. The rest, and what it finds fault with, is up to the slower
/// decoder.
fn decode_plain(
    bytes: &[u8],
    markers: &Markers,
    pool: &FramePool,
    limits: &ImageLimits,
) -> Option<Frame> {
    let (width, height) = markers
        .plain
        .filter(|&(width, height)| limits.admit(width, height))?;
    jpeg::decode(bytes, (width as usize, height as usize), pool).ok()
}

fn decode_upright(bytes: &[u8], limits: &ImageLimits) -> Result<DynamicImage, ImageFileError> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let Some(format) = reader.format() else {
        return Err(ImageFileError::UnknownFormat);
    };
    if !format.reading_enabled() {
        return Err(ImageFileError::OtherFormat(format!("{format:?}")));
    }
    let mut decoder = reader.into_decoder().map_err(ImageFileError::Damaged)?;
    let (width, height) = decoder.dimensions();
    if !limits.admit(width, height) {
        let most = limits.pixels;
        return Err(ImageFileError::TooManyPixels {
            width,
            height,
            most,
        });
    }
    let orientation = decoder.orientation().map_err(ImageFileError::Damaged)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(ImageFileError::Damaged)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The marker at the end of a JPEG.
const END: [u8; 2] = [0xFF, 0xD9];

/// Returns a JPEG that lacks its end marker with it, if every pixel is present, so that no filler for the missing bytes
/// changes any of them. A decoder alone would silently fill a missing part.
fn completed(bytes: &[u8], limits: &ImageLimits) -> Result<Vec<u8>, ImageFileError> {
    // Half an end marker, or its padding, is removed.
    let there = bytes.iter().rposition(|&byte| byte != 0xFF);
    let there = &bytes[..there.map_or(0, |last| last + 1)];
    // The fillers differ in their first bit.
    let [picture, other] = [0x55, 0xAA].map(|filler| {
        let ended = [there, &[filler; 64], &END].concat();
        decode_upright(&ended, limits)
    });
    match (picture, other) {
        (Ok(picture), Ok(other)) if picture == other => Ok([there, &END].concat()),
        (Err(error @ ImageFileError::TooManyPixels { .. }), _) => Err(error),
        _ => Err(ImageFileError::Cut),
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, ImageFormat, Rgb, Rgba};

    use super::*;
    use crate::frame::CHANNELS;

    #[test]
    fn the_limits_are_those_that_security_md_states() {
        let limits = ImageLimits::default();
        let (mib, millions) = (limits.bytes >> 20, limits.pixels / 1_000_000);
        let stated = format!("images ({mib} MiB, {millions} million pixels)");
        assert!(
            include_str!("../../SECURITY.md").contains(&stated),
            "{stated}"
        );
    }

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn decoded(bytes: &[u8]) -> Frame {
        decode(bytes, &FramePool::new()).unwrap()
    }

    /// Returns a picture with a red left half and a blue right half.
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
                // JPEG is lossy.
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
        // An Exif segment after the start of the image: one entry, Orientation (0x0112) = 6, rotate clockwise.
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
    fn the_end_of_a_smaller_picture_within_is_not_the_end() {
        let jpeg = encoded(&red_and_blue(), ImageFormat::Jpeg);
        // An application segment that contains a picture.
        let length = (jpeg.len() as u16 + 2).to_be_bytes();
        let nested = [&jpeg[..2], &[0xFF, 0xE1], &length, &jpeg, &jpeg[2..]].concat();
        for whole in [&jpeg, &nested] {
            assert!(!is_jpeg_without_end(whole));
            assert!(is_jpeg_without_end(&whole[..whole.len() - 2]));
        }
        assert!(!is_jpeg_without_end(b"no picture"));
    }

    /// Returns a PNG file of this size without image data.
    fn png_head(width: u32, height: u32) -> Vec<u8> {
        let chunk = |kind: &[u8; 4], data: &[u8]| {
            let covered = kind.iter().chain(data);
            let crc = covered.fold(u32::MAX, |crc, byte| crc_step(crc, *byte));
            let length = (data.len() as u32).to_be_bytes();
            [&length[..], kind, data, &(!crc).to_be_bytes()].concat()
        };
        let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
        header.extend([8, 2, 0, 0, 0]);
        let idat = [0x78, 0x9C, 0x03, 0, 0, 0, 0, 1];
        [
            b"\x89PNG\r\n\x1a\n".to_vec(),
            chunk(b"IHDR", &header),
            chunk(b"IDAT", &idat),
            chunk(b"IEND", &[]),
        ]
        .concat()
    }

    /// Adds one byte to the checksum of a PNG chunk (ISO/IEC 15948, annex D).
    fn crc_step(crc: u32, byte: u8) -> u32 {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| match crc & 1 {
            1 => (crc >> 1) ^ 0xEDB8_8320,
            _ => crc >> 1,
        })
    }

    #[test]
    fn a_header_that_promises_too_much_is_refused_before_memory_is_taken() {
        for (width, height) in [(50_000, 50_000), (1, 40_000), (40_000, 1), (11_000, 10_001)] {
            let error = decode(&png_head(width, height), &FramePool::new()).unwrap_err();
            assert!(
                matches!(error, ImageFileError::TooManyPixels { .. }),
                "{width} x {height}: {error}"
            );
        }
        let small = encoded(&red_and_blue(), ImageFormat::Png);
        let telephones = ImageLimits::default();
        assert!(telephones.admit(8160, 6144) && telephones.admit(9000, 12_000));
        assert!(!telephones.admit(12_288, 16_320));
        let limits = |pixels| ImageLimits {
            pixels,
            ..ImageLimits::default()
        };
        assert!(decode_within(&small, &FramePool::new(), &limits(512)).is_ok());
        let refused = decode_within(&small, &FramePool::new(), &limits(511)).unwrap_err();
        assert!(refused.to_string().contains("32 x 16 pixels"), "{refused}");
    }

    #[test]
    fn only_regular_files_of_a_reasonable_size_are_images() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large.png");
        let file = std::fs::File::create(&large).unwrap();
        file.set_len((256 << 20) + 1).unwrap();
        let error = |path: &Path| read(path, &FramePool::new()).unwrap_err();
        assert!(matches!(error(&large), ImageFileError::TooLarge { .. }));
        for path in [Path::new("/dev/zero"), folder.path()] {
            assert!(matches!(error(path), ImageFileError::NotRegular));
        }
    }

    #[test]
    fn what_stands_behind_a_jpegs_end_is_no_part_of_it() {
        let jpeg = encoded(&red_and_blue(), ImageFormat::Jpeg);
        // As in a film: the beginning of a scan, and no end.
        let film = [b"\0\0\0\x18ftypmp42", &[0xFF, 0xDA, 1, 2, 3][..]].concat();
        let motion = [&jpeg[..], &film].concat();
        assert_eq!(decoded(&motion).bgr(), decoded(&jpeg).bgr());
        // A preview within the picture's own data has an end marker too, which is not the picture's.
        let preview = [&[0xFF, 0xE1, 0, 8][..], &[0xFF, 0xD8, 0xFF, 0xD9, 0, 0]].concat();
        let with_preview = [&jpeg[..2], &preview, &jpeg[2..]].concat();
        assert_eq!(decoded(&with_preview).bgr(), decoded(&jpeg).bgr());
        let cut = &with_preview[..with_preview.len() / 2];
        assert!(matches!(
            decode(cut, &FramePool::new()),
            Err(ImageFileError::Cut)
        ));
    }

    /// Returns a picture whose pixels all differ.
    fn noise(width: u32, height: u32) -> DynamicImage {
        let shade = |x: u32, y: u32| (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761) >> 24;
        let colour = |x, y| [shade(x, y), shade(y, x), shade(x + 9, y)].map(|shade| shade as u8);
        ImageBuffer::from_fn(width, height, |x, y| Rgb(colour(x, y))).into()
    }

    #[test]
    fn a_jpeg_that_lacks_nothing_but_its_end_is_used_and_one_that_lacks_more_is_not() {
        let limits = ImageLimits::default();
        for image in [
            noise(61, 43),
            red_and_blue(),
            DynamicImage::new_rgb8(16, 16),
        ] {
            let jpeg = encoded(&image, ImageFormat::Jpeg);
            let read = |bytes: &[u8]| decode_within(bytes, &FramePool::new(), &limits);
            let whole = read(&jpeg).unwrap();
            assert!(!whole.lacks_end);
            for lacking in [1, 2] {
                let open = read(&jpeg[..jpeg.len() - lacking]).unwrap();
                assert!(open.lacks_end);
                assert_eq!(open.frame.bgr(), whole.frame.bgr(), "{lacking}");
            }
        }
        // Up to the beginning of the picture's data, and one byte less than all of it.
        let jpeg = encoded(&noise(61, 43), ImageFormat::Jpeg);
        for lacking in (3..jpeg.len()).rev().step_by(13).chain([3, 4, 5]) {
            let cut = &jpeg[..jpeg.len() - lacking];
            let refused = decode_within(cut, &FramePool::new(), &limits).map(drop);
            let refused = refused.expect_err("cut");
            let is_told =
                matches!(refused, ImageFileError::Cut | ImageFileError::Empty) || cut.len() < 3;
            assert!(is_told, "{lacking}: {refused}");
        }
    }

    #[test]
    fn what_is_cut_empty_or_no_image_is_said_to_be() {
        let error = |bytes: &[u8]| decode(bytes, &FramePool::new()).unwrap_err();
        assert!(matches!(error(&[]), ImageFileError::Empty));
        assert!(matches!(
            error(b"not an image at all"),
            ImageFileError::UnknownFormat
        ));
        for (bytes, name) in [
            (&b"GIF89a\x10\0\x10\0\0\0\0"[..], "Gif"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "Avif"),
            (b"II*\0\x08\0\0\0", "Tiff"),
        ] {
            let said = error(bytes).to_string();
            assert!(said.starts_with(&format!("it is {name},")), "{said}");
        }
        let jpeg = encoded(&red_and_blue(), ImageFormat::Jpeg);
        for length in [20, jpeg.len() / 2] {
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
