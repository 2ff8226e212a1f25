//! Video files, V4L2 cameras and network streams as one source. Decoding is `video_reader`'s, the decisions of
//! a reconnect are `reconnect`'s.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fermata_engine::graph::redact;
use fermata_engine::units::HumanDuration;
use fermata_engine::{ActorError, Captured, Next, Pacing, Ports, Setup, Source};
use fermata_vision::{Frame, FramePool};
use ffmpeg_next::{Dictionary, Error};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::libav;
use crate::payload::VideoFrame;
use crate::sources::reconnect::{Command, Event, Reconnect};
use crate::sources::recorder::path_of;
use crate::sources::uri::Origin;
use crate::sources::video_reader::{
    Decoding, VideoError, VideoReader, Watch, open_device, open_url,
};

/// Longest wait after which a source that waits for its next attempt looks whether it was cancelled.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Reads a video file, a camera or a network stream, and decodes it to frames with the time stamps of their container.
///
/// A file that is damaged or ends too early delivers what can be decoded and then fails its stream; a single packet that
/// cannot be decoded counts as `missed`. Cameras and network streams are live: when they break they are opened again,
/// the first frame afterwards begins a new segment, and time stamps go on as the new connection gives them, which for
/// RTSP means that they start over.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoSourceSettings {
    /// A file, a camera (`/dev/video0`), or an `rtsp://`, `rtsps://`, `http://` or `https://` address. A network stream
    /// whose container states a duration is a recording: it ends at its end, and fails when it breaks before.
    pub uri: String,
    /// Camera only: V4L2 pixel or codec format, such as `mjpeg` or `yuyv422`. Default: the driver's choice.
    #[serde(default)]
    pub format: Option<String>,
    /// Camera only: picture size, such as `640x480`. Default: the driver's choice.
    #[serde(default)]
    pub size: Option<String>,
    /// Camera only: frames per second. Default: the driver's choice.
    #[serde(default)]
    pub fps: Option<f64>,
    /// RTSP only: how the pictures travel. Default: tcp.
    #[serde(default)]
    pub transport: Transport,
    /// Live streams only: how long to wait before they are opened again.
    #[serde(default)]
    pub reconnect: ReconnectSpec,
    /// Network streams only: how long opening may take and how long no picture may come before the stream counts as
    /// lost. Default: 5s.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// Live streams only: a Matroska file (`.mkv`) that keeps what is received unchanged, for a later replay; times are those received, to the
    /// millisecond. It is `PATH.part` until the connection is over; what comes after a reconnect goes to `NAME-2.mkv`, `NAME-3.mkv`
    /// beside it. When it cannot be written, the stream fails. Default: none.
    #[serde(default)]
    pub record: Option<PathBuf>,
    /// Threads of the decoder. More than one delays files by as many frames. Default: 1.
    #[serde(default = "default_threads")]
    pub threads: usize,
}

/// How RTSP carries pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Inside the RTSP connection: nothing is lost.
    #[default]
    Tcp,
    /// As datagrams: less delay, and losses on a bad network.
    Udp,
}

/// Delays before a lost stream is opened again.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReconnectSpec {
    /// Before the first attempt; doubles with every attempt that fails. Default: 1s.
    pub first: HumanDuration,
    /// The delay grows no longer than this. Default: 30s.
    pub most: HumanDuration,
}

impl Default for ReconnectSpec {
    fn default() -> Self {
        Self {
            first: HumanDuration(Duration::from_secs(1)),
            most: HumanDuration(Duration::from_secs(30)),
        }
    }
}

fn default_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(5))
}

fn default_threads() -> usize {
    1
}

/// See [`VideoSourceSettings`].
pub struct VideoSource {
    settings: VideoSourceSettings,
    origin: Origin,
    setup: Setup,
    pool: FramePool,
    reader: Option<VideoReader>,
    reconnect: Reconnect,
    started: Instant,
}

impl Source for VideoSource {
    const NAME: &'static str = "video_source";
    type Settings = VideoSourceSettings;

    fn ports(settings: &VideoSourceSettings) -> Ports {
        let ports = Ports::new().output::<VideoFrame>("out");
        match &settings.record {
            Some(path) => ports.writes(path),
            None => ports,
        }
    }

    fn check(settings: &VideoSourceSettings) -> Result<(), ActorError> {
        check_numbers(settings)?;
        let origin = Origin::parse(&settings.uri)?;
        if let Some(path) = &settings.record {
            check_record(path, &origin)?;
        }
        match origin {
            Origin::File(path) => check_file(&path),
            Origin::Device(path) => check_device(&path),
            Origin::Network { .. } => Ok(()),
        }
    }

