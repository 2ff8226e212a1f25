//! Encodes frames as H.264 into a fragmented MP4 file, of which all but the end is on disk at any moment. The caller
//! chooses the times of frames and renames the file.
//!
//! A fragment is a piece of the file that can be played without what follows. It is written when it contains
//! [`FRAGMENT`] of the video, so that a killed process loses less than a second: the open fragment, and the lookahead
//! of [`h264`](super::h264). Finishing does not move written data: the muxer's index of all fragments is at the end of
//! the file, and space for ours is reserved at the beginning ([`mp4_index`](super::mp4_index)).

use std::path::Path;

use fermata_vision::Frame;
use fermata_vision::frame::CHANNELS;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::format::context::Output;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, encoder, format, frame};

use crate::libav::{self, Converter, Target};
use crate::sinks::h264::{H264, H264_ENCODER, Quality, TICKS_PER_SECOND, TIME_BASE};
use crate::sinks::mp4_index::{self, Mp4Index, Track};

/// Duration in ticks after which a fragment is written.
const FRAGMENT: i64 = TICKS_PER_SECOND / 2;

/// Longest interval between two frames, in ticks: 32 bits with a sign hold 6.6 hours. A longer one is shortened to it.
const MOST_DISTANCE: i64 = 6 * 3600 * TICKS_PER_SECOND;

/// The operation that failed, and libav's reason.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("{doing}: {error}")]
    Libav { doing: &'static str, error: Error },
}

impl From<Error> for EncodeError {
    fn from(error: Error) -> Self {
        Self::Libav {
            doing: "encoding",
            error,
        }
    }
}

/// Turns libav's errors into [`EncodeError::Libav`].
fn failed(doing: &'static str) -> impl Fn(Error) -> EncodeError {
    move |error| EncodeError::Libav { doing, error }
}

/// H.264 encoder and MP4 muxer of one file.
pub(crate) struct Mp4Encoder {
    h264: H264,
    muxer: Muxer,
    converter: Converter,
    /// Time of the last frame, in ticks.
    last: Option<i64>,
    /// Total by which intervals have been shortened, in ticks.
    shortened: i64,
    is_ended: bool,
}

impl Mp4Encoder {
    /// Begins a file for frames like `first`, with the next one `distance_us` later.
    pub(crate) fn open(
        path: &Path,
        first: &Frame,
        distance_us: i64,
        quality: Quality,
    ) -> Result<Self, EncodeError> {
        let (width, height) = even_size(first);
        let size = (width as u32, height as u32);
        let distance = ticks(distance_us);
        let h264 = H264::open(size, distance, quality).map_err(failed("opening libx264"))?;
        Ok(Self {
            muxer: Muxer::open(path, &h264)?,
            h264,
            converter: Converter::new(Target::Yuv420Bt709 {
                width: size.0,
                height: size.1,
            }),
            last: None,
            shortened: 0,
            is_ended: false,
        })
    }

    /// Encodes one frame that is shown from `pts_us` for `duration_us`.
    pub(crate) fn write(
        &mut self,
        frame: &Frame,
        pts_us: i64,
        duration_us: i64,
    ) -> Result<(), EncodeError> {
        let bgr = even_part(frame);
        let time = self.time_of(pts_us);
        let yuv = self
            .converter
            .convert(&bgr)
            .map_err(failed("converting from BGR"))?;
        let end = ticks(pts_us.saturating_add(duration_us)).saturating_sub(self.shortened);
        let duration = end.saturating_sub(time).clamp(1, MOST_DISTANCE);
        yuv.set_pts(Some(time));
        let muxer = &mut self.muxer;
        self.h264
            .encode(yuv, duration, |packet| muxer.write(packet))
    }

    /// Hands all frames to the operating system; no more can be written.
    pub(crate) fn end(&mut self) -> Result<(), EncodeError> {
        if std::mem::replace(&mut self.is_ended, true) {
            return Ok(());
        }
        let muxer = &mut self.muxer;
        self.h264.end(|packet| muxer.write(packet))?;
        self.muxer.end_fragment()
    }

    /// Writes the frames that the encoder holds back, and the index. The file is complete afterwards.
    pub(crate) fn finish(&mut self) -> Result<(), EncodeError> {
        self.end()?;
        self.muxer.finish().map_err(failed("writing the index"))
    }

    /// Returns the number of frames that have been handed to the operating system: they survive this process.
    pub(crate) fn flushed(&self) -> u64 {
        self.muxer.flushed
    }

    /// Returns the total by which frame times have been brought forward, in microseconds: a gap longer than the file
    /// can hold is shortened.
    pub(crate) fn shortened_us(&self) -> i64 {
        let us = i128::from(self.shortened) * 1_000_000 / i128::from(TICKS_PER_SECOND);
        i64::try_from(us).unwrap_or(i64::MAX)
    }

    /// Returns the number of packet bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.muxer.bytes
    }

    /// Returns a frame's time in ticks, always after that of the last one.
    fn time_of(&mut self, pts_us: i64) -> i64 {
        let wanted = ticks(pts_us).saturating_sub(self.shortened);
        let time = match self.last {
            None => wanted,
            Some(last) => wanted.clamp(last + 1, last + MOST_DISTANCE),
        };
        self.shortened += (wanted - time).max(0);
        self.last = Some(time);
        time
    }
}

