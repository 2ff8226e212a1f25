//! One open file or connection: finds its video stream, decodes it, and hands out BGR frames with the container's time
//! stamps. When to open it again is the source's business.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fermata_engine::Setup;
use fermata_vision::frame::CHANNELS;
use fermata_vision::image_file::{ImageLimits, MOST_SIDE};
use fermata_vision::{Frame, FramePool};
use ffmpeg_next::codec::{Context, packet, threading};
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, Stream, decoder, format, frame, media};
use opencv::core::RotateFlags;

use crate::libav::{self, Converter, Target};
use crate::sources::recorder::{RecordError, Recorder};
use crate::sources::tls::TlsError;
use crate::sources::whole_file::missing_bytes;

/// Why there are no (more) frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VideoError {
    /// The stream was cancelled while libav was busy.
    #[error("reading was cancelled")]
    Cancelled,
    /// Nothing came in time.
    #[error("no data within {0:?}")]
    Silent(Duration),
    /// Nothing to see in it.
    #[error("it holds no video stream")]
    NoVideo,
    /// A picture that would take too much memory.
    #[error("its pictures are {width} x {height} pixels; the most that is decoded is {} (`max_pixels`) in all and {MOST_SIDE} on a side", .limits.pixels)]
    TooManyPixels {
        /// As the file states it.
        width: u32,
        /// As the file states it.
        height: u32,
        /// What would be decoded.
        limits: ImageLimits,
    },
    /// A part of libav is not there.
    #[error("{0}")]
    Missing(String),
    /// The recording cannot be read to its end.
    #[error("{reason} after {frames} frames: the file is damaged or ends too early")]
    Broken {
        /// Frames delivered before.
        frames: u64,
        /// What shows it.
        reason: String,
    },
    /// A frame without any time stamp, in a container that states no frame rate either.
    #[error("frame {0} has no time stamp, and the container states no frame rate")]
    NoTime(u64),
    /// OpenCV could not turn a frame.
    #[error("turning the frame: {0}")]
    Turning(opencv::Error),
    /// What is received cannot be kept.
    #[error(transparent)]
    Recording(#[from] RecordError),
    /// The other side of an encrypted stream does not show who it is, or cannot be reached.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Whatever else libav says.
    #[error("{doing}: {error}")]
    Libav {
        /// What was tried.
        doing: &'static str,
        /// libav's reason.
        error: Error,
    },
}

/// Makes libav's blocking calls return when the stream is cancelled or has been silent for too long.
pub(crate) struct Watch {
    cancel: Arc<AtomicBool>,
    timeout: Option<Duration>,
    started: Instant,
    deadline_ns: AtomicU64,
}

