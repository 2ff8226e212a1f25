//! Video files, V4L2 cameras and network streams as one source. `video_reader` decodes, and `reconnect` decides when to
//! reconnect.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fermata_engine::graph::redact;
use fermata_engine::{ActorError, Captured, ClockMode, Next, Pacing, Ports, Setup, Source};
use fermata_vision::FramePool;
use fermata_vision::image_file::ImageLimits;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Dictionary, Error};

pub use super::uri::{is_camera, path_of_file_uri};
pub use super::video_input::look_into;
pub use super::video_settings::{ReconnectSpec, Transport, VideoSourceSettings};
use crate::libav::{self, Nature};
use crate::payload::VideoFrame;
use crate::sources::burst::Burst;
use crate::sources::decoding::{Decoding, Picture};
use crate::sources::notices::Notices;
use crate::sources::pipe::{Pipe, is_pipe};
use crate::sources::playlist;
use crate::sources::reconnect::{Command, Event, Reconnect};
use crate::sources::recorder::Recordings;
use crate::sources::relay::Relay;
use crate::sources::time_line::{Arrived, Finding, Placed, TimeLine, Trust};
use crate::sources::tls::Connector;
use crate::sources::uri::{Encrypted, Origin};
use crate::sources::video_error::VideoError;
use crate::sources::video_input::{open_device, open_url};
use crate::sources::video_reader::VideoReader;
use crate::sources::video_settings::{
    check_device, check_file, check_numbers, check_record, check_tls,
};
use crate::sources::watch::Watch;

/// Longest wait of a source between two checks for cancellation while it waits for its next attempt to connect.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Upper bound of the time limit for opening, which grows beyond `timeout` after attempts that took too long: a busy
/// machine needs more time.
const MOST_OPENING: Duration = Duration::from_secs(60);

/// Playlists are read one segment at a time, so this many times `timeout` may pass without a picture.
const SEGMENTED: u32 = 6;

