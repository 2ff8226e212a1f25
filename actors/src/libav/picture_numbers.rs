//! The numbers that slices give their pictures, in the order in which these are shown. They are all that a raw stream
//! of a codec has in the place of time stamps.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr;

use ffi::AVPictureStructure::{AV_PICTURE_STRUCTURE_BOTTOM_FIELD, AV_PICTURE_STRUCTURE_TOP_FIELD};
use ffmpeg_next::packet::Ref as _;
use ffmpeg_next::{Packet, Stream, codec, ffi};

/// What a picture's slices say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureNumber {
    /// Its place in the order of showing (picture order count: ITU-T H.264, 8.2.1; H.265, 8.3.1).
    pub(crate) number: i32,
    /// Decoding may begin with it; the numbers may then begin anew.
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
    /// Of a stream whose codec numbers its pictures so that libav can tell: H.264 and HEVC.
    pub(crate) fn of(stream: &Stream<'_>) -> Option<Self> {
        let parameters = stream.parameters();
        if !matches!(parameters.id(), codec::Id::H264 | codec::Id::HEVC) {
            return None;
        }
        // SAFETY: the parameters are alive while they are copied; what could not be allocated is null, which dropping
        // allows.
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

    /// The number of the picture in this packet; `None` if it is one of two fields, or cannot be read.
    pub(crate) fn read(&mut self, packet: &Packet) -> Option<PictureNumber> {
        /// What no picture has.
        const NONE: c_int = c_int::MIN;
        let (mut bytes, mut length) = (ptr::null_mut(), 0);
        // SAFETY: parser and context are open; the packet's bytes have libav's padding and are only read. What is
        // pointed to afterwards lies in the packet and is not used.
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
