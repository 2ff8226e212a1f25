//! Why a video has no (more) frames.

use std::time::Duration;

use fermata_vision::image_file::{ImageLimits, MOST_SIDE};
use ffmpeg_next::Error;

use crate::libav::errors::OVERFLOWN;
use crate::sources::recorder::RecordError;
use crate::sources::tls::TlsError;

/// Why there are no (more) frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VideoError {
    /// The stream was cancelled while libav was busy.
    #[error("reading was cancelled")]
    Cancelled,
    /// No picture came in time.
    #[error("no picture within {0:?}")]
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
    /// Somebody named the camera's page.
    #[error(
        "it is a web page and no video: the address of the stream itself is wanted, which the camera's manual or its page names"
    )]
    WebPage,
    /// Nobody knows the name of the other side.
    #[error("there is no host called `{0}`, as far as the name service knows")]
    UnknownHost(String),
    /// The other side does not send pictures in the way that is asked for.
    #[error(
        "the other side does not send pictures by `transport: {asked}`; try `transport: {other}`"
    )]
    Transport {
        /// What was asked for.
        asked: &'static str,
        /// What there is besides.
        other: &'static str,
    },
    /// A header that libav cannot even add up.
    #[error("its header says that a picture is larger than any memory holds")]
    ImpossibleSize,
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
    /// It says that it is a video, and none of its frames is one that libav can decode.
    #[error("none of its frames can be decoded ({missed} are missed)")]
    NothingDecoded {
        /// Frames that were met.
        missed: u64,
    },
    /// A frame without any time stamp, in a recording that states no frame rate either.
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

impl VideoError {
    /// What it is told by once a minute: the message, without what grows from one attempt to the next.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Silent(_) => "no picture".to_owned(),
            error => error.to_string(),
        }
    }

    /// Why what is no device cannot be opened.
    pub(crate) fn of_opening(self) -> Self {
        match self {
            Self::Libav {
                error: OVERFLOWN, ..
            } => Self::ImpossibleSize,
            error => error,
        }
    }

    /// What may be behind it, to be put behind the message.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Libav {
                error: Error::InvalidData,
                ..
            } => "; it is not a video, or a damaged one",
            Self::Libav {
                error: Error::HttpUnauthorized,
                ..
            } => "; user and password stand before the host, as USER:PASSWORD@HOST",
            _ => "",
        }
    }
}
