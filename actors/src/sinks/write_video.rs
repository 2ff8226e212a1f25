//! Writes a stream's frames to a video file, or to a sequence of segments, each renamed to its final name only once it
//! is complete. `mp4_encoder` encodes, `timeline` computes times, `segments` names the segments.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fermata_engine::report::FileSegmentReport;
use fermata_engine::{
    Actor, ActorError, End, Envelope, FileBook, How, Input, Outputs, Ports, Setup, Stream,
};
use fermata_files::{PartFile, SyncGroup, Synced, Unfinished};
use ffmpeg_next::encoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finished::note_finished;
use crate::libav;
use crate::payload::VideoFrame;
use crate::sinks::h264::{H264_ENCODER, Quality};
use crate::sinks::mp4_encoder::{EncodeError, Mp4Encoder};
use crate::sinks::segments::{self, SegmentLimit, Segments};
use crate::sinks::timeline::Timeline;
pub use crate::sinks::video_codec::{Preset, VideoCodec};

/// Stream time after a failed write before the next file is tried.
const TRY_AGAIN_US: i64 = 10_000_000;
/// Longest side that libx264 accepts; it rejects longer ones without a reason.
const MOST_SIDE: usize = 16_384;

/// Writes the frames of one stream to an MP4 file with the intervals of their own time stamps; a variable frame rate
/// stays variable.
///
/// A video begins at zero. Intervals are exact to 1/90000 s, up to six hours: longer gaps are shortened to that, with a
/// warning and a note in the report. If time stamps start over after a reconnect, the new segment continues after the
/// last frame. An odd last column or row is cut off, since H.264 does not support it (a single one is duplicated);
/// frames of a different size are scaled to that of the first; one with a side above 16,384 pixels fails. Colours are
/// BT.709 of limited range, and tagged as such.
///
/// The file is written as `PATH.part` and renamed when the stream has ended, replacing any file of that name. It is a
/// fragmented MP4 and can be played while it is being written: a run that is stopped, killed or out of disk space
/// leaves `PATH.part` with all but the last second (or the last two frames, if they arrive more slowly). After a failed
/// write (a full disk) the video ends there; frames that arrive more than ten seconds of stream time later go to a
/// separate file, `NAME.0002.mp4` and so on, the frames in between fail, and the node fails at its end. A stream
/// without frames leaves no file, and a warning in the log.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteVideoSettings {
    /// The file, ending in `.mp4`, in an existing folder.
    pub path: PathBuf,
    /// How frames are encoded. Default: h264.
    #[serde(default)]
    pub codec: VideoCodec,
    /// Quality from 0 (lossless) to 51 (worst); adding 6 halves the size. Default: 23.
    #[serde(default = "default_crf")]
    pub crf: u8,
    /// Trade-off between encoding time and file size. Default: veryfast.
    #[serde(default)]
    pub preset: Preset,
    /// Threads of the encoder. Default: 1.
    #[serde(default = "default_threads")]
    pub threads: usize,
    /// Begin a new file after this time (`10m`) or at this size (`500MiB`): `NAME.0001.mp4`, `NAME.0002.mp4` and so on,
    /// each playable by itself; existing files are not replaced. Default: one file.
    #[serde(default)]
    pub segment: Option<SegmentLimit>,
    /// Number of complete segments to keep; the oldest beyond it are removed. Default: all are kept.
    #[serde(default)]
    pub keep: Option<u32>,
}

fn default_crf() -> u8 {
    23
}

fn default_threads() -> usize {
    1
}

/// See `WriteVideoSettings`.
pub struct WriteVideo {
    settings: WriteVideoSettings,
    setup: Setup,
    /// `None` once everything is finished, or if a segment could not be begun.
    file: Option<Video>,
    segments: Segments,
    /// Why an earlier file is incomplete.
    failed: Option<String>,
    timeline: Timeline,
    /// The newest frame; its duration is known when the next one arrives.
    newest: Option<Newest>,
}

struct Newest {
    video: Arc<VideoFrame>,
    pts_us: i64,
    envelope: Envelope,
}

