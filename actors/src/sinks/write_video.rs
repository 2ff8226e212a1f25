//! Writes a stream's frames to a video file, under its final name only once it is whole. Encoding is
//! `mp4_encoder`'s, times are `timeline`'s.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::{Actor, ActorError, End, How, Input, Outputs, Ports, Setup};
use fermata_files::{PartFile, Unfinished};
use ffmpeg_next::encoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::libav;
use crate::payload::VideoFrame;
use crate::sinks::mp4_encoder::{EncodeError, H264_ENCODER, Mp4Encoder, Quality};
use crate::sinks::timeline::Timeline;

/// Writes the frames of one stream to an MP4 file with their own time stamps; a variable frame rate stays variable.
///
/// Time stamps are kept to the microsecond. After a reconnect that made them start over, the new segment goes on after
/// the last frame; a stream that begins before zero begins at zero. An odd last column or row is cut off, since H.264 has none; frames whose size changes on the
/// way are scaled to that of the first one. Colours are BT.709 of limited range, and say so.
///
/// The file is written as `PATH.part` and renamed when the stream has ended; a run that is killed leaves no file
/// under the final name. A stream without frames leaves no file, and a warning in the log. A file of an earlier run
/// is replaced.
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
}

/// What [`WriteVideoSettings::codec`] may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264, by libx264.
    #[default]
    H264,
}

/// libx264's presets, from fast and large to slow and small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are libx264's own")]
pub enum Preset {
    Ultrafast,
    Superfast,
    #[default]
    Veryfast,
    Faster,
    Fast,
    Medium,
    Slow,
    Slower,
    Veryslow,
}

impl Preset {
    fn name(self) -> &'static str {
        match self {
            Self::Ultrafast => "ultrafast",
            Self::Superfast => "superfast",
            Self::Veryfast => "veryfast",
            Self::Faster => "faster",
            Self::Fast => "fast",
            Self::Medium => "medium",
            Self::Slow => "slow",
            Self::Slower => "slower",
            Self::Veryslow => "veryslow",
        }
    }
}

fn default_crf() -> u8 {
    23
}

fn default_threads() -> usize {
    1
}

/// See [`WriteVideoSettings`].
pub struct WriteVideo {
    settings: WriteVideoSettings,
    node: String,
    /// Gone when the video is finished.
    part: Option<PartFile>,
    encoder: Option<Mp4Encoder>,
    timeline: Timeline,
    /// The newest frame and its time: how long it lasts is known when the next one comes.
    newest: Option<(Arc<VideoFrame>, i64)>,
    written: u64,
    /// Why no more is written: what the file holds since is anybody's guess, so it never gets its name.
    broken: Option<String>,
}

impl Actor for WriteVideo {
    const NAME: &'static str = "write_video";
    type Settings = WriteVideoSettings;

    fn ports(settings: &WriteVideoSettings) -> Ports {
        let ports = Ports::new().input::<VideoFrame>("in");
        ports.writes(&settings.path).irreplaceable().per_stream()
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
        Ok(())
    }

    fn create(settings: WriteVideoSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        Ok(Self {
            part: Some(PartFile::create(&settings.path, Unfinished::Removed)?),
            settings,
            node: setup.node.clone(),
            encoder: None,
            timeline: Timeline::new(),
            newest: None,
            written: 0,
            broken: None,
        })
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        if let Some(reason) = &self.broken {
            return Err(self.failure(reason));
        }
        let video = input.take::<VideoFrame>();
        let envelope = &input.envelope;
        let pts_us = self.timeline.place(envelope.segment, envelope.pts_ns);
        match self.newest.replace((video, pts_us)) {
            Some((before, before_us)) => {
                self.write(&before, before_us, pts_us.saturating_sub(before_us))
            }
            None => Ok(()),
        }
    }

    fn finish(&mut self, end: End) -> Result<(), ActorError> {
        if end.how == How::Stopped {
            return Ok(());
        }
        if let Some(reason) = &self.broken {
            return Err(self.failure(reason));
        }
        if let Some((last, pts_us)) = self.newest.take() {
            let duration_us = i64::try_from(self.timeline.distance().as_micros())?;
            self.write(&last, pts_us, duration_us)?;
        }
        let (node, path) = (&self.node, self.settings.path.display());
        let Some(encoder) = self.encoder.take() else {
            tracing::warn!(%node, %path, "the stream had no frames: no video was written");
            return Ok(());
        };
        if self.timeline.moved() > 0 {
            let moved = self.timeline.moved();
            tracing::warn!(%node, %path, moved, "times of the source did not increase and were moved");
        }
        let finished = encoder.finish().map_err(ActorError::from);
        let kept = finished.and_then(|()| match self.part.take() {
            Some(part) => part.finish().map_err(ActorError::from),
            None => Ok(()),
        });
        kept.map_err(|error| self.failure(&error))?;
        tracing::info!(%node, %path, written = self.written, "video written");
        Ok(())
    }
}

impl WriteVideo {
    fn write(
        &mut self,
        video: &VideoFrame,
        pts_us: i64,
        duration_us: i64,
    ) -> Result<(), ActorError> {
        let written = self.encode(video, pts_us, duration_us);
        written.map_err(|error| {
            self.broken = Some(error.to_string());
            self.encoder = None;
            self.failure(&error)
        })
    }

    fn encode(
        &mut self,
        video: &VideoFrame,
        pts_us: i64,
        duration_us: i64,
    ) -> Result<(), EncodeError> {
        let encoder = match (&mut self.encoder, &self.part) {
            (Some(encoder), _) => encoder,
            // Packets come before the file is finished.
            (None, None) => return Ok(()),
            (none, Some(part)) => {
                let quality = Quality {
                    crf: self.settings.crf,
                    preset: self.settings.preset.name(),
                    threads: self.settings.threads,
                };
                let distance = Duration::from_micros(duration_us.unsigned_abs());
                none.insert(Mp4Encoder::open(
                    part.part(),
                    &video.frame,
                    distance,
                    &quality,
                )?)
            }
        };
        encoder.write(&video.frame, pts_us, duration_us)?;
        self.written += 1;
        Ok(())
    }

    fn failure(&self, error: &dyn std::fmt::Display) -> ActorError {
        let path = self.settings.path.display();
        format!("cannot write {path} after {} frames: {error}", self.written).into()
    }
}
