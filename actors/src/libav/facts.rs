//! What libav knows of a stream and the crate does not say.

#![allow(unsafe_code)]

use ffmpeg_next::{Stream, ffi, frame};

/// In how many bits the container counts time; 64 if it does not start over.
pub(crate) fn time_stamp_bits(stream: &Stream<'_>) -> u32 {
    // SAFETY: the stream is alive for as long as it is borrowed.
    let bits = unsafe { (*stream.as_ptr()).pts_wrap_bits };
    u32::try_from(bits)
        .ok()
        .filter(|&bits| bits > 0)
        .unwrap_or(64)
}

/// How much wider than high the pixels of a picture are shown: what the container says, else what the picture itself says,
/// else 1.
pub(crate) fn sample_aspect_ratio(stream: Option<&Stream<'_>>, picture: &frame::Video) -> f64 {
    // SAFETY: the stream is alive for as long as it is borrowed.
    let stated = stream.map(|stream| unsafe { (*stream.as_ptr()).sample_aspect_ratio });
    let stated = stated.map(|ratio: ffi::AVRational| (ratio.num, ratio.den));
    let own = picture.aspect_ratio();
    let candidates = [stated, Some((own.numerator(), own.denominator()))];
    let mut known = candidates.into_iter().flatten();
    let ratio = known.find(|&(width, height)| width > 0 && height > 0);
    ratio.map_or(1.0, |(width, height)| f64::from(width) / f64::from(height))
}
