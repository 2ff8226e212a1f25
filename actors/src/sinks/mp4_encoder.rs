//! Encodes frames as H.264 into an MP4 file. Which times the frames get and when the file gets its name is the
//! caller's.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use fermata_vision::Frame;
use fermata_vision::frame::CHANNELS;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::format::context::Output;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, codec, color, encoder, format, frame};

use crate::libav::{self, Converter, Target};

/// Times are written in microseconds: finer than any camera, and still a time scale that players take.
const TIME_BASE: Rational = Rational(1, 1_000_000);

/// Name of the encoder in libav.
pub(crate) const H264_ENCODER: &str = "libx264";

/// What was tried, and libav's reason why it did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("{doing}: {error}")]
    Libav { doing: &'static str, error: Error },
    #[error("frames of {width}x{height} pixels are too small for H.264, which needs 2x2")]
    TooSmall { width: usize, height: usize },
}

/// Turns libav's errors into [`EncodeError::Libav`].
fn failed(doing: &'static str) -> impl Fn(Error) -> EncodeError {
    move |error| EncodeError::Libav { doing, error }
}

/// How to encode.
pub(crate) struct Quality {
    pub(crate) crf: u8,
    pub(crate) preset: &'static str,
    pub(crate) threads: usize,
}

/// See the file's head.
pub(crate) struct Mp4Encoder {
    output: Output,
    encoder: encoder::video::Encoder,
    converter: Converter,
    packet_time_base: Rational,
    /// Start and duration of the frames that are in the encoder.
    durations: VecDeque<(i64, i64)>,
}

impl Mp4Encoder {
    /// Begins a file for frames like `first`, of which the next one comes after `distance`.
    pub(crate) fn open(
        path: &Path,
        first: &Frame,
        distance: Duration,
        quality: &Quality,
    ) -> Result<Self, EncodeError> {
        let (width, height) = (first.width() & !1, first.height() & !1);
        if width == 0 || height == 0 {
            let (width, height) = (first.width(), first.height());
            return Err(EncodeError::TooSmall { width, height });
        }
        // As for sources: without the scheme, a colon in the name would make it a protocol.
        let url = format!("file:{}", path.display());
        let mut output = format::output_as(&url, "mp4").map_err(failed("opening the file"))?;
        let encoder = open_encoder(width as u32, height as u32, distance, quality)?;
        let mut stream = output
            .add_stream(encoder::find_by_name(H264_ENCODER))
            .map_err(failed("adding a stream"))?;
        stream.set_time_base(TIME_BASE);
        stream.set_parameters(&encoder);
        output
            .write_header()
            .map_err(failed("writing the header"))?;
        // The muxer may choose another one.
        let packet_time_base = output
            .stream(0)
            .map_or(TIME_BASE, |stream| stream.time_base());
        Ok(Self {
            output,
            encoder,
            converter: Converter::new(Target::Yuv420Bt709 {
                width: width as u32,
                height: height as u32,
            }),
            packet_time_base,
            durations: VecDeque::new(),
        })
    }

    /// Encodes one frame that is shown from `pts_us` for `duration_us`.
    pub(crate) fn write(
        &mut self,
        frame: &Frame,
        pts_us: i64,
        duration_us: i64,
    ) -> Result<(), EncodeError> {
        let bgr = even_part(frame)?;
        let yuv = self
            .converter
            .convert(&bgr)
            .map_err(failed("converting from BGR"))?;
        yuv.set_pts(Some(pts_us));
        self.durations.push_back((pts_us, duration_us));
        self.encoder.send_frame(yuv).map_err(failed("encoding"))?;
        self.write_packets()
    }

    /// Writes what the encoder holds back, and the index. The file is whole afterwards.
    pub(crate) fn finish(mut self) -> Result<(), EncodeError> {
        self.encoder
            .send_eof()
            .map_err(failed("ending the encoder"))?;
        self.write_packets()?;
        self.output
            .write_trailer()
            .map_err(failed("writing the index"))
    }

    fn write_packets(&mut self) -> Result<(), EncodeError> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(Error::Eof) => return Ok(()),
                Err(error) if libav::wants_input(error) => return Ok(()),
                Err(error) => return Err(failed("encoding")(error)),
            }
            // libx264 does not hand durations on, and without them the last frame would have none.
            let of_packet = |(pts, _): &(i64, i64)| Some(*pts) == packet.pts();
            if let Some(index) = self.durations.iter().position(of_packet)
                && let Some((_, duration)) = self.durations.remove(index)
            {
                packet.set_duration(duration);
            }
            packet.set_stream(0);
            packet.rescale_ts(TIME_BASE, self.packet_time_base);
            packet
                .write_interleaved(&mut self.output)
                .map_err(failed("writing to the file"))?;
        }
    }
}

fn open_encoder(
    width: u32,
    height: u32,
    distance: Duration,
    quality: &Quality,
) -> Result<encoder::video::Encoder, EncodeError> {
    let h264 = encoder::find_by_name(H264_ENCODER).ok_or(Error::EncoderNotFound);
    let h264 = h264.map_err(failed("looking for libx264"))?;
    let mut context = codec::Context::new_with_codec(h264);
    // MP4 keeps the parameter sets in its header.
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    context.set_threading(codec::threading::Config::count(quality.threads));
    let mut video = context
        .encoder()
        .video()
        .map_err(failed("preparing libx264"))?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(Pixel::YUV420P);
    video.set_time_base(TIME_BASE);
    // Only for the level that the file states: it would be that of a million frames per second otherwise.
    let distance_us = i32::try_from(distance.as_micros()).unwrap_or(i32::MAX);
    video.set_frame_rate(Some(Rational(1_000_000, distance_us.max(1_000))));
    video.set_colorspace(color::Space::BT709);
    video.set_color_range(color::Range::MPEG);
    video.set_color_primaries(color::Primaries::BT709);
    video.set_color_transfer_characteristic(color::TransferCharacteristic::BT709);
    let mut options = Dictionary::new();
    options.set("crf", &quality.crf.to_string());
    options.set("preset", quality.preset);
    video
        .open_as_with(h264, options)
        .map_err(failed("opening libx264"))
}

/// The frame without its last column or row where their number is odd.
fn even_part(frame: &Frame) -> Result<frame::Video, EncodeError> {
    let (width, height) = (frame.width() & !1, frame.height() & !1);
    if width == 0 || height == 0 {
        let (width, height) = (frame.width(), frame.height());
        return Err(EncodeError::TooSmall { width, height });
    }
    let mut picture = frame::Video::new(Pixel::BGR24, width as u32, height as u32);
    let stride = picture.stride(0);
    let row_bytes = width * CHANNELS;
    let targets = picture.data_mut(0).chunks_mut(stride);
    let rows = frame.bgr().chunks_exact(frame.width() * CHANNELS);
    for (target, row) in targets.zip(rows) {
        target[..row_bytes].copy_from_slice(&row[..row_bytes]);
    }
    Ok(picture)
}
