//! Converts pictures from one pixel format, colour matrix and range to another with swscale.

// The crate's scaler supports neither matrices nor ranges, and its frames do not tell whether an encoder still holds
// them.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::software::scaling::{Context, Flags};
use ffmpeg_next::{Error, color, ffi, format::Pixel, frame};

/// The format that pictures are converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// 8-bit BGR.
    Bgr,
    /// 4:2:0 of this size, with BT.709's matrix and limited range, as H.264 players expect.
    Yuv420Bt709 { width: u32, height: u32 },
}

impl Target {
    fn format(self) -> Pixel {
        match self {
            Self::Bgr => Pixel::BGR24,
            Self::Yuv420Bt709 { .. } => Pixel::YUV420P,
        }
    }

    fn flags(self) -> Flags {
        match self {
            Self::Bgr => Flags::BICUBIC,
            Self::Yuv420Bt709 { .. } => {
                Flags::BICUBIC | Flags::ACCURATE_RND | Flags::FULL_CHR_H_INP
            }
        }
    }
}

/// The properties that a scaler is built for.
#[derive(Clone, Copy, PartialEq)]
struct Source {
    format: Pixel,
    width: u32,
    height: u32,
    space: color::Space,
    range: color::Range,
    /// Width and height of the result.
    wanted: (u32, u32),
}

/// Converts pictures; rebuilds its scaler when their size, format or colours change.
pub(crate) struct Converter {
    target: Target,
    scaler: Option<(Source, Scaler)>,
    converted: frame::Video,
}

struct Scaler(Context);

// SAFETY: swscale's context is plain memory that is not tied to a thread (with one thread, which is the default), and
// nothing else holds this one.
unsafe impl Send for Scaler {}

impl Converter {
    pub(crate) fn new(target: Target) -> Self {
        Self {
            target,
            scaler: None,
            converted: frame::Video::empty(),
        }
    }

    /// Converts a picture; BGR keeps its size. The result is valid until the next call.
    pub(crate) fn convert(&mut self, picture: &frame::Video) -> Result<&mut frame::Video, Error> {
        let wanted = match self.target {
            Target::Bgr => (picture.width(), picture.height()),
            Target::Yuv420Bt709 { width, height } => (width, height),
        };
        self.convert_to(picture, wanted)
    }

    /// Converts a picture to this width and height. The result is valid until the next call.
    pub(crate) fn convert_to(
        &mut self,
        picture: &frame::Video,
        wanted: (u32, u32),
    ) -> Result<&mut frame::Video, Error> {
        let source = Source {
            format: picture.format(),
            width: picture.width(),
            height: picture.height(),
            space: picture.color_space(),
            range: picture.color_range(),
            wanted,
        };
        if self
            .scaler
            .as_ref()
            .is_none_or(|(built_for, _)| *built_for != source)
        {
            self.scaler = Some((source, build(&source, self.target)?));
            self.converted = frame::Video::empty();
        }
        let Some((_, Scaler(context))) = &mut self.scaler else {
            return Err(Error::Bug);
        };
        if !is_ours_alone(&self.converted) {
            self.converted = frame::Video::empty();
        }
        context.run(picture, &mut self.converted)?;
        Ok(&mut self.converted)
    }
}

/// Returns false while an encoder still reads the last picture.
fn is_ours_alone(picture: &frame::Video) -> bool {
    // SAFETY: the pointer is to a live frame; libav only reads the reference counts of its buffers.
    unsafe { ffi::av_frame_is_writable(picture.as_ptr().cast_mut()) > 0 }
}

fn build(source: &Source, target: Target) -> Result<Scaler, Error> {
    let (width, height) = source.wanted;
    let mut context = Context::get(
        source.format,
        source.width,
        source.height,
        target.format(),
        width,
        height,
        target.flags(),
    )?;
    set_colours(&mut context, source, target);
    Ok(Scaler(context))
}

