//! Access to a stream's parameters.

#![allow(unsafe_code)]

use ffmpeg_next::Stream;
use ffmpeg_next::codec::Parameters;

/// Returns the width and height that a container states for a stream's pictures.
pub(crate) fn stated_size(stream: &Stream<'_>) -> (u32, u32) {
    let parameters = stream.parameters();
    // SAFETY: the parameters live as long as the stream.
    let (width, height) = unsafe {
        let parameters = parameters.as_ptr();
        ((*parameters).width, (*parameters).height)
    };
    let size = |side| u32::try_from(side).unwrap_or(0);
    (size(width), size(height))
}

/// Makes libav refuse single allocations beyond this many bytes, whatever a file asks for.
pub(crate) fn limit_allocations(bytes: usize) {
    // SAFETY: it stores a number.
    unsafe { ffmpeg_next::ffi::av_max_alloc(bytes) };
}

/// Returns a stream's codec parameters without the tag that identifies the codec in its container: another container
/// has its own.
pub(crate) fn parameters_without_tag(stream: &Stream<'_>) -> Parameters {
    let mut parameters = stream.parameters().clone();
    // SAFETY: the clone owns what it points to, and nothing else refers to it.
    unsafe {
        (*parameters.as_mut_ptr()).codec_tag = 0;
    }
    parameters
}