    fn create(settings: VideoSourceSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        libav::start();
        // It turns the frames of videos that were recorded lying.
        fermata_vision::opencv_threads::use_one_thread()?;
        let delays = settings.reconnect;
        let mut source = Self {
            origin: Origin::parse(&settings.uri)?,
            reconnect: Reconnect::new(delays.first.0, delays.most.0),
            settings,
            setup: setup.clone(),
            pool: FramePool::new(),
            reader: None,
            started: Instant::now(),
        };
        // A network camera may be absent for now; a file or a local camera is there or the graph is wrong.
        if !matches!(source.origin, Origin::Network { .. }) {
            let opened = source.open();
            let reader = opened.map_err(|error| source.failure("cannot open", &error))?;
            source.connected(reader);
        }
        Ok(source)
    }

    fn pacing(&self) -> Pacing {
        match self.origin.is_live() {
            true => Pacing::Live,
            false => Pacing::ByPts,
        }
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        loop {
            if self.setup.cancelled() {
                return Ok(Next::End);
            }
            match self.reconnect.on(Event::Asked, self.now_ns()) {
                Command::Connect => match self.open() {
                    Ok(reader) => self.connected(reader),
                    Err(error) if self.is_hopeless(&error) => {
                        return Err(self.failure("cannot open", &error));
                    }
                    Err(error) => self.lost(&error),
                },
                Command::Wait(delay) => return Ok(Next::Wait(delay.min(LONGEST_WAIT))),
                Command::Read | Command::Publish { .. } => {
                    if let Some(next) = self.read()? {
                        return Ok(next);
                    }
                }
            }
        }
    }
}

impl VideoSource {
    /// Reads one frame; `None` if the stream was lost instead.
    fn read(&mut self) -> Result<Option<Next>, ActorError> {
        let Some(reader) = &mut self.reader else {
            return Ok(Some(Next::End));
        };
        let read = reader.next();
        // A recording would start over when it is opened again.
        let opens_again = self.origin.is_live() && !reader.has_duration();
        match read {
            Ok(Some((frame, pts_ns))) => Ok(Some(self.delivered(frame, pts_ns))),
            Ok(None) if opens_again => {
                self.lost(&"the other side ended the stream");
                Ok(None)
            }
            Ok(None) | Err(VideoError::Cancelled) => Ok(Some(Next::End)),
            Err(error) if opens_again && !matches!(error, VideoError::Recording(_)) => {
                self.lost(&error);
                Ok(None)
            }
            Err(error) => Err(self.failure("cannot read on in", &error)),
        }
    }

    fn delivered(&mut self, frame: Frame, pts_ns: i64) -> Next {
        self.setup.connection().restore();
        let command = self.reconnect.on(Event::Delivered, self.now_ns());
        let video = VideoFrame::of(frame);
        let captured = Captured::new(Arc::new(video), pts_ns);
        Next::Packet(match command == (Command::Publish { new_segment: true }) {
            true => captured.in_new_segment(),
            false => captured,
        })
    }

    fn connected(&mut self, reader: VideoReader) {
        self.reader = Some(reader);
        self.reconnect.on(Event::Connected, self.now_ns());
        if self.origin.is_live() {
            let (node, uri) = (&self.setup.node, redact(&self.settings.uri));
            tracing::info!(%node, %uri, "connected");
        }
    }

    fn lost(&mut self, error: &dyn std::fmt::Display) {
        self.reader = None;
        let command = self.reconnect.on(Event::Lost, self.now_ns());
        if let Command::Wait(delay) = command
            && !self.setup.cancelled()
        {
            self.setup.connection().lose(&redact(&error.to_string()));
            let (node, uri) = (&self.setup.node, redact(&self.settings.uri));
            tracing::warn!(%node, %uri, %error, ?delay, "the stream is not there; it will be opened again");
        }
    }