impl Watch {
    /// Without a timeout only a cancellation interrupts.
    pub(crate) fn new(setup: &Setup, timeout: Option<Duration>) -> Arc<Self> {
        let watch = Self {
            cancel: setup.cancel_flag(),
            timeout,
            started: Instant::now(),
            deadline_ns: AtomicU64::new(u64::MAX),
        };
        watch.rearm();
        Arc::new(watch)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Something came: the timeout starts over.
    fn rearm(&self) {
        if let Some(timeout) = self.timeout {
            let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
            let deadline_ns = self.now_ns().saturating_add(timeout_ns);
            self.deadline_ns.store(deadline_ns, Ordering::Relaxed);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// True if a blocking call should give up.
    fn interrupts(&self) -> bool {
        self.is_cancelled() || self.now_ns() > self.deadline_ns.load(Ordering::Relaxed)
    }

    /// Says why a call ended with `error`.
    fn explain(&self, doing: &'static str, error: Error) -> VideoError {
        match self.timeout {
            _ if self.is_cancelled() => VideoError::Cancelled,
            Some(timeout) if self.interrupts() => VideoError::Silent(timeout),
            _ => VideoError::Libav { doing, error },
        }
    }
}

/// Opens a file or a network address.
pub(crate) fn open_url(
    url: &str,
    options: Dictionary,
    watch: &Arc<Watch>,
) -> Result<Input, VideoError> {
    watch.rearm();
    let asked = Arc::clone(watch);
    format::input_with_interrupt_and_dictionary(url, move || asked.interrupts(), options)
        .map_err(|error| watch.explain("libav", error))
}

/// Opens a V4L2 camera. libav offers no way to interrupt its reads: a camera that stalls without an error holds the
/// thread until the driver gives up, and the engine names the call that does not return.
pub(crate) fn open_device(path: &str, options: Dictionary) -> Result<Input, VideoError> {
    let v4l2 = libav::v4l2().map_err(VideoError::Missing)?;
    let opened = format::open_with(path, &v4l2, options);
    let opened = opened.map_err(|error| VideoError::Libav {
        doing: "V4L2",
        error,
    })?;
    Ok(opened.input())
}

/// How an input is decoded.
pub(crate) struct Decoding {
    /// Threads of the decoder.
    pub(crate) threads: usize,
    /// The file, if it is one. Frames of a live stream must not wait for later ones to keep the threads busy.
    pub(crate) recording: Option<PathBuf>,
    /// Where the packets are kept as they come, if they are.
    pub(crate) record: Option<PathBuf>,
    /// Where the frames come from.
    pub(crate) pool: FramePool,
    /// What a picture may be.
    pub(crate) limits: ImageLimits,
}

/// See the file's head.
pub(crate) struct VideoReader {
    input: Input,
    stream: usize,
    time_base: Rational,
    frame_rate: Rational,
    decoder: decoder::Video,
    converter: Converter,
    turn: Option<RotateFlags>,
    pool: FramePool,
    limits: ImageLimits,
    decoded: frame::Video,
    watch: Arc<Watch>,
    setup: Setup,
    recording: Option<PathBuf>,
    recorder: Option<Recorder>,
    /// Set once the decoder has been told that nothing more comes; with the reason, if it is not the end.
    ending: Option<Option<VideoError>>,
    /// The input ended in the middle of the newest packet.
    last_is_cut: bool,
    last_pts_ns: Option<i64>,
    frames: u64,
    damaged: u64,
}

impl VideoReader {
    /// Prepares to decode the best video stream of `input`.
    pub(crate) fn new(
        input: Input,
        decoding: Decoding,
        watch: Arc<Watch>,
        setup: &Setup,
    ) -> Result<Self, VideoError> {
        let stream = input
            .streams()
            .best(media::Type::Video)
            .ok_or(VideoError::NoVideo)?;
        let (index, time_base) = (stream.index(), stream.time_base());
        let frame_rate = stream.avg_frame_rate();
        let turn = turn(&stream);
        let (width, height) = libav::stated_size(&stream);
        admit(decoding.limits, width, height)?;
        let decoder = open_decoder(&stream, &decoding)?;
        let record = decoding.record.as_deref();
        let recorder = record.map(|path| Recorder::begin(path, &stream, &setup.node));
        let recorder = recorder.transpose()?;
        Ok(Self {
            stream: index,
            time_base,
            frame_rate,
            decoder,
            converter: Converter::new(Target::Bgr),
            turn,
            pool: decoding.pool,
            limits: decoding.limits,
            decoded: frame::Video::empty(),
            input,
            watch,
            setup: setup.clone(),
            recording: decoding.recording,
            recorder,
            ending: None,
            last_is_cut: false,
            last_pts_ns: None,
            frames: 0,
            damaged: 0,
        })
    }

    /// True if the container says how long it is, so that its end is the end and not a loss.
    pub(crate) fn has_duration(&self) -> bool {
        self.input.duration() > 0
    }

    /// Decodes the next frame; `None` at the end. What the decoder holds back comes before an error that ended the
    /// input.
    pub(crate) fn next(&mut self) -> Result<Option<(Frame, i64)>, VideoError> {
        self.watch.rearm();
        loop {
            match self.decoder.receive_frame(&mut self.decoded) {
                Ok(()) => return self.finished_frame().map(Some),
                Err(Error::Eof) => return self.ended(),
                Err(error) if libav::wants_input(error) => self.feed()?,
                // With several threads the decoder reports an undecodable packet here.
                Err(error) => self.count_undecodable(error)?,
            }
        }
    }

    /// Gives the decoder one more packet, or tells it that there is none.
    fn feed(&mut self) -> Result<(), VideoError> {
        if self.watch.interrupts() {
            return Err(self.watch.explain("libav", Error::Exit));
        }
        let mut packet = Packet::empty();
        match packet.read(&mut self.input) {
            Ok(()) if packet.stream() == self.stream => {
                self.watch.rearm();
                self.last_is_cut = packet.is_corrupt();
                if let Some(recorder) = &mut self.recorder {
                    recorder.write(&packet)?;
                }
                self.send(&packet)
            }
            Ok(()) => Ok(()),
            Err(error) => {
                self.ending = Some(self.reason_to_end(error));
                let sent = self.decoder.send_eof();
                sent.map_err(|error| VideoError::Libav {
                    doing: "decoding",
                    error,
                })
            }
        }
    }

    /// Why no packet comes any more; `None` if that is simply the end.
    fn reason_to_end(&self, error: Error) -> Option<VideoError> {
        let Some(path) = self.recording.as_ref().filter(|_| !self.watch.interrupts()) else {
            return (error != Error::Eof).then(|| self.watch.explain("reading", error));
        };
        let reason = match error {
            Error::Eof if self.last_is_cut => "the last packet is incomplete".to_owned(),
            Error::Eof => match missing_bytes(path) {
                Ok(None) => return None,
                Ok(Some(missing)) => format!("{missing} bytes are missing"),
                Err(error) => error.to_string(),
            },
            error => error.to_string(),
        };
        Some(VideoError::Broken { frames: 0, reason })
    }

    fn send(&mut self, packet: &Packet) -> Result<(), VideoError> {
        if packet.size() == 0 {
            // libav would take a packet without bytes for the end of the video.
            return self.count_undecodable(Error::InvalidData);
        }
        match self.decoder.send_packet(packet) {
            Ok(()) => Ok(()),
            Err(error) => self.count_undecodable(error),
        }
    }

    /// A packet that cannot be decoded is a frame that was lost on its way here; anything else than bad data is not
    /// the packet's fault.
    fn count_undecodable(&mut self, error: Error) -> Result<(), VideoError> {
        if error != Error::InvalidData {
            return Err(VideoError::Libav {
                doing: "decoding",
                error,
            });
        }
        self.setup.count_missed(1);
        let (node, frames) = (&self.setup.node, self.frames);
        tracing::warn!(%node, frames, "a packet of the video cannot be decoded and counts as missed");
        Ok(())
    }

    fn finished_frame(&mut self) -> Result<(Frame, i64), VideoError> {
        // A stream may grow while it runs.
        admit(self.limits, self.decoded.width(), self.decoded.height())?;
        let pts_ns = self.pts_ns()?;
        self.damaged += u64::from(self.decoded.is_corrupt() || self.decoded.has_decode_errors());
        let converted = self.converter.convert(&self.decoded);
        let bgr = converted.map_err(|error| VideoError::Libav {
            doing: "converting to BGR",
            error,
        })?;
        let (width, height) = (bgr.width() as usize, bgr.height() as usize);
        let mut frame = self.pool.take(width, height);
        let row_bytes = width * CHANNELS;
        let targets = frame.bgr_mut().chunks_exact_mut(row_bytes);
        for (target, row) in targets.zip(libav::rows(bgr, row_bytes)) {
            target.copy_from_slice(row);
        }
        let mut frame = frame.freeze();
        if let Some(turn) = self.turn {
            frame = turned(&frame, turn, &self.pool).map_err(VideoError::Turning)?;
        }
        self.last_pts_ns = Some(pts_ns);
        self.frames += 1;
        Ok((frame, pts_ns))
    }

    /// The frame's best-effort time stamp. Where a container has none (raw streams), frames follow each other at its
    /// frame rate.
    fn pts_ns(&self) -> Result<i64, VideoError> {
        if let Some(timestamp) = self.decoded.timestamp() {
            return Ok(nanoseconds(timestamp, self.time_base));
        }
        let rate = self.frame_rate;
        if rate.numerator() <= 0 || rate.denominator() <= 0 {
            return Err(VideoError::NoTime(self.frames));
        }
        if self.frames == 0 {
            let node = &self.setup.node;
            tracing::warn!(%node, "the video has no time stamps; its frame rate {rate} stands in for them");
        }
        let distance_ns = nanoseconds(1, rate.invert());
        Ok(self
            .last_pts_ns
            .map_or(0, |last| last.saturating_add(distance_ns)))
    }

    fn ended(&mut self) -> Result<Option<(Frame, i64)>, VideoError> {
        if self.damaged > 0 {
            let (node, damaged) = (&self.setup.node, self.damaged);
            tracing::warn!(%node, damaged, "frames were decoded with errors and patched by the decoder");
            self.damaged = 0;
        }
        match self.ending.as_mut().and_then(Option::take) {
            Some(VideoError::Broken { reason, .. }) => Err(VideoError::Broken {
                frames: self.frames,
                reason,
            }),
            Some(error) => Err(error),
            None => Ok(None),
        }
    }
}

fn admit(limits: ImageLimits, width: u32, height: u32) -> Result<(), VideoError> {
    match limits.admit(width, height) {
        true => Ok(()),
        false => Err(VideoError::TooManyPixels {
            width,
            height,
            limits,
        }),
    }
}

fn open_decoder(stream: &Stream, decoding: &Decoding) -> Result<decoder::Video, VideoError> {
    let failed = |error| VideoError::Libav {
        doing: "opening the decoder",
        error,
    };
    let mut context = Context::from_parameters(stream.parameters()).map_err(failed)?;
    context.set_threading(threading::Config {
        kind: match decoding.recording {
            None => threading::Type::Slice,
            Some(_) => threading::Type::Frame,
        },
        count: decoding.threads,
        ..threading::Config::default()
    });
    let codec = context.id();
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    let found = decoder::find(codec)
        .ok_or_else(|| VideoError::Missing(format!("decoder for {codec:?}")))?;
    let mut options = Dictionary::new();
    // Pictures are coded in whole blocks, so a little more than is shown.
    let coded = decoding
        .limits
        .pixels
        .saturating_mul(2)
        .min(i64::MAX as u64);
    options.set("max_pixels", &coded.to_string());
    let opened = decoder.open_as_with(found, options);
    opened
        .and_then(decoder::Opened::video)
        .map_err(|error| match error {
            Error::DecoderNotFound => VideoError::Missing(format!("decoder for {codec:?}")),
            error => failed(error),
        })
}

/// `ticks` of a time base in nanoseconds, rounded to the nearest.
fn nanoseconds(ticks: i64, time_base: Rational) -> i64 {
    let (numerator, denominator) = (time_base.numerator(), time_base.denominator().max(1));
    let scaled = i128::from(ticks) * i128::from(numerator) * 1_000_000_000;
    let denominator = i128::from(denominator);
    let rounded = (scaled + denominator / 2).div_euclid(denominator);
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

/// How the container asks to turn the picture (phones record lying and note the angle).
fn turn(stream: &Stream) -> Option<RotateFlags> {
    let mut side_data = stream.side_data();
    let matrix = side_data.find(|data| data.kind() == packet::side_data::Type::DisplayMatrix);
    match matrix.and_then(|matrix| clockwise_degrees(matrix.data()))? {
        0 => None,
        90 => Some(RotateFlags::ROTATE_90_CLOCKWISE),
        180 => Some(RotateFlags::ROTATE_180),
        270 => Some(RotateFlags::ROTATE_90_COUNTERCLOCKWISE),
        degrees => {
            tracing::warn!(
                degrees,
                "the video asks to be turned by an odd angle and stays as it is"
            );
            None
        }
    }
}

/// The frame, turned.
fn turned(frame: &Frame, turn: RotateFlags, pool: &FramePool) -> opencv::Result<Frame> {
    let (mut width, mut height) = (frame.width(), frame.height());
    if turn != RotateFlags::ROTATE_180 {
        (width, height) = (height, width);
    }
    let mut turned = pool.take(width, height);
    opencv::core::rotate(&frame.mat()?, &mut turned.mat_mut()?, turn as i32)?;
    Ok(turned.freeze())
}

/// The angle of a display matrix: nine 32-bit integers, of which the first, second, fourth and fifth hold the rotation
/// in 16.16 fixed point (libavutil/display.h).
fn clockwise_degrees(matrix: &[u8]) -> Option<i32> {
    let entry = |index: usize| {
        let bytes = matrix.get(index * 4..index * 4 + 4)?;
        Some(f64::from(i32::from_ne_bytes(bytes.try_into().ok()?)))
    };
    let (a, b, c, d) = (entry(0)?, entry(1)?, entry(3)?, entry(4)?);
    let (first, second) = (a.hypot(c), b.hypot(d));
    if first == 0.0 || second == 0.0 {
        return None;
    }
    let degrees = (b / second).atan2(a / first).to_degrees();
    Some((degrees.round() as i32).rem_euclid(360))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds_without_drift() {
        assert_eq!(nanoseconds(1, Rational(1, 3)), 333_333_333);
        assert_eq!(nanoseconds(2, Rational(1, 3)), 666_666_667);
        assert_eq!(nanoseconds(-2, Rational(1, 3)), -666_666_667);
        let day_at_90khz = 24 * 3600 * 90_000;
        assert_eq!(
            nanoseconds(day_at_90khz, Rational(1, 90_000)),
            86_400_000_000_000
        );
    }

    #[test]
    fn a_display_matrix_says_the_angle() {
        let matrix = |a: i32, b: i32, c: i32, d: i32| {
            let entries = [a, b, 0, c, d, 0, 0, 0, 1 << 30];
            entries.map(i32::to_ne_bytes).concat()
        };
        let one = 1 << 16;
        assert_eq!(clockwise_degrees(&matrix(one, 0, 0, one)), Some(0));
        assert_eq!(clockwise_degrees(&matrix(0, one, -one, 0)), Some(90));
        assert_eq!(clockwise_degrees(&matrix(-one, 0, 0, -one)), Some(180));
        assert_eq!(clockwise_degrees(&matrix(0, -one, one, 0)), Some(270));
        assert_eq!(clockwise_degrees(&[0; 36]), None);
        assert_eq!(clockwise_degrees(&[]), None);
    }
}
