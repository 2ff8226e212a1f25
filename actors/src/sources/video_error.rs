//! Errors of reading a video.

use std::time::Duration;

use fermata_vision::image_file::{ImageLimits, MOST_SIDE};
use ffmpeg_next::Error;

use crate::libav::MOST_FETCHED;
use crate::libav::errors::{OVERFLOWN, TOO_LARGE};
use crate::sources::recorder::RecordError;
use crate::sources::tls::TlsError;

/// Why there are no (more) frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VideoError {
    /// The stream was cancelled during a libav call.
    #[error("reading was cancelled")]
    Cancelled,
    /// No picture came in time.
    #[error("no picture within {0:?}")]
    Silent(Duration),
    /// The input has no video stream.
    #[error("it holds no video stream")]
    NoVideo,
    /// A picture that would take too much memory.
    #[error("its pictures are {width} x {height} pixels; the limits are {} in all (`max_pixels`) and {MOST_SIDE} on a side", .limits.pixels)]
    TooManyPixels {
        /// Width as stated by the file.
        width: u32,
        /// Height as stated by the file.
        height: u32,
        /// The limits that it exceeds.
        limits: ImageLimits,
    },
    /// The address is that of a web page, such as the camera's.
    #[error(
        "it is a web page, not a video: give the address of the stream itself, which the camera's manual or web page names"
    )]
    WebPage,
    /// The host name cannot be resolved.
    #[error("the host name `{0}` cannot be resolved")]
    UnknownHost(String),
    /// The server does not offer the requested transport.
    #[error("the server does not offer `transport: {asked}`; try `transport: {other}`")]
    Transport {
        /// The requested transport.
        asked: &'static str,
        /// The other transport.
        other: &'static str,
    },
    /// A header whose picture size overflows in libav.
    #[error("its header says that a picture is larger than any memory holds")]
    ImpossibleSize,
    /// A recording that would have to be fetched whole, and is too large for that.
    #[error(
        "the server does not send parts of files, the index of this one is at its end, and it is larger than the {} GiB that are fetched: \
         download it first, or move its index to the beginning (`ffmpeg -movflags +faststart`)",
        MOST_FETCHED >> 30
    )]
    TooLargeToFetch,
    /// A part of libav is not available.
    #[error("{0}")]
    Missing(String),
    /// The recording cannot be read to its end.
    #[error("{reason} after {frames} frames: the file is damaged or ends too early")]
    Broken {
        /// Frames delivered before the error.
        frames: u64,
        /// The evidence of the damage.
        reason: String,
    },
    /// The input states that it is a video, but libav cannot decode any of its frames.
    #[error("none of its frames can be decoded ({missed} are missed)")]
    NothingDecoded {
        /// Number of undecodable frames.
        missed: u64,
    },
    /// A frame without a time stamp, in a recording that states no frame rate either.
    #[error("frame {0} has no time stamp, and the container states no frame rate")]
    NoTime(u64),
    /// OpenCV could not rotate a frame.
    #[error("rotating the frame: {0}")]
    Turning(opencv::Error),
    /// The received stream cannot be recorded.
    #[error(transparent)]
    Recording(#[from] RecordError),
    /// The server of an encrypted stream cannot be authenticated or reached.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Any other libav error.
    #[error("{doing}: {error}")]
    Libav {
        /// The operation that failed.
        doing: &'static str,
        /// libav's error.
        error: Error,
    },
}

impl VideoError {
    /// Returns the key by which repetitions are recognised, so that each is logged once a minute: the message, without
    /// values that change from one attempt to the next.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Silent(_) => "no picture".to_owned(),
            error => error.to_string(),
        }
    }

    /// Converts an error of opening an input other than a device.
    pub(crate) fn of_opening(self) -> Self {
        match self {
            Self::Libav {
                error: OVERFLOWN, ..
            } => Self::ImpossibleSize,
            Self::Libav {
                error: TOO_LARGE, ..
            } => Self::TooLargeToFetch,
            error => error,
        }
    }

    /// Returns a hint at the likely cause, to be appended to the message.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Libav {
                error: Error::InvalidData,
                ..
            } => "; it is not a video, or a damaged one",
            Self::Libav {
                error: Error::HttpUnauthorized,
                ..
            } => "; give user and password before the host, as USER:PASSWORD@HOST",
            _ => "",
        }
    }
}
