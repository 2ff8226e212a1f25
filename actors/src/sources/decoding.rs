//! Input and output types of a video reader.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fermata_vision::image_file::ImageLimits;
use fermata_vision::{Frame, FramePool};

use crate::sources::notices::Notices;
use crate::sources::recorder::Recordings;

/// How an input is decoded.
pub(crate) struct Decoding {
    /// Number of decoder threads.
    pub(crate) threads: usize,
    /// The file, if the input is one.
    pub(crate) file: Option<PathBuf>,
    /// Where packets are recorded as they come, if anywhere.
    pub(crate) record: Option<Recordings>,
    /// The pool that frames are taken from.
    pub(crate) pool: FramePool,
    /// Limits of a picture's size.
    pub(crate) limits: ImageLimits,
    /// Warnings that were already logged.
    pub(crate) notices: Arc<Notices>,
}

/// A decoded frame with the container's time stamp.
pub(crate) struct Picture {
    pub(crate) frame: Frame,
    /// Time stamp; a frame of a recording always has one.
    pub(crate) stamp_ns: Option<i64>,
    /// How long the reader waited for the frame's data.
    pub(crate) waited: Duration,
}
