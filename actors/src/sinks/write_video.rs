//! Writes a stream's frames to a video file, or to one segment after another, each under its final name only once it is
//! whole. Encoding is `mp4_encoder`'s, times are `timeline`'s, names of segments are `segments`'.

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

/// After a failed write the next file is tried when the stream has gone on for so long.
const TRY_AGAIN_US: i64 = 10_000_000;
/// libx264 refuses longer ones, and says nothing of why.
const MOST_SIDE: usize = 16_384;

/// Writes the frames of one stream to an MP4 file with the distances of their own time stamps; a variable frame rate
/// stays variable.
///
/// A video begins at zero. Distances are kept to 1/90000 s, up to six hours: longer gaps are shortened to that, which a
/// warning and the report say. After a reconnect that made time stamps start over, the new segment goes on after the
/// last frame. An odd last column or row is cut off, since H.264 has none (the only one stands twice); frames whose
/// size changes on the way are scaled to that of the first one; one with a side above 16,384 pixels fails. Colours are
/// BT.709 of limited range, and say so.
///
/// The file is written as `PATH.part` and renamed when the stream has ended, in the place of a file of that name. It is
/// a fragmented MP4 and can be played while it is written: a run that is stopped, killed or out of disk leaves
/// `PATH.part` with all but the last second (but the last two frames, where they come more slowly). After a failed
/// write (a full disk) the video ends there; what comes more than ten seconds of the stream later goes to a file of its
/// own, `NAME.0002.mp4` and so on, frames between the two fail, and the node has failed at its end. A stream without
/// frames leaves no file, and a warning in the log.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteVideoSettings {
    /// The file, ending in `.mp4`. Its folder must exist.
    pub path: PathBuf,
    /// How frames are encoded. Default: h264.
    #[serde(default)]
    pub codec: VideoCodec,
    /// Quality from 0 (lossless) to 51 (worst); 6 more halve the size. Default: 23.
    #[serde(default = "default_crf")]
    pub crf: u8,
    /// How much time the encoder may take to make the file small. Default: veryfast.
    #[serde(default)]
    pub preset: Preset,
    /// Threads of the encoder. Default: 1.
    #[serde(default = "default_threads")]
    pub threads: usize,
    /// Begin a new file after this time (`10m`) or at this size (`500MiB`): `NAME.0001.mp4`, `NAME.0002.mp4` and so on,
    /// each whole by itself; one that is there is not replaced. Default: one file.
    #[serde(default)]
    pub segment: Option<SegmentLimit>,
    /// Remove the oldest complete segments beyond so many. Default: all stay.
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
    /// Gone when all is finished, or where a segment could not be begun.
    file: Option<Video>,
    segments: Segments,
    /// Why an earlier file is not complete.
    failed: Option<String>,
    timeline: Timeline,
    /// How long the newest frame lasts is known when the next one comes.
    newest: Option<Newest>,
}

struct Newest {
    video: Arc<VideoFrame>,
    pts_us: i64,
    envelope: Envelope,
}

/// A file on its way.
struct Video {
    /// Where it goes.
    part: PartFile,
    path: PathBuf,
    book: FileBook,
    _synced: Option<Arc<Synced>>,
    /// None before the first frame, and after a failed write.
    encoder: Option<Mp4Encoder>,
    /// Time of its first frame.
    began_us: Option<i64>,
    /// The stream's segment of the newest frame in it.
    segment: Option<u32>,
    written: u64,
    /// Frames that are on the disk.
    held: u64,
    /// Sequences of the frames that are not on the disk yet.
    unflushed: VecDeque<u64>,
    /// Bytes that are whole fragments.
    length: u64,
    /// Why no more is written, and since when.
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
                .going_on(setup),
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
                "the frame has {width} x {height} pixels, but H.264 by libx264 has {MOST_SIDE} on a side at most"
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
            tracing::warn!(%node, %path, moved, "times of the source did not increase and were moved");
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

    /// Writes a frame. Returns the sequence below which all frames are on the disk, if that has moved.
    fn write(&mut self, frame: Newest, duration_us: i64) -> Result<Option<u64>, ActorError> {
        let segments = &self.segments;
        let full = self
            .file
            .take_if(|file| file.is_over(frame.pts_us, segments));
        if let Some(Err(error)) = full.map(|file| self.complete(file, true)) {
            let (node, next) = (&self.setup.node, self.segments.next());
            tracing::error!(%node, "{error}; the video goes on in `{}`", next.display());
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

    /// Tells of a gap that the file cannot hold: the first by a warning, all by the report.
    fn note_shortened(&self, by_us: i64) {
        let shortened = self.setup.tally("gaps that were shortened");
        if shortened.fetch_add(1, Ordering::Relaxed) == 0 {
            let (node, by_s) = (&self.setup.node, by_us as f64 / 1e6);
            let path = self.settings.path.display();
            tracing::warn!(%node, %path, by_s, "a gap is longer than the six hours that an MP4 can hold between two frames and was shortened; the report says where frames stand in the video");
        }
    }

    /// Writes the last frame, and hands all of the file to the system.
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

    /// Writes a file's index and gives it its name, if it holds all that was given to it.
    fn complete(&mut self, mut file: Video, is_all: bool) -> Result<(), ActorError> {
        let (node, written) = (&self.setup.node, file.written);
        if written == 0 && file.broken.is_none() {
            let path = file.path.display();
            // Where the run was stopped before it began, something else is wrong.
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
    /// Whether a frame at this time belongs into the next file.
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

    /// Tells the report where a segment of the stream begins in this file, or goes on behind a gap that was shortened.
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

    /// Hands all frames to the system.
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

    /// Writes all that is missing of the file, and the index.
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

    /// Counts the frames that have reached the disk. Returns the sequence below which all have.
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

    /// No more is written: what follows is not in the file. A fragment that is there in part is cut off.
    fn give_up(&mut self, error: &EncodeError, at_us: i64) -> ActorError {
        self.broken = Some((error.to_string(), at_us));
        self.encoder = None;
        if let Err(error) = self.part.cut(self.length) {
            let part = self.part.part().display();
            tracing::debug!("the end of `{part}` stays as it is: {error}");
        }
        self.failure(&error.to_string())
    }

    fn failure(&self, error: &str) -> ActorError {
        let (part, written) = (self.part.part().display(), self.written);
        let kept = match self.held {
            // It is removed.
            0 => String::new(),
            held => format!("; the first {held} are in it"),
        };
        format!("cannot write {part} after {written} frames: {error}{kept}").into()
    }
}
