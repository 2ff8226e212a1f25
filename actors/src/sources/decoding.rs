//! What a reader of videos is told, and what it hands out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fermata_vision::image_file::ImageLimits;
use fermata_vision::{Frame, FramePool};

use crate::sources::notices::Notices;
use crate::sources::recorder::Recordings;

/// How an input is decoded.
pub(crate) struct Decoding {
    /// Threads of the decoder.
    pub(crate) threads: usize,
    /// The file, if it is one.
    pub(crate) file: Option<PathBuf>,
    /// Where the packets are kept as they come, if they are.
    pub(crate) record: Option<Recordings>,
    /// Where the frames come from.
    pub(crate) pool: FramePool,
    /// What a picture may be.
    pub(crate) limits: ImageLimits,
    /// What was told already.
    pub(crate) notices: Arc<Notices>,
}

/// A frame as the container has it.
pub(crate) struct Picture {
    pub(crate) frame: Frame,
    /// Its time stamp; a recording's frame has one always.
    pub(crate) stamp_ns: Option<i64>,
    /// How long was waited for its data.
    pub(crate) waited: Duration,
}
