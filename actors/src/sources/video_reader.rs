//! One open file or connection: finds its video stream, decodes it, and returns BGR frames with the container's time
//! stamps. The source decides when to reopen it and which time a frame gets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fermata_engine::Setup;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Error, Packet, Rational, decoder, frame};

use crate::libav::errors::{INPUT_OUTPUT, NO_MEMORY, NOT_PERMITTED};
use crate::libav::{self, Nature, PictureNumbers};
use crate::sources::beginning::Beginning;
use crate::sources::container::Container;
use crate::sources::damage::Damage;
use crate::sources::decoding::{Decoding, Picture};
use crate::sources::picture_order::PictureOrder;
use crate::sources::recorder::Recorder;
use crate::sources::stamps::Stamps;
use crate::sources::ticks::nanoseconds;
use crate::sources::upright::Upright;
use crate::sources::video_error::VideoError;
use crate::sources::video_input::{admit, open_decoder, video_stream};
use crate::sources::watch::Watch;
use crate::sources::whole_file::{Ending, ending_of};

/// A recording over RTSP may end this much before its stated length.
const SLACK_NS: i64 = 1_000_000_000;

/// Nominal time per step in the picture order of a raw stream, used to look for damage; any value would do.
/// Nanoseconds.
const STEP_NS: i64 = 20_000_000;

/// A reader of one input; see the module docs.
pub(crate) struct VideoReader {
    input: Input,
    nature: Nature,
    stream: usize,
    time_base: Rational,
    stamps: Stamps,
    decoder: decoder::Video,
    upright: Upright,
    decoding: Decoding,
    decoded: frame::Video,
    watch: Arc<Watch>,
    setup: Setup,
    recorder: Option<Recorder>,
    damage: Damage,
    beginning: Beginning,
    container: Container,
    /// Picture order of a raw stream, which has no times: packets carry their position in it through the decoder.
    order: Option<(PictureNumbers, PictureOrder)>,
    waited: Duration,
    /// Set once the decoder has been told that no more packets come; holds the reason if it is not the regular end.
    ending: Option<Option<VideoError>>,
    /// Whether the input ended in the middle of the newest packet.
    last_is_cut: bool,
    first_stamp_ns: Option<i64>,
    last_stamp_ns: Option<i64>,
    frames: u64,
    /// Lost frames: all of them, those that the decoder patched, and those inferred from gaps.
    missed: u64,
    damaged: u64,
    missing: u64,
}

impl VideoReader {
    /// Prepares to decode the best video stream of `input`.
    pub(crate) fn new(
        (input, nature): (Input, Nature),
        decoding: Decoding,
        watch: Arc<Watch>,
        setup: &Setup,
    ) -> Result<Self, VideoError> {
        let stream = video_stream(&input)?;
        let (index, time_base) = (stream.index(), stream.time_base());
        let stamps = Stamps::new(stream.avg_frame_rate());
        let (pool, notices) = (decoding.pool.clone(), Arc::clone(&decoding.notices));
        let upright = Upright::of(&stream, pool, notices, &setup.node);
        let (width, height) = libav::stated_size(&stream);
        admit(decoding.limits, width, height)?;
        let decoder = open_decoder(&stream, nature, decoding.threads, decoding.limits)?;
        let record = decoding.record.as_ref();
        let recorder = record.map(|recordings| Recorder::begin(recordings, &stream, setup));
        let recorder = recorder.transpose()?;
        let container = Container::of(&input, &stream);
        let is_raw = nature == Nature::Recording && !libav::has_time_stamps(&input);
        let numbers = is_raw.then(|| PictureNumbers::of(&stream)).flatten();
        Ok(Self {
            order: numbers.map(|numbers| (numbers, PictureOrder::default())),
            stream: index,
            nature,
            time_base,
            stamps,
            decoder,
            upright,
            decoding,
            decoded: frame::Video::empty(),
            input,
            watch,
            setup: setup.clone(),
            recorder,
            damage: Damage::default(),
            beginning: Beginning::default(),
            container,
            waited: Duration::ZERO,
            ending: None,
            last_is_cut: false,
            first_stamp_ns: None,
            last_stamp_ns: None,
            frames: 0,
            missed: 0,
            damaged: 0,
            missing: 0,
        })
    }

    /// Sets how long the reader may wait for a picture from now on.
    pub(crate) fn be_patient_for(&self, limit: Option<Duration>) {
        self.watch.be_patient_for(limit);
    }

