//! A stream's parameters for another container.

#![allow(unsafe_code)]

use ffmpeg_next::Stream;
use ffmpeg_next::codec::Parameters;

/// What describes the packets of a stream, without the tag by which its container calls the codec: another container has its own.
pub(crate) fn parameters_without_tag(stream: &Stream<'_>) -> Parameters {
    let mut parameters = stream.parameters().clone();
    // SAFETY: the clone owns what it points to, and nothing else refers to it.
    unsafe {
        (*parameters.as_mut_ptr()).codec_tag = 0;
    }
    parameters
}