/// A file being written.
struct Video {
    /// The file on disk.
    part: PartFile,
    path: PathBuf,
    book: FileBook,
    _synced: Option<Synced>,
    /// `None` before the first frame, and after a failed write.
    encoder: Option<Mp4Encoder>,
    /// Time of its first frame.
    began_us: Option<i64>,
    /// Segment of the stream that the newest frame in it belongs to.
    segment: Option<u32>,
    written: u64,
    /// Number of frames that are on disk.
    held: u64,
    /// Sequence numbers of the frames that are not on disk yet.
    unflushed: VecDeque<u64>,
    /// Length of the complete fragments, in bytes.
    length: u64,
    /// Why writing stopped, and since when.
    broken: Option<(String, i64)>,
}

impl Actor for WriteVideo {
    const NAME: &'static str = "write_video";
    type Settings = WriteVideoSettings;

    fn ports(settings: &WriteVideoSettings) -> Ports {
        let ports = Ports::new().input::<VideoFrame>("in");
        let ports = ports.writes(&settings.path).irreplaceable();
        ports.per_stream().confirms_flushes()
    }

    fn check(settings: &WriteVideoSettings) -> Result<(), ActorError> {
        let path = settings.path.display();
        if settings
            .path
            .extension()
            .is_none_or(|extension| extension != "mp4")
        {
            return Err(format!("path is `{path}`, but must end in .mp4").into());
        }
        if settings.crf > 51 {
            return Err(format!("crf is {}, but must be from 0 to 51", settings.crf).into());
        }
        if !(1..=64).contains(&settings.threads) {
            return Err(
                format!("threads is {}, but must be from 1 to 64", settings.threads).into(),
            );
        }
        libav::start();
        if encoder::find_by_name(H264_ENCODER).is_none() {
            return Err("this build of libav has no libx264: install Debian's libavcodec".into());
        }
        segments::check(settings.segment, settings.keep)
    }

    fn create(settings: WriteVideoSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        let mut actor = Self {
            segments: Segments::new(&settings.path, settings.segment, settings.keep)
                .going_on(setup)?,
            settings,
            setup: setup.clone(),
            file: None,
            failed: None,
            timeline: Timeline::new(),
            newest: None,
        };
        actor.file = Some(actor.begin()?);
        Ok(actor)
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let video = input.take::<VideoFrame>();
        let (width, height) = (video.frame.width(), video.frame.height());
        if width.max(height) > MOST_SIDE {
            return Err(format!(
                "the frame has {width} x {height} pixels, but libx264 supports at most {MOST_SIDE} on a side"
            )
            .into());
        }
        let envelope = &input.envelope;
        let newest = Newest {
            video,
            pts_us: self.timeline.place(envelope.segment, envelope.pts_ns),
            envelope: envelope.clone(),
        };
        let next_us = newest.pts_us;
        let Some(before) = self.newest.replace(newest) else {
            return Ok(());
        };
        let duration_us = next_us.saturating_sub(before.pts_us);
        if let Some(below) = self.write(before, duration_us)? {
            out.confirm_flushed(&envelope.stream, below);
        }
        Ok(())
    }

    fn stream_ended(&mut self, _: &Arc<Stream>, _: End) -> Result<(), ActorError> {
        self.flush()
    }

    fn finish(&mut self, end: End) -> Result<(), ActorError> {
        let flushed = self.flush();
        if self.timeline.moved() > 0 {
            let (node, path) = (&self.setup.node, self.settings.path.display());
            let moved = self.timeline.moved();
            tracing::warn!(%node, %path, moved, "time stamps of the source did not increase and were shifted");
        }
        match self.file.take() {
            Some(file) => self.complete(file, end.how != How::Stopped)?,
            None => flushed?,
        }
        match self.failed.take() {
            Some(reason) => Err(reason.into()),
            None => Ok(()),
        }
    }
}

impl WriteVideo {
    /// Begins the next file.
    fn begin(&mut self) -> Result<Video, ActorError> {
        let path = self.segments.next();
        let part = PartFile::create(&path, Unfinished::Kept)?;
        let group = self.setup.service::<SyncGroup>();
        let synced = group.map(|group| group.add(part.part())).transpose()?;
        Ok(Video {
            _synced: synced,
            book: self.setup.file(part.part(), "frames"),
            part,
            path,
            encoder: None,
            began_us: None,
            segment: None,
            written: 0,
            held: 0,
            unflushed: VecDeque::new(),
            length: 0,
            broken: None,
        })
    }

