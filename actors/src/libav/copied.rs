//! What is read of and changed in a stream's parameters.

#![allow(unsafe_code)]

use ffmpeg_next::Stream;
use ffmpeg_next::codec::Parameters;

/// Width and height that a container states for the pictures of a stream.
pub(crate) fn stated_size(stream: &Stream<'_>) -> (u32, u32) {
    let parameters = stream.parameters();
    // SAFETY: the stream has parameters for as long as it is there.
    let (width, height) = unsafe {
        let parameters = parameters.as_ptr();
        ((*parameters).width, (*parameters).height)
    };
    let size = |side| u32::try_from(side).unwrap_or(0);
    (size(width), size(height))
}

/// Lets libav refuse single allocations beyond this many bytes, whatever a file asks for.
pub(crate) fn limit_allocations(bytes: usize) {
    // SAFETY: it stores a number.
    unsafe { ffmpeg_next::ffi::av_max_alloc(bytes) };
}

/// What describes the packets of a stream, without the tag by which its container calls the codec: another container
/// has its own.
pub(crate) fn parameters_without_tag(stream: &Stream<'_>) -> Parameters {
    let mut parameters = stream.parameters().clone();
    // SAFETY: the clone owns what it points to, and nothing else refers to it.
    unsafe {
        (*parameters.as_mut_ptr()).codec_tag = 0;
    }
    parameters
}