    /// Returns the nature of the input.
    pub(crate) fn nature(&self) -> Nature {
        self.nature
    }

    /// Returns the time after which the container's time stamps wrap around, if they do.
    pub(crate) fn period_ns(&self) -> Option<i64> {
        let stream = self.input.stream(self.stream)?;
        let bits = libav::time_stamp_bits(&self.input, &stream);
        (bits < 63).then(|| nanoseconds(1 << bits, self.time_base))
    }

    /// Decodes the next frame; returns `None` at the end. Frames that the decoder holds back come before an error that
    /// ended the input.
    pub(crate) fn next(&mut self) -> Result<Option<Picture>, VideoError> {
        self.watch.rearm();
        self.waited = Duration::ZERO;
        let complaints = libav::complaints();
        loop {
            let received = self.decoder.receive_frame(&mut self.decoded);
            if libav::complaints() > complaints {
                self.damage.sign();
            }
            match received {
                Ok(()) => {
                    libav::forget_unknown_colours(&mut self.decoded);
                    return self.finished_frame().map(Some);
                }
                Err(Error::Eof) => return self.ended().map(|()| None),
                Err(error) if libav::wants_input(error) => self.feed()?,
                // With several threads, the decoder reports an undecodable packet here.
                Err(error) => self.count_undecodable(error)?,
            }
        }
    }

    /// Sends the decoder one more packet, or the end of the input.
    fn feed(&mut self) -> Result<(), VideoError> {
        let mut packet = Packet::empty();
        let began = Instant::now();
        // Packets of other streams might keep coming forever.
        let read = if self.watch.interrupts() {
            Err(Error::Exit)
        } else {
            packet.read(&mut self.input)
        };
        let waited = began.elapsed();
        self.waited += waited;
        if self.nature != Nature::Recording {
            self.setup.count_waited(waited);
        }
        if read.is_ok()
            && self.nature == Nature::Recording
            && let Some(stream) = self.input.stream(packet.stream())
            && self.container.read(&packet, &stream)
        {
            self.damage.sign();
        }
        match read {
            Ok(()) if packet.stream() == self.stream => {
                self.last_is_cut = packet.is_corrupt() || self.container.is_cut(&packet);
                if self.last_is_cut {
                    self.damage.sign();
                }
                if let Some(recorder) = &mut self.recorder {
                    recorder.write(&packet)?;
                }
                if let Some((numbers, order)) = &mut self.order {
                    let picture = numbers.read(&packet);
                    packet.set_pts(picture.and_then(|picture| order.place(picture)));
                    packet.set_dts(None);
                }
                if self.nature == Nature::Recording && !libav::is_hidden(&packet) {
                    self.beginning.packet(packet.pts());
                }
                self.send(&packet)
            }
            Ok(()) => Ok(()),
            Err(error) => {
                let may_be_cut =
                    self.nature == Nature::Recording && self.container.may_end_anywhere();
                if error == Error::Eof && may_be_cut {
                    self.damage.may_be_cut();
                }
                self.ending = Some(self.reason_to_end(error));
                let sent = self.decoder.send_eof();
                sent.map_err(|error| VideoError::Libav {
                    doing: "decoding",
                    error,
                })
            }
        }
    }

    /// Returns why no more packets come, or `None` for a regular end.
    fn reason_to_end(&self, error: Error) -> Option<VideoError> {
        let file = self.decoding.file.as_ref();
        let is_end = match error {
            // GXF's reader returns this at the end of a file.
            NOT_PERMITTED => libav::is_read_to_its_end(&self.input),
            INPUT_OUTPUT => {
                file.is_none()
                    && self.nature != Nature::Segmented
                    && libav::is_of_unknown_length(&self.input)
            }
            _ => false,
        };
        let error = if is_end { Error::Eof } else { error };
        let Some(path) = file.filter(|_| !self.watch.interrupts()) else {
            return self.reason_of_network(error);
        };
        let reason = match error {
            Error::Eof if self.last_is_cut => "the last packet is incomplete".to_owned(),
            Error::Eof => match ending_of(path) {
                Ok(Ending::Whole) => {
                    let length = path.metadata().map_or(0, |found| found.len());
                    let given_up = self.container.given_up(length)?;
                    format!("its last {given_up} bytes cannot be read")
                }
                Ok(Ending::Cut(missing)) => format!("{missing} bytes are missing"),
                Ok(ending) => {
                    let (node, path) = (&self.setup.node, path.display());
                    tracing::warn!(%node, %path, "{ending}");
                    return None;
                }
                Err(error) => error.to_string(),
            },
            error => error.to_string(),
        };
        Some(VideoError::Broken { frames: 0, reason })
    }