/// The source that reads videos; see `VideoSourceSettings`.
pub struct VideoSource {
    settings: VideoSourceSettings,
    origin: Origin,
    setup: Setup,
    pool: FramePool,
    reader: Option<VideoReader>,
    /// The relay that libav connects to instead of an encrypted stream.
    relay: Option<Relay>,
    /// The pipe that the reader reads, if it reads one.
    pipe: Option<Pipe>,
    reconnect: Reconnect,
    /// Attempts to connect since the last picture.
    attempts: u32,
    opening_began: Instant,
    /// How long the last successful opening took, including its first picture.
    opening_took: Duration,
    time_line: TimeLine,
    burst: Burst,
    notices: Arc<Notices>,
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
        check_tls(settings, &origin)?;
        let written = &settings.uri;
        match origin {
            Origin::File(path) => check_file(&path, written),
            Origin::Device(path) => check_device(&path, written),
            Origin::Network { .. } => Ok(()),
        }
    }

    fn reads(settings: &VideoSourceSettings) -> Vec<PathBuf> {
        let mut files = match Origin::parse(&settings.uri) {
            Ok(Origin::File(path)) => playlist::with_parts(path),
            _ => Vec::new(),
        };
        files.extend(settings.tls.ca_file.clone());
        files
    }

    fn create(settings: VideoSourceSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        libav::start();
        // OpenCV rotates the frames of videos that were recorded on their side.
        fermata_vision::opencv_threads::use_one_thread()?;
        let delays = settings.reconnect;
        let mut source = Self {
            origin: Origin::parse(&settings.uri)?,
            reconnect: Reconnect::new(delays.first.0, delays.most.0),
            settings,
            setup: setup.clone(),
            pool: FramePool::new(),
            reader: None,
            relay: None,
            pipe: None,
            attempts: 0,
            opening_began: Instant::now(),
            opening_took: Duration::ZERO,
            time_line: TimeLine::new(),
            burst: Burst::default(),
            notices: Arc::default(),
            started: Instant::now(),
        };
        match &source.origin {
            // A camera must be present when the run starts, or the graph is wrong.
            Origin::Device(_) => {
                let opened = source.open();
                let reader = opened.map_err(|error| source.failure("cannot open", &error))?;
                source.connected(reader);
            }
            // A file's content costs at most its own stream: errors are reported when the first picture is requested.
            Origin::File(path) if !is_pipe(path) => {
                if let Ok(reader) = source.open() {
                    source.connected(reader);
                }
            }
            // A network camera or a pipe's writer may be absent for now.
            Origin::File(_) | Origin::Network { .. } => {}
        }
        Ok(source)
    }

    fn pacing(&self) -> Pacing {
        let nature = self.reader.as_ref().map(VideoReader::nature);
        match nature {
            Some(Nature::Recording | Nature::Segmented) => Pacing::ByPts,
            Some(Nature::Live | Nature::LiveWithoutTimes) | None => Pacing::Live,
        }
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        loop {
            if self.setup.cancelled() {
                return Ok(Next::End);
            }
            match self.reconnect.on(Event::Asked, self.now_ns()) {
                Command::Connect => match self.connect() {
                    Ok(reader) => self.connected(reader),
                    Err(VideoError::Cancelled) => return Ok(Next::End),
                    // A pipe is opened only once.
                    Err(error) if !self.origin.may_be_live() || self.is_hopeless(&error) => {
                        return Err(self.failure("cannot open", &error));
                    }
                    Err(error) => self.lost_for(&error),
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
    /// Reads one frame; returns `None` if the stream was lost instead.
    fn read(&mut self) -> Result<Option<Next>, ActorError> {
        let Some(reader) = &mut self.reader else {
            return Ok(Some(Next::End));
        };
        let read = reader.next();
        // A recording would start over if it were reopened, and so would a playlist that has ended.
        let nature = reader.nature();
        let opens_again = self.origin.may_be_live() && nature != Nature::Recording;
        // It may be a recording of unknown length; only under `asap` is there no point in waiting for more.
        let ends_with_connection = nature == Nature::Live
            && self.setup.clock_mode == ClockMode::Asap
            && matches!(self.origin, Origin::Network { rtsp: false, .. });
        match read {
            Ok(Some(picture)) => Ok(Some(self.delivered(picture))),
            Ok(None) if opens_again && nature != Nature::Segmented && !ends_with_connection => {
                let cause = "the server ended the stream";
                self.lost(cause, cause);
                Ok(None)
            }
            Ok(None) | Err(VideoError::Cancelled) => Ok(Some(Next::End)),
            Err(error) if opens_again && !matches!(error, VideoError::Recording(_)) => {
                self.lost_for(&error);
                Ok(None)
            }
            Err(error) => Err(self.failure("cannot continue reading", &error)),
        }
    }

    fn delivered(&mut self, picture: Picture) -> Next {
        self.setup.connection().restore();
        if self.attempts > 0 {
            self.opening_took = self.opening_began.elapsed();
            self.attempts = 0;
        }
        if let Some(reader) = &self.reader {
            reader.be_patient_for(self.patience(reader.nature()));
        }
        let now_ns = self.now_ns();
        let command = self.reconnect.on(Event::Delivered, now_ns);
        let at_ns = i64::try_from(now_ns).unwrap_or(i64::MAX);
        let is_live = self.pacing() == Pacing::Live;
        let had_waited = is_live && self.burst.had_waited(at_ns, picture.waited);
        let placed = self.time_line.place(Arrived {
            stamp_ns: picture.stamp_ns,
            at_ns,
            had_waited,
        });
        if let Some(finding) = placed.finding {
            self.tell(finding, placed, is_live);
        }
        let video = VideoFrame::of(picture.frame);
        let mut captured = Captured::new(Arc::new(video), placed.pts_ns);
        if placed.begins_segment() || command == (Command::Publish { new_segment: true }) {
            captured = captured.in_new_segment();
        }
        if had_waited {
            captured = captured.kept();
        }
        Next::Packet(captured)
    }

    /// Warns of a problem with the time stamps.
    fn tell(&self, finding: Finding, placed: Placed, is_live: bool) {
        let (cause, by_ns) = finding.told(is_live);
        if let Some(unsaid) = self.notices.due(cause) {
            let node = &self.setup.node;
            let (by_s, pts_ms) = (by_ns as f64 / 1e9, placed.pts_ns / 1_000_000);
            tracing::warn!(%node, by_s, pts_ms, unsaid, "{cause}");
        }
    }

    fn connected(&mut self, reader: VideoReader) {
        let is_paced = self.setup.clock_mode != ClockMode::Asap;
        let max_gap_ns = i64::try_from(self.settings.max_gap.0.as_nanos()).unwrap_or(i64::MAX);
        let trust = match reader.nature() {
            Nature::Recording | Nature::Segmented => Trust::Recording {
                max_gap_ns: is_paced.then_some(max_gap_ns),
            },
            Nature::Live => Trust::Checked,
            Nature::LiveWithoutTimes => Trust::Arrival,
        };
        self.time_line.connected(trust, reader.period_ns());
        self.burst = Burst::default();
        if self.origin.may_be_live() {
            let (node, uri) = (&self.setup.node, redact(&self.settings.uri));
            let nature = reader.nature();
            tracing::info!(%node, %uri, %nature, "connected");
        }
        self.reader = Some(reader);
        self.reconnect.on(Event::Connected, self.now_ns());
    }

    /// Returns how long the stream may go without a picture.
    fn patience(&self, nature: Nature) -> Option<Duration> {
        let timeout = self.settings.timeout.0;
        match (&self.origin, nature) {
            (_, Nature::Segmented) => Some(timeout.saturating_mul(SEGMENTED)),
            (Origin::File(_) | Origin::Device(_), _) => None,
            (Origin::Network { .. }, _) => Some(timeout),
        }
    }

    /// Returns how long each step of opening may take: connecting, probing, and the first picture.
    fn patience_for_opening(&self) -> Option<Duration> {
        let timeout = self.settings.timeout.0;
        // An opening that was slow once will be slow again.
        let usual = self.opening_took.saturating_mul(2).max(timeout);
        let longer = usual.saturating_mul(1 << self.attempts.min(16));
        let is_network = matches!(self.origin, Origin::Network { .. });
        is_network.then(|| longer.min(MOST_OPENING).max(timeout))
    }

    fn lost_for(&mut self, error: &VideoError) {
        let advice = error.advice();
        self.lost(&error.cause(), &format!("{error}{advice}"));
    }

    fn lost(&mut self, cause: &str, error: &str) {
        self.reader = None;
        let command = self.reconnect.on(Event::Lost, self.now_ns());
        if let Command::Wait(delay) = command
            && !self.setup.cancelled()
        {
            self.setup.connection().lose(&redact(error));
            if let Some(unsaid) = self.notices.due(cause) {
                let (node, uri) = (&self.setup.node, redact(&self.settings.uri));
                tracing::warn!(%node, %uri, %error, ?delay, unsaid, "the stream is unavailable; it will be reopened");
            }
        }
    }

    /// Opens the input and counts the time as waiting if it may be live.
    fn connect(&mut self) -> Result<VideoReader, VideoError> {
        let began = Instant::now();
        let opened = self.open();
        if self.origin.may_be_live() {
            self.setup.count_waited(began.elapsed());
        }
        opened
    }

    fn open(&mut self) -> Result<VideoReader, VideoError> {
        let watch = Watch::new(&self.setup, self.patience_for_opening());
        self.attempts = self.attempts.saturating_add(1);
        self.opening_began = Instant::now();
        let input = match self.origin.clone() {
            Origin::File(path) if is_pipe(&path) => {
                let opened = Pipe::open(&path, || self.setup.cancelled());
                let pipe = opened.map_err(|error| VideoError::Missing(error.to_string()))?;
                let pipe = self.pipe.insert(pipe.ok_or(VideoError::Cancelled)?);
                open_url(
                    &pipe.url(),
                    &Dictionary::new(),
                    Some(Nature::Recording),
                    &watch,
                )?
            }
            // Without the scheme, a name such as `a:b.mp4` would be taken for a protocol.
            Origin::File(path) => {
                let mut known = Nature::Recording;
                if playlist::has_no_end(&path) {
                    known = Nature::Segmented;
                    let node = &self.setup.node;
                    tracing::warn!(%node, path = %path.display(), "this playlist does not say where it ends (#EXT-X-ENDLIST): it counts as complete when nothing is added to it for the length of three segments");
                }
                let url = format!("file:{}", path.display());
                open_url(&url, &playlist::options(), Some(known), &watch)?
            }
            Origin::Device(path) => open_device(&path.to_string_lossy(), self.camera_options())?,
            Origin::Network {
                uri,
                rtsp,
                tls: None,
            } => open_url(&uri, &self.network_options(rtsp), None, &watch).map_err(|error| {
                if rtsp {
                    self.settings.transport.explain(error)
                } else {
                    error
                }
            })?,
            Origin::Network {
                uri,
                rtsp,
                tls: Some(place),
            } => self.open_encrypted(&uri, rtsp, &place, &watch)?,
        };
        let decoding = Decoding {
            threads: self.settings.threads,
            file: match &self.origin {
                Origin::File(path) => Some(path.clone()),
                Origin::Device(_) | Origin::Network { .. } => None,
            },
            record: self.settings.record.as_ref().map(|path| {
                // This number outlives the source, so that a rebuilt source does not overwrite its predecessor's
                // recordings.
                let connections = self.setup.lasting_number();
                Recordings {
                    path: path.clone(),
                    connection: connections.fetch_add(1, Ordering::Relaxed) + 1,
                }
            }),
            pool: self.pool.clone(),
            limits: ImageLimits {
                pixels: self.settings.max_pixels,
                ..ImageLimits::default()
            },
            notices: Arc::clone(&self.notices),
        };
        VideoReader::new(input, decoding, watch, &self.setup)
    }

    /// Opens an encrypted stream through a relay, because libav does not verify certificates under RTSP, does not know
    /// fingerprints, and follows redirections from HTTPS to HTTP.
    fn open_encrypted(
        &mut self,
        uri: &str,
        rtsp: bool,
        place: &Encrypted,
        watch: &Arc<Watch>,
    ) -> Result<(Input, Nature), VideoError> {
        let tls = &self.settings.tls;
        if tls.is_blind() {
            let (node, uri) = (&self.setup.node, redact(uri));
            tracing::warn!(%node, %uri, "`tls: {{verify: false}}` accepts any certificate: an attacker in between can read and change everything, including passwords");
        }
        let timeout = self.settings.timeout.0;
        let connector = Connector::new(&place.host, place.port, tls, timeout)?;
        let relay = Relay::open(connector, rtsp)?;
        let mut options = self.network_options(rtsp);
        // An address named by the server must not be opened without verifying certificates.
        let scheme = if rtsp {
            options.set("protocol_whitelist", "tcp,rtp");
            "rtsp"
        } else {
            options.set("protocol_whitelist", "http,tcp");
            // A proxy from the environment would receive everything in plain text.
            options.set("http_proxy", "none");
            options.set("headers", &format!("Host: {}\r\n", place.written));
            "http"
        };
        let uri = place.by_relay(scheme, relay.port());
        self.relay = Some(relay);
        open_url(&uri, &options, None, watch)
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
            options.set("rtsp_transport", self.settings.transport.name());
        } else {
            // A recording that the server can send in parts resumes where its connection broke.
            options.set("reconnect", "1");
            options.set("reconnect_delay_max", "2");
        }
        options
    }

    /// Returns whether no later attempt can succeed: the address holds something other than a video, this libav cannot
    /// open such addresses, or the stream cannot be recorded. A camera that has worked before is always retried, unless
    /// its recording failed.
    fn is_hopeless(&self, error: &VideoError) -> bool {
        let libav_cannot = matches!(
            error,
            VideoError::NoVideo
                | VideoError::WebPage
                | VideoError::TooManyPixels { .. }
                | VideoError::ImpossibleSize
                | VideoError::TooLargeToFetch
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
        let advice = error.advice();
        format!("{what} `{}`: {error}{advice}", redact(&self.settings.uri)).into()
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
