//! Reads the numbers that slices give their pictures, in display order. In a raw codec stream, these take the place of
//! time stamps.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr;

use ffi::AVPictureStructure::{AV_PICTURE_STRUCTURE_BOTTOM_FIELD, AV_PICTURE_STRUCTURE_TOP_FIELD};
use ffmpeg_next::packet::Ref as _;
use ffmpeg_next::{Packet, Stream, codec, ffi};

/// What a picture's slices state about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureNumber {
    /// Position in display order (picture order count: ITU-T H.264, 8.2.1; H.265, 8.3.1).
    pub(crate) number: i32,
    /// Whether decoding can begin here; numbering may restart with this picture.
    pub(crate) is_key: bool,
}

/// Reads the numbers of a stream's pictures, packet by packet.
pub(crate) struct PictureNumbers {
    parser: *mut ffi::AVCodecParserContext,
    context: *mut ffi::AVCodecContext,
}

// SAFETY: both are owned, and libav ties neither to a thread.
unsafe impl Send for PictureNumbers {}

impl PictureNumbers {
    /// Creates a reader for a stream whose codec numbers its pictures in a way that libav can read: H.264 and HEVC.
    pub(crate) fn of(stream: &Stream<'_>) -> Option<Self> {
        let parameters = stream.parameters();
        if !matches!(parameters.id(), codec::Id::H264 | codec::Id::HEVC) {
            return None;
        }
        // SAFETY: the parameters are alive while they are copied; a failed allocation is null, which `drop` allows.
        unsafe {
            let parser = ffi::av_parser_init((*parameters.as_ptr()).codec_id as c_int);
            let context = ffi::avcodec_alloc_context3(ptr::null());
            let numbers = Self { parser, context };
            if parser.is_null() || context.is_null() {
                return None;
            }
            let copied = ffi::avcodec_parameters_to_context(context, parameters.as_ptr());
            (*parser).flags |= ffi::PARSER_FLAG_COMPLETE_FRAMES as c_int;
            (copied >= 0).then_some(numbers)
        }
    }

    /// Returns the number of the picture in this packet, or `None` if it is a single field or cannot be read.
    pub(crate) fn read(&mut self, packet: &Packet) -> Option<PictureNumber> {
        /// A number that no picture has.
        const NONE: c_int = c_int::MIN;
        let (mut bytes, mut length) = (ptr::null_mut(), 0);
        // SAFETY: parser and context are open; the packet's bytes have libav's padding and are only read. The output
        // pointer refers to the packet's data and is not used.
        let (number, key, structure) = unsafe {
            let packet = packet.as_ptr();
            (*self.parser).output_picture_number = NONE;
            ffi::av_parser_parse2(
                self.parser,
                self.context,
                &raw mut bytes,
                &raw mut length,
                (*packet).data,
                (*packet).size,
                ffi::AV_NOPTS_VALUE,
                ffi::AV_NOPTS_VALUE,
                (*packet).pos,
            );
            let parser = &*self.parser;
            (
                parser.output_picture_number,
                parser.key_frame,
                parser.picture_structure,
            )
        };
        let is_field = matches!(
            structure,
            AV_PICTURE_STRUCTURE_TOP_FIELD | AV_PICTURE_STRUCTURE_BOTTOM_FIELD
        );
        (number != NONE && !is_field).then_some(PictureNumber {
            number,
            is_key: key == 1,
        })
    }
}

impl Drop for PictureNumbers {
    fn drop(&mut self) {
        // SAFETY: both are owned, closed once, and may be null.
        unsafe {
            ffi::av_parser_close(self.parser);
            ffi::avcodec_free_context(&raw mut self.context);
        }
    }
}