    /// Returns why a network stream ended. Recordings over RTSP do not report their end, or report it where they break.
    fn reason_of_network(&self, error: Error) -> Option<VideoError> {
        let is_eof = error == Error::Eof;
        let reason = (!is_eof).then(|| self.watch.explain("reading", error));
        let Some(lacking) = self.lacking().filter(|_| !self.watch.is_cancelled()) else {
            return reason;
        };
        match (lacking.is_zero(), reason) {
            (true, _) => None,
            (false, None) => Some(VideoError::Broken {
                frames: 0,
                reason: format!("the server ended it {lacking:.1?} before its end"),
            }),
            (false, reason) => reason,
        }
    }

    /// Returns how much a recording over RTSP lacks of its stated length; small differences count as zero, since that
    /// length need not be exact.
    fn lacking(&self) -> Option<Duration> {
        let length_ns = self.input.duration().saturating_mul(1_000);
        if self.nature != Nature::Recording || !self.is_rtsp() || length_ns <= 0 {
            return None;
        }
        let (first_ns, last_ns) = (self.first_stamp_ns?, self.last_stamp_ns?);
        let lacking_ns = length_ns.saturating_sub(last_ns.saturating_sub(first_ns));
        let slack_ns = (length_ns / 10).max(SLACK_NS);
        let is_little = lacking_ns <= slack_ns;
        let lacking_ns = if is_little { 0 } else { lacking_ns };
        Some(Duration::from_nanos(lacking_ns.unsigned_abs()))
    }

    fn is_rtsp(&self) -> bool {
        self.input.format().name() == "rtsp"
    }

    fn send(&mut self, packet: &Packet) -> Result<(), VideoError> {
        if packet.size() == 0 {
            // libav would take an empty packet for the end of the video.
            return self.count_undecodable(Error::InvalidData);
        }
        match self.decoder.send_packet(packet) {
            Ok(()) => Ok(()),
            Err(error) => self.count_undecodable(error),
        }
    }

    /// Counts an undecodable packet as a lost frame. Decoders report bad data with many different errors; only running
    /// out of memory is not the packet's fault.
    fn count_undecodable(&mut self, error: Error) -> Result<(), VideoError> {
        if matches!(error, NO_MEMORY | Error::Exit) {
            return Err(VideoError::Libav {
                doing: "decoding",
                error,
            });
        }
        if self.damage.is_news() {
            self.count_missed(1);
        }
        if let Some(unsaid) = self.decoding.notices.due("undecodable") {
            let (node, frames) = (&self.setup.node, self.frames);
            tracing::warn!(%node, frames, unsaid, "a packet of the video cannot be decoded and counts as missed");
        }
        Ok(())
    }

    fn finished_frame(&mut self) -> Result<Picture, VideoError> {
        // The picture size may grow during a stream.
        let (width, height) = (self.decoded.width(), self.decoded.height());
        admit(self.decoding.limits, width, height)?;
        if self.decoded.is_corrupt() || self.decoded.has_decode_errors() {
            self.damaged += 1;
            self.damage.sign();
        }
        if self.order.is_some()
            && let Some(place) = self.decoded.timestamp()
        {
            let missing = self.damage.numbered_frame(place.saturating_mul(STEP_NS));
            self.stamps.leave_out(missing);
            self.count_missing(missing, "the video is damaged here: its picture numbers have gaps, whose pictures count as missed");
        }
        if self.frames == 0 {
            let before = self.beginning.first_picture(self.decoded.timestamp());
            let before = before.saturating_sub(self.missed);
            self.damage.told(before);
            self.count_missing(before, "the recording begins with frames that refer to missing ones, as cut recordings do; they cannot be decoded and count as missed");
        }
        let stamp_ns = self.stamp_ns()?;
        let has_times = self.nature == Nature::Recording && self.order.is_none();
        if let Some(stamp_ns) = stamp_ns.filter(|_| has_times) {
            let missing = self.damage.frame(stamp_ns);
            self.count_missing(
                missing,
                "the recording is damaged here; its missing frames count as missed",
            );
        }
        let stream = self.input.stream(self.stream);
        let frame = self.upright.frame(&self.decoded, stream.as_ref())?;
        self.first_stamp_ns = self.first_stamp_ns.or(stamp_ns);
        self.last_stamp_ns = stamp_ns.or(self.last_stamp_ns);
        self.frames += 1;
        Ok(Picture {
            frame,
            stamp_ns,
            waited: self.waited,
        })
    }

