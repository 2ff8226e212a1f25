//! Why a video has no (more) frames.

use std::time::Duration;

use ffmpeg_next::Error;

use crate::sources::recorder::RecordError;

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
    /// A frame without any time stamp, in a recording that states no frame rate either.
    #[error("frame {0} has no time stamp, and the container states no frame rate")]
    NoTime(u64),
    /// OpenCV could not turn a frame.
    #[error("turning the frame: {0}")]
    Turning(opencv::Error),
    /// What is received cannot be kept.
    #[error(transparent)]
    Recording(#[from] RecordError),
    /// Whatever else libav says.
    #[error("{doing}: {error}")]
    Libav {
        /// What was tried.
        doing: &'static str,
        /// libav's reason.
        error: Error,
    },
}