    /// Writes a frame. Returns the sequence number below which all frames are on disk, if that has changed.
    fn write(&mut self, frame: Newest, duration_us: i64) -> Result<Option<u64>, ActorError> {
        let segments = &self.segments;
        let full = self
            .file
            .take_if(|file| file.is_over(frame.pts_us, segments));
        if let Some(Err(error)) = full.map(|file| self.complete(file, true)) {
            let (node, next) = (&self.setup.node, self.segments.next());
            tracing::error!(%node, "{error}; the video continues in `{}`", next.display());
            self.failed.get_or_insert_with(|| error.to_string());
        }
        if self.file.is_none() {
            self.file = Some(self.begin()?);
        }
        let quality = Quality {
            crf: self.settings.crf,
            preset: self.settings.preset.name(),
            lookahead: self.settings.preset.lookahead(),
            threads: self.settings.threads,
        };
        match &mut self.file {
            Some(file) => {
                let shortened_us = file.shortened_us();
                let flushed = file.write(&frame, duration_us, quality)?;
                let by_us = file.shortened_us() - shortened_us;
                file.note_segment(&frame, by_us > 0, &self.setup);
                if by_us > 0 {
                    self.note_shortened(by_us);
                }
                Ok(flushed)
            }
            None => Ok(None),
        }
    }

    /// Reports a gap that the file cannot hold: the first with a warning, all in the report.
    fn note_shortened(&self, by_us: i64) {
        let shortened = self.setup.tally("gaps that were shortened");
        if shortened.fetch_add(1, Ordering::Relaxed) == 0 {
            let (node, by_s) = (&self.setup.node, by_us as f64 / 1e6);
            let path = self.settings.path.display();
            tracing::warn!(%node, %path, by_s, "a gap is longer than the six hours that an MP4 can hold between two frames and was shortened; the report shows where frames are in the video");
        }
    }

    /// Writes the last frame, and hands the whole file to the operating system.
    fn flush(&mut self) -> Result<(), ActorError> {
        if let Some(last) = self.newest.take() {
            let duration_us = i64::try_from(self.timeline.distance().as_micros())?;
            self.write(last, duration_us)?;
        }
        match &mut self.file {
            Some(file) => file.end(),
            None => Ok(()),
        }
    }

    /// Writes a file's index and renames it to its final name if it contains everything that was given to it.
    fn complete(&mut self, mut file: Video, is_all: bool) -> Result<(), ActorError> {
        let (node, written) = (&self.setup.node, file.written);
        if written == 0 && file.broken.is_none() {
            let path = file.path.display();
            // If the run was stopped before the stream began, something else is wrong.
            if is_all {
                tracing::warn!(%node, %path, "the stream had no frames: no video was written");
            }
            file.part.remove()?;
            file.book.removed();
            return Ok(());
        }
        if let Err(error) = file.seal() {
            match file.length {
                0 => {
                    file.part.remove()?;
                    file.book.removed();
                }
                _ => self.segments.taken(),
            }
            return Err(error);
        }
        self.segments.taken();
        if is_all {
            let Video {
                part, path, book, ..
            } = file;
            note_finished(part.finish(), &book, &path)?;
            tracing::info!(%node, path = %path.display(), written, "video written");
            self.segments.completed(path, book);
        }
        Ok(())
    }
}

impl Video {
    /// Returns whether a frame at this time belongs to the next file.
    fn is_over(&self, pts_us: i64, segments: &Segments) -> bool {
        if let Some((_, since_us)) = &self.broken {
            return pts_us.saturating_sub(*since_us) >= TRY_AGAIN_US;
        }
        let began_us = self.began_us.unwrap_or(pts_us);
        let time = Duration::from_micros(pts_us.saturating_sub(began_us).unsigned_abs());
        let bytes = self.encoder.as_ref().map_or(0, Mp4Encoder::bytes);
        segments.is_full(time, bytes)
    }

