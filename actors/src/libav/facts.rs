//! Properties of streams that libav knows and the crate does not expose.

#![allow(unsafe_code)]

use ffmpeg_next::format::context::Input;
use ffmpeg_next::packet::Ref as _;
use ffmpeg_next::{Packet, Stream, ffi, frame};

/// FLV states times in 32 bits, of which libav reads 31.
const FLV_BITS: u32 = 31;

/// Returns the number of bits in which a stream's container counts time; 64 if it does not wrap around.
pub(crate) fn time_stamp_bits(input: &Input, stream: &Stream<'_>) -> u32 {
    if input.format().name() == "flv" {
        return FLV_BITS;
    }
    // SAFETY: the stream is alive for as long as it is borrowed.
    let bits = unsafe { (*stream.as_ptr()).pts_wrap_bits };
    u32::try_from(bits)
        .ok()
        .filter(|&bits| bits > 0)
        .unwrap_or(64)
}

/// Returns the aspect ratio (width over height) of a picture's pixels: the container's, else the picture's own, else 1.
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

/// Formats of raw codec streams, which libav does not flag as having no times.
const RAW: [&str; 14] = [
    "h264",
    "hevc",
    "m4v",
    "mpegvideo",
    "mjpeg",
    "h261",
    "h263",
    "vc1",
    "obu",
    "dirac",
    "dnxhd",
    "cavsvideo",
    "avs2",
    "avs3",
];

/// Returns whether packets of the input's format have times at all: raw codec streams have none.
pub(crate) fn has_time_stamps(input: &Input) -> bool {
    if RAW.contains(&input.format().name()) {
        return false;
    }
    // SAFETY: the input is open, so its format is set and lives as long as the library.
    let flags = unsafe { (*(*input.as_ptr()).iformat).flags };
    flags & ffi::AVFMT_NOTIMESTAMPS == 0
}

/// Returns whether all bytes have been read.
pub(crate) fn is_read_to_its_end(input: &Input) -> bool {
    // SAFETY: the input is open for as long as it is borrowed, and owns its I/O context.
    unsafe {
        let io = (*input.as_ptr()).pb;
        !io.is_null() && (*io).eof_reached != 0
    }
}

/// Returns whether an input that is read as bytes has an unknown length.
pub(crate) fn is_of_unknown_length(input: &Input) -> bool {
    // SAFETY: the input is open for as long as it is borrowed, and owns its I/O context.
    unsafe {
        let io = (*input.as_ptr()).pb;
        !io.is_null() && ffi::avio_size(io) < 0
    }
}

/// Returns whether the length of an open input is stated in it, rather than guessed from its last packets or its bytes.
pub(crate) fn states_its_length(input: &Input) -> bool {
    // SAFETY: the input is open for as long as it is borrowed.
    let method = unsafe { (*input.as_ptr()).duration_estimation_method };
    method == ffi::AVDurationEstimationMethod::AVFMT_DURATION_FROM_STREAM
}

/// Returns whether a packet's content is decoded but not shown (the container cuts it off).
pub(crate) fn is_hidden(packet: &Packet) -> bool {
    // SAFETY: the packet is alive for as long as it is borrowed.
    let flags = unsafe { (*packet.as_ptr()).flags };
    flags & ffi::AV_PKT_FLAG_DISCARD != 0
}