/// Sets the matrix and range of both sides in swscale, as ffmpeg's own `scale` filter does: by default, swscale treats
/// every video as BT.601.
fn set_colours(context: &mut Context, source: &Source, target: Target) {
    let (mut from, mut to) = (ptr::null_mut(), ptr::null_mut());
    let (mut from_full, mut to_full): (c_int, c_int) = (0, 0);
    let (mut brightness, mut contrast, mut saturation): (c_int, c_int, c_int) = (0, 0, 0);
    // SAFETY: the context is live, every out-pointer is to a local of the right type, and the tables passed in are
    // static ones of swscale or those that it has just returned.
    unsafe {
        let known = ffi::sws_getColorspaceDetails(
            context.as_mut_ptr(),
            &mut from,
            &mut from_full,
            &mut to,
            &mut to_full,
            &mut brightness,
            &mut contrast,
            &mut saturation,
        );
        if known < 0 {
            return; // neither side has a matrix
        }
        let from = ffi::sws_getCoefficients(matrix(source.space));
        match source.range {
            color::Range::JPEG => from_full = 1,
            color::Range::MPEG => from_full = 0,
            color::Range::Unspecified => {}
        }
        let mut to = from;
        if matches!(target, Target::Yuv420Bt709 { .. }) {
            to = ffi::sws_getCoefficients(ffi::SWS_CS_ITU709);
            to_full = 0;
        }
        ffi::sws_setColorspaceDetails(
            context.as_mut_ptr(),
            from,
            from_full,
            to,
            to_full,
            brightness,
            contrast,
            saturation,
        );
    }
}

/// Returns swscale's number of a matrix. An unstated one is BT.601, as in the `ffmpeg` program.
fn matrix(space: color::Space) -> c_int {
    match space {
        color::Space::BT709 => ffi::SWS_CS_ITU709,
        color::Space::FCC => ffi::SWS_CS_FCC,
        color::Space::SMPTE170M => ffi::SWS_CS_SMPTE170M,
        color::Space::SMPTE240M => ffi::SWS_CS_SMPTE240M,
        color::Space::BT2020NCL | color::Space::BT2020CL => ffi::SWS_CS_BT2020,
        _ => ffi::SWS_CS_ITU601,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libav;

    #[test]
    fn pictures_may_change_size_and_format() {
        libav::start();
        let mut converter = Converter::new(Target::Bgr);
        for (format, width, height) in [
            (Pixel::YUV420P, 64, 32),
            (Pixel::YUV420P, 66, 34),
            (Pixel::YUYV422, 66, 34),
            (Pixel::GRAY8, 3, 5),
        ] {
            let picture = frame::Video::new(format, width, height);
            let converted = converter.convert(&picture).expect("a conversion");
            assert_eq!(
                (converted.format(), converted.width(), converted.height()),
                (Pixel::BGR24, width, height)
            );
        }
    }

    /// Returns the first pixel of a picture whose samples are all (y, u, v).
    fn bgr(yuv: [u8; 3], space: color::Space, range: color::Range) -> [u8; 3] {
        let mut picture = frame::Video::new(Pixel::YUV420P, 64, 32);
        for (plane, value) in yuv.into_iter().enumerate() {
            picture.data_mut(plane).fill(value);
        }
        picture.set_color_space(space);
        picture.set_color_range(range);
        let mut converter = Converter::new(Target::Bgr);
        let converted = converter.convert(&picture).expect("a conversion");
        converted.data(0)[..3].try_into().expect("three bytes")
    }

    /// Expected B and R by ITU-R BT.601 and BT.709: B = 1.164 (Y - 16) + 2.017 (U - 128), with 2.112 for BT.709.
    #[test]
    fn the_matrix_and_range_of_a_picture_are_obeyed() {
        libav::start();
        let near = |found: [u8; 3], expected: [u8; 3]| {
            let distance = found
                .iter()
                .zip(expected)
                .map(|(&a, b)| a.abs_diff(b))
                .max();
            assert!(distance <= Some(2), "{found:?} is not {expected:?}");
        };
        let colour = [100, 140, 120];
        near(
            bgr(colour, color::Space::SMPTE170M, color::Range::MPEG),
            [122, 99, 85],
        );
        near(
            bgr(colour, color::Space::BT709, color::Range::MPEG),
            [123, 99, 83],
        );
        near(
            bgr(colour, color::Space::SMPTE170M, color::Range::JPEG),
            [121, 102, 89],
        );
    }

    #[test]
    fn a_picture_that_is_still_held_is_not_written_over() {
        libav::start();
        let mut converter = Converter::new(Target::Yuv420Bt709 {
            width: 64,
            height: 32,
        });
        let mut picture = frame::Video::new(Pixel::BGR24, 64, 32);
        picture.data_mut(0).fill(255);
        let mut held = frame::Video::empty();
        let white = converter.convert(&picture).expect("a conversion");
        // SAFETY: both are live frames; this is how an encoder holds a frame that was sent to it.
        assert_eq!(
            unsafe { ffi::av_frame_ref(held.as_mut_ptr(), white.as_ptr()) },
            0
        );
        picture.data_mut(0).fill(0);
        let black = converter.convert(&picture).expect("a conversion");
        assert_eq!((held.data(0)[0], black.data(0)[0]), (235, 16));
    }
}