    fn count_missed(&mut self, frames: u64) {
        self.missed += frames;
        self.setup.count_missed(frames);
    }

    /// Counts frames that are known only by their absence.
    fn count_missing(&mut self, missing: u64, cause: &str) {
        if missing == 0 {
            return;
        }
        self.missing += missing;
        self.count_missed(missing);
        if let Some(unsaid) = self.decoding.notices.due(cause) {
            let (node, frames) = (&self.setup.node, self.frames);
            tracing::warn!(%node, frames, missing, unsaid, "{cause}");
        }
    }

    /// Counts the frames that the container states but that were neither received nor counted as missed so far.
    fn count_what_never_came(&mut self) {
        let known = self.frames + self.missed;
        let stated = self.container.stated_frames(self.damage.has_been_met());
        let by_number = stated.map_or(0, |stated| stated.saturating_sub(known));
        self.count_missing(by_number, "the recording is damaged: it states more frames than were found; the others count as missed");
        let lacking_ns = self.container.lacking_ns().unwrap_or(0);
        let by_length = self.damage.frames_in(lacking_ns);
        self.count_missing(by_length, "the recording is shorter than the length that it states, as damaged or cut ones are; its missing frames count as missed");
    }

    /// Returns the frame's best-effort time stamp. Where a recording has none (raw streams), frames are spaced at its
    /// frame rate.
    fn stamp_ns(&mut self) -> Result<Option<i64>, VideoError> {
        let timestamp = self.decoded.timestamp();
        if let Some(timestamp) = timestamp.filter(|_| self.order.is_none()) {
            let stamp_ns = nanoseconds(timestamp, self.time_base);
            return Ok(Some(self.stamps.stamped(stamp_ns)));
        }
        // libav counts RTP time from the first packet, and leaves the first picture without a time stamp.
        if self.frames == 0 && self.is_rtsp() {
            return Ok(Some(0));
        }
        if !matches!(self.nature, Nature::Recording | Nature::Segmented) {
            return Ok(None);
        }
        let Some(stamp_ns) = self.stamps.unstamped() else {
            return Err(VideoError::NoTime(self.frames));
        };
        if self.frames == 0 {
            let node = &self.setup.node;
            let what = if libav::has_time_stamps(&self.input) {
                "the first frames have no time stamps: those before a recording's beginning have none"
            } else {
                "the video has no time stamps"
            };
            tracing::warn!(%node, "{what}; its frame rate is used instead");
        }
        Ok(Some(stamp_ns))
    }

    /// Counts and reports what is outstanding once no more pictures come.
    fn ended(&mut self) -> Result<(), VideoError> {
        let is_recording = self.nature == Nature::Recording;
        if is_recording && matches!(self.ending, Some(None)) {
            self.count_what_never_came();
        }
        let unseen = self.beginning.without_picture().saturating_sub(self.missed);
        self.count_missed(unseen);
        let (damaged, missing) = (self.damaged, self.missing);
        if damaged > 0 || missing > 0 {
            let node = &self.setup.node;
            tracing::warn!(%node, damaged, missing, "the video is damaged: frames were patched by the decoder, or are missing");
            (self.damaged, self.missing) = (0, 0);
        }
        let tells_little = is_recording && !libav::has_time_stamps(&self.input);
        if tells_little && self.damage.has_been_met() && self.decoding.notices.first("tells little")
        {
            let (node, frames, missed) = (&self.setup.node, self.frames, self.missed);
            tracing::warn!(%node, frames, missed, "the video is damaged and has no time stamps: more frames may be missing than are counted");
        }
        match self.ending.as_mut().and_then(Option::take) {
            Some(VideoError::Broken { reason, .. }) => Err(VideoError::Broken {
                frames: self.frames,
                reason,
            }),
            Some(error) => Err(error),
            None if is_recording && self.frames == 0 && self.missed > 0 => {
                Err(VideoError::NothingDecoded {
                    missed: self.missed,
                })
            }
            None => Ok(()),
        }
    }
}