    fn write(
        &mut self,
        frame: &Newest,
        duration_us: i64,
        quality: Quality,
    ) -> Result<Option<u64>, ActorError> {
        self.book.give(1);
        if let Some((reason, _)) = &self.broken {
            return Err(self.failure(reason));
        }
        self.began_us.get_or_insert(frame.pts_us);
        self.unflushed.push_back(frame.envelope.sequence);
        if let Err(error) = self.encode(frame, duration_us, quality) {
            return Err(self.give_up(&error, frame.pts_us));
        }
        self.written += 1;
        Ok(self.note_flushed())
    }

    /// See [`Mp4Encoder::shortened_us`].
    fn shortened_us(&self) -> i64 {
        let encoder = self.encoder.as_ref();
        encoder.map_or(0, Mp4Encoder::shortened_us)
    }

    /// Records in the report where a segment of the stream begins in this file, or continues after a shortened gap.
    fn note_segment(&mut self, frame: &Newest, is_behind_gap: bool, setup: &Setup) {
        let Newest {
            pts_us, envelope, ..
        } = frame;
        if self.segment.replace(envelope.segment) == Some(envelope.segment) && !is_behind_gap {
            return;
        }
        let began_us = self.began_us.unwrap_or(*pts_us);
        let at_us = pts_us.saturating_sub(began_us) - self.shortened_us();
        self.book.begin_segment(FileSegmentReport {
            segment: envelope.segment,
            pts_ms: envelope.pts_ns as f64 / 1e6,
            at_ms: at_us as f64 / 1e3,
            captured: setup.utc(envelope.captured_ns),
        });
    }

    fn encode(
        &mut self,
        frame: &Newest,
        duration_us: i64,
        quality: Quality,
    ) -> Result<(), EncodeError> {
        let picture = &frame.video.frame;
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(Mp4Encoder::open(
                self.part.part(),
                picture,
                duration_us,
                quality,
            )?),
        };
        encoder.write(picture, frame.pts_us, duration_us)
    }

    /// Hands all frames to the operating system.
    fn end(&mut self) -> Result<(), ActorError> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(());
        };
        if let Err(error) = encoder.end() {
            return Err(self.give_up(&error, i64::MAX));
        }
        self.note_flushed();
        Ok(())
    }

    /// Writes everything that is missing from the file, and the index.
    fn seal(&mut self) -> Result<(), ActorError> {
        self.end()?;
        if let Some(mut encoder) = self.encoder.take() {
            let finished = encoder.finish();
            // Closes the file.
            drop(encoder);
            finished.map_err(|error| self.failure(&error.to_string()))?;
        }
        match &self.broken {
            Some((reason, _)) => Err(self.failure(reason)),
            None => Ok(()),
        }
    }

    /// Counts the frames that have reached the disk. Returns the sequence number below which all have.
    fn note_flushed(&mut self) -> Option<u64> {
        let flushed = self.encoder.as_ref()?.flushed();
        let waiting = self.written.saturating_sub(flushed) as usize;
        let count = self.unflushed.len().saturating_sub(waiting);
        let last = self.unflushed.drain(..count).next_back()?;
        self.held += count as u64;
        self.book.hold(count as u64);
        self.length = self.part.length().unwrap_or(self.length);
        Some(last.saturating_add(1))
    }

    /// Stops writing: later frames are not in this file. An incomplete fragment is cut off.
    fn give_up(&mut self, error: &EncodeError, at_us: i64) -> ActorError {
        self.broken = Some((error.to_string(), at_us));
        self.encoder = None;
        if let Err(error) = self.part.cut(self.length) {
            let part = self.part.part().display();
            tracing::debug!("cannot cut the end of `{part}`: {error}");
        }
        self.failure(&error.to_string())
    }

    fn failure(&self, error: &str) -> ActorError {
        let (part, written) = (self.part.part().display(), self.written);
        let kept = match self.held {
            // The file is removed.
            0 => String::new(),
            held => format!("; the first {held} are in it"),
        };
        format!("cannot write {part} after {written} frames: {error}{kept}").into()
    }
}