/// The file, and the fragment that is not in it yet.
struct Muxer {
    output: Output,
    time_base: Rational,
    /// Start of the open fragment, in ticks.
    begun: Option<i64>,
    written: u64,
    flushed: u64,
    bytes: u64,
    index: Mp4Index,
    /// Byte offset of the space reserved for the index.
    room: u64,
    /// Offset that the muxer adds to times, so that the file begins at 0, in units of the track.
    shift: Option<i64>,
    /// Time at which the last picture ends, in units of the track.
    until: i64,
}

impl Muxer {
    fn open(path: &Path, h264: &H264) -> Result<Self, EncodeError> {
        // As for sources: without the scheme, a colon in the name would make it a protocol.
        let url = format!("file:{}", path.display());
        let mut output = format::output_as(&url, "mp4").map_err(failed("opening the file"))?;
        let mut stream = output
            .add_stream(encoder::find_by_name(H264_ENCODER))
            .map_err(failed("adding a stream"))?;
        stream.set_time_base(TIME_BASE);
        stream.set_parameters(h264.encoder());
        let mut options = Dictionary::new();
        options.set("movflags", "empty_moov+default_base_moof+frag_custom");
        options.set("flush_packets", "1");
        output
            .write_header_with(options)
            .map_err(failed("writing the header"))?;
        // The muxer may choose a different one.
        let time_base = output
            .stream(0)
            .map_or(TIME_BASE, |stream| stream.time_base());
        let room = libav::position(&mut output).map_err(failed("writing the header"))?;
        libav::append(&mut output, &mp4_index::empty()).map_err(failed("writing the header"))?;
        Ok(Self {
            output,
            time_base,
            begun: None,
            written: 0,
            flushed: 0,
            bytes: 0,
            index: Mp4Index::new(),
            room,
            shift: None,
            until: 0,
        })
    }

    fn write(&mut self, mut packet: Packet) -> Result<(), EncodeError> {
        let start = packet.dts().unwrap_or_default();
        let end = start.saturating_add(packet.duration());
        // The index contains only fragments that begin with a key frame.
        if packet.is_key() {
            self.end_fragment()?;
        }
        self.bytes += packet.size() as u64;
        packet.set_stream(0);
        packet.rescale_ts(TIME_BASE, self.time_base);
        let dts = packet.dts().unwrap_or_default();
        let shift = *self.shift.get_or_insert(-dts);
        let pts = packet.pts().unwrap_or(dts).saturating_add(shift);
        self.until = self.until.max(pts.saturating_add(packet.duration()));
        if self.begun.is_none() && packet.is_key() {
            let place = libav::position(&mut self.output);
            self.index
                .add(place.map_err(failed("writing to the file"))?, pts);
        }
        let begun = *self.begun.get_or_insert(start);
        packet
            .write(&mut self.output)
            .map_err(failed("writing to the file"))?;
        self.written += 1;
        if end.saturating_sub(begun) >= FRAGMENT {
            self.end_fragment()
        } else {
            Ok(())
        }
    }

    /// Writes both indices.
    fn finish(&mut self) -> Result<(), Error> {
        let track = Track {
            room: self.room,
            units_per_s: self.time_base.denominator().unsigned_abs(),
            end: libav::position(&mut self.output)?,
            until: self.until,
        };
        self.output.write_trailer()?;
        match self.index.to_bytes(track) {
            Some(index) => libav::replace(&mut self.output, self.room, &index),
            None => Ok(()),
        }
    }

    fn end_fragment(&mut self) -> Result<(), EncodeError> {
        if self.begun.take().is_some() {
            libav::end_fragment(&mut self.output).map_err(failed("writing to the file"))?;
            self.flushed = self.written;
        }
        Ok(())
    }
}

/// Converts microseconds to ticks.
fn ticks(us: i64) -> i64 {
    let ticks = (i128::from(us) * i128::from(TICKS_PER_SECOND) + 500_000).div_euclid(1_000_000);
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

/// Returns the largest even width and height, and 2 instead of 1.
fn even_size(frame: &Frame) -> (usize, usize) {
    let even = |side: usize| (side & !1).max(2);
    (even(frame.width()), even(frame.height()))
}

/// Copies the frame without its last column or row if their number is odd; a single one is duplicated.
fn even_part(frame: &Frame) -> frame::Video {
    let (width, height) = even_size(frame);
    let mut picture = frame::Video::new(Pixel::BGR24, width as u32, height as u32);
    let stride = picture.stride(0);
    let given = frame.width() * CHANNELS;
    let targets = picture.data_mut(0).chunks_mut(stride).take(height);
    // Repeated until all rows are filled.
    let rows = frame.bgr().chunks_exact(given).cycle();
    for (target, row) in targets.zip(rows) {
        for part in target[..width * CHANNELS].chunks_mut(given) {
            part.copy_from_slice(&row[..part.len()]);
        }
    }
    picture
}