    fn open(&self) -> Result<VideoReader, VideoError> {
        let timeout = match self.origin {
            Origin::Network { .. } => Some(self.settings.timeout.0),
            Origin::File(_) | Origin::Device(_) => None,
        };
        let watch = Watch::new(&self.setup, timeout);
        let input = match &self.origin {
            // Without the scheme a name such as `a:b.mp4` would be taken for a protocol.
            Origin::File(path) => open_url(
                &format!("file:{}", path.display()),
                Dictionary::new(),
                &watch,
            )?,
            Origin::Device(path) => open_device(&path.to_string_lossy(), self.camera_options())?,
            Origin::Network { uri, rtsp } => open_url(uri, self.network_options(*rtsp), &watch)?,
        };
        let decoding = Decoding {
            threads: self.settings.threads,
            recording: match &self.origin {
                Origin::File(path) => Some(path.clone()),
                Origin::Device(_) | Origin::Network { .. } => None,
            },
            record: self.settings.record.as_ref().map(|path| {
                // Outlives this source: one that is built anew must not write over what the last one recorded.
                let connections = self.setup.lasting_number();
                let connection = connections.fetch_add(1, Ordering::Relaxed) + 1;
                path_of(path, connection)
            }),
            pool: self.pool.clone(),
        };
        VideoReader::new(input, decoding, watch, &self.setup)
    }

    fn camera_options(&self) -> Dictionary<'static> {
        let mut options = Dictionary::new();
        if let Some(format) = &self.settings.format {
            options.set("input_format", format);
        }
        if let Some(size) = &self.settings.size {
            options.set("video_size", size);
        }
        if let Some(fps) = self.settings.fps {
            options.set("framerate", &fps.to_string());
        }
        options
    }

    fn network_options(&self, rtsp: bool) -> Dictionary<'static> {
        let mut options = Dictionary::new();
        if rtsp {
            let transport = match self.settings.transport {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
            };
            options.set("rtsp_transport", transport);
        }
        options
    }

    /// True for what no later attempt can mend: the address holds something else than a video, this libav cannot
    /// open such addresses, or what comes cannot be recorded. A camera that has worked before is always tried again.
    fn is_hopeless(&self, error: &VideoError) -> bool {
        let libav_cannot = matches!(
            error,
            VideoError::NoVideo
                | VideoError::Missing(_)
                | VideoError::Libav {
                    error: Error::ProtocolNotFound,
                    ..
                }
        );
        let cannot_record = matches!(error, VideoError::Recording(_));
        cannot_record || (libav_cannot && !self.reconnect.has_delivered())
    }

    fn failure(&self, what: &str, error: &VideoError) -> ActorError {
        format!("{what} {}: {error}", redact(&self.settings.uri)).into()
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn check_numbers(settings: &VideoSourceSettings) -> Result<(), ActorError> {
    let is_size = |size: &String| {
        let sides = size
            .split_once('x')
            .map(|(width, height)| (width.parse(), height.parse()));
        matches!(sides, Some((Ok(1..=16384_u32), Ok(1..=16384_u32))))
    };
    let ReconnectSpec { first, most } = settings.reconnect;
    if let Some(size) = settings.size.as_ref().filter(|size| !is_size(size)) {
        return Err(format!("size is `{size}`, but must be WIDTHxHEIGHT, such as 640x480").into());
    }
    if let Some(fps) = settings.fps.filter(|fps| !(fps.is_finite() && *fps > 0.0)) {
        return Err(format!("fps is {fps}, but must be a positive number").into());
    }
    if !(1..=64).contains(&settings.threads) {
        return Err(format!("threads is {}, but must be from 1 to 64", settings.threads).into());
    }
    if settings.timeout.0.is_zero() {
        return Err("timeout is 0, but must be longer".into());
    }
    if first.0.is_zero() || most < first {
        return Err(format!("reconnect waits {first} at first and {most} at most, but must start above 0 and not shrink").into());
    }
    Ok(())
}

fn check_record(path: &Path, origin: &Origin) -> Result<(), ActorError> {
    let shown = path.display();
    if !origin.is_live() {
        return Err("record is for live streams: a file is a recording already".into());
    }
    if path.is_dir() || path.extension().is_none_or(|extension| extension != "mkv") {
        return Err(format!("record is `{shown}`, but must be a file that ends in .mkv").into());
    }
    Ok(())
}

fn check_file(path: &Path) -> Result<(), ActorError> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("cannot open {shown}: {error}");
    let metadata = path.metadata().map_err(cannot)?;
    if metadata.is_dir() {
        return Err(format!(
            "cannot open {shown}: it is a folder; image_source reads folders of images"
        )
        .into());
    }
    // Opening a pipe would wait for its writer.
    if metadata.is_file() {
        std::fs::File::open(path).map_err(cannot)?;
    }
    Ok(())
}

fn check_device(path: &Path) -> Result<(), ActorError> {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            Err(format!("{} is a folder, not a camera", path.display()).into())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(format!("no camera at {}: {error}", path.display()).into()),
    }
}
