//! Settings of a video source, and their validation.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fermata_engine::ActorError;
use fermata_engine::units::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::libav::errors::NOT_SUPPORTED;
use crate::sources::tls::TlsSpec;
use crate::sources::uri::Origin;
use crate::sources::video_error::VideoError;

/// Reads a video file, a camera or a network stream, and decodes it into frames with the container's time stamps,
/// rotated and mirrored as the container asks, and with square pixels.
///
/// Files and network streams of known length are recordings. A recording that is damaged or ends too early delivers
/// what can be decoded and then fails its stream; frames that cannot be decoded, or are missing because the recording
/// is damaged or a transport stream was cut, count as `missed`. A time stamp that steps back by more than a second
/// begins a new segment, in which time continues.
///
/// Everything else is live: when it breaks it is reopened, and the first frame afterwards begins a new segment. Time
/// stamps are checked against arrival times: where there are none (MJPEG over HTTP), where they disagree with arrival,
/// and after a reconnect, time continues from arrival; a jump of more than three seconds begins a new segment. Under
/// `asap` an HTTP stream of unknown length ends with its connection. Frames that were already waiting when a connection
/// was made are not overwritten.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoSourceSettings {
    /// A file (also as `file:///a%20b.mp4`), a camera (`/dev/video0`), or an `rtsp://`, `rtsps://`, `http://` or
    /// `https://` address. A network stream of known length is a recording: it is paced like a file, ends at its end,
    /// and fails if it breaks before then.
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
    /// RTSP only: the transport that carries the pictures. Default: tcp.
    #[serde(default)]
    pub transport: Transport,
    /// `rtsps://` and `https://` only: how the server proves its identity. Default: its certificate is signed by an
    /// authority that the system trusts, and names the host.
    #[serde(default)]
    pub tls: TlsSpec,
    /// Live streams only: how long to wait before reopening a lost stream.
    #[serde(default)]
    pub reconnect: ReconnectSpec,
    /// Network streams only: how long the stream may go without a picture before it counts as lost; playlists (HLS,
    /// DASH) get six times as long. When a stream is opened, connecting, probing and the first picture get this long
    /// each; after an attempt that brought no picture, twice as long, and after one that did, twice what it took, up to
    /// a minute. Default: 5s.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// Live streams only: a Matroska file (`.mkv`) that keeps what is received unchanged, for a later replay; times are
    /// kept as received, to the millisecond. It is `PATH.part` until the connection is over. After a reconnect,
    /// recording continues in `NAME.0002.mkv`, `NAME.0003.mkv` and so on beside it, skipping names that are taken: no
    /// recording is overwritten. If the file cannot be written, the stream fails. Default: none.
    #[serde(default)]
    pub record: Option<PathBuf>,
    /// Allows the recording to show faces although the graph hides them elsewhere: without it, a graph with `blur` does
    /// not record. Default: false.
    #[serde(default)]
    pub unblurred: bool,
    /// Recordings under the clocks `live` and `replay`: a gap without frames that is longer than this is logged and not
    /// waited for; the frames after it begin a new segment, with their own time stamps. Default: 5s.
    #[serde(default = "default_timeout")]
    pub max_gap: HumanDuration,
    /// Largest picture that is decoded, as width times height. Default: 50000000.
    #[serde(default = "default_max_pixels")]
    pub max_pixels: u64,
    /// Number of decoder threads. With more than one, files are delayed by as many frames. Default: 1.
    #[serde(default = "default_threads")]
    pub threads: usize,
}

/// The transport that carries pictures over RTSP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Inside the RTSP connection: nothing is lost.
    #[default]
    Tcp,
    /// As datagrams: less delay, but losses on a bad network.
    Udp,
}

impl Transport {
    /// Returns the name that libav and graph files use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Replaces libav's error for a server without the requested RTSP transport (RFC 2326, status 461) by a clearer
    /// one.
    pub(crate) fn explain(self, error: VideoError) -> VideoError {
        let other = match self {
            Self::Tcp => Self::Udp,
            Self::Udp => Self::Tcp,
        };
        match error {
            VideoError::Libav { error, .. } if error == NOT_SUPPORTED => VideoError::Transport {
                asked: self.name(),
                other: other.name(),
            },
            error => error,
        }
    }
}

/// Delays before a lost stream is reopened.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReconnectSpec {
    /// Delay before the first attempt; doubles with every failed attempt. Default: 1s.
    pub first: HumanDuration,
    /// Upper bound of the delay. Default: 30s.
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

/// An 8K picture has 33 million pixels, and a decoder holds several pictures.
fn default_max_pixels() -> u64 {
    50_000_000
}

fn default_threads() -> usize {
    1
}

pub(crate) fn check_numbers(settings: &VideoSourceSettings) -> Result<(), ActorError> {
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
    if settings.max_gap.0.is_zero() {
        return Err("max_gap is 0, but must be longer".into());
    }
    if first.0.is_zero() || most < first {
        return Err(format!("reconnect has `first: {first}` and `most: {most}`, but first must be above 0, and most not below first").into());
    }
    Ok(())
}

pub(crate) fn check_tls(settings: &VideoSourceSettings, origin: &Origin) -> Result<(), ActorError> {
    let Origin::Network {
        rtsp, tls: Some(_), ..
    } = origin
    else {
        return if settings.tls.is_given() {
            Err("tls is for addresses that begin with rtsps:// or https://".into())
        } else {
            Ok(())
        };
    };
    if *rtsp && settings.transport == Transport::Udp {
        return Err("transport is udp, but under rtsps:// pictures travel inside the encrypted connection: leave it out".into());
    }
    Ok(settings.tls.check()?)
}

pub(crate) fn check_record(path: &Path, origin: &Origin) -> Result<(), ActorError> {
    let shown = path.display();
    if !origin.may_be_live() {
        return Err("record is for live streams: a file is a recording already".into());
    }
    if path.is_dir() || path.extension().is_none_or(|extension| extension != "mkv") {
        return Err(format!("record is `{shown}`, but must be a file that ends in .mkv").into());
    }
    Ok(())
}

/// Checks that there is a readable file or a pipe. Errors show the path as it was written in the graph, so that it can
/// be found there.
pub(crate) fn check_file(path: &Path, written: &str) -> Result<(), ActorError> {
    let cannot = |error: std::io::Error| format!("cannot open `{written}`: {error}");
    let metadata = path.metadata().map_err(cannot)?;
    if metadata.is_dir() {
        return Err(format!(
            "cannot open `{written}`: it is a folder; image_source reads folders of images"
        )
        .into());
    }
    // Opening a pipe would block until there is a writer.
    if metadata.is_file() {
        let file = std::fs::File::open(path).map_err(cannot)?;
        // Files of some file systems (/proc, sockets) report a length of 0 although they have content.
        if metadata.len() == 0 && (&file).read(&mut [0]).is_ok_and(|read| read == 0) {
            return Err(format!("cannot open `{written}`: it is empty").into());
        }
    }
    Ok(())
}

/// Checks that there is a camera.
pub(crate) fn check_device(path: &Path, written: &str) -> Result<(), ActorError> {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            Err(format!("`{written}` is a folder, not a camera").into())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(format!("no camera at `{written}`: {error}").into()),
    }
}
