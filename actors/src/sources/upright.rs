//! Converts decoded pictures to frames: BGR with square pixels, oriented as they are meant to be seen.

use std::sync::Arc;

use fermata_vision::frame::CHANNELS;
use fermata_vision::{Frame, FramePool};
use ffmpeg_next::{Stream, frame};

use crate::libav::{self, Converter, Target};
use crate::sources::notices::Notices;
use crate::sources::orientation::{Asked, Orientation};
use crate::sources::pixels::{is_high_range, squared};
use crate::sources::video_error::VideoError;

/// Converts one video's pictures to frames.
pub(crate) struct Upright {
    converter: Converter,
    /// The orientation that the container asks for.
    orientation: Asked,
    pool: FramePool,
    notices: Arc<Notices>,
    node: String,
}

impl Upright {
    /// Creates a converter for the pictures of a stream that the node `node` reads.
    pub(crate) fn of(
        stream: &Stream<'_>,
        pool: FramePool,
        notices: Arc<Notices>,
        node: &str,
    ) -> Self {
        Self {
            converter: Converter::new(Target::Bgr),
            orientation: Orientation::of(stream),
            pool,
            notices,
            node: node.to_owned(),
        }
    }

    /// Converts a picture to a frame.
    pub(crate) fn frame(
        &mut self,
        decoded: &frame::Video,
        stream: Option<&Stream<'_>>,
    ) -> Result<Frame, VideoError> {
        let transfer = decoded.color_transfer_characteristic();
        if is_high_range(transfer) && self.notices.first("high range") {
            let node = &self.node;
            tracing::warn!(%node, ?transfer, "the video is HDR and is not tone-mapped: its pictures are darker and flatter than meant, and expressions are recognised less well");
        }
        let size = self.square_size(decoded, stream);
        let converted = self.converter.convert_to(decoded, size);
        let bgr = converted.map_err(|error| VideoError::Libav {
            doing: "converting to BGR",
            error,
        })?;
        let (width, height) = (bgr.width() as usize, bgr.height() as usize);
        let mut frame = self.pool.take(width, height);
        let row_bytes = width * CHANNELS;
        let targets = frame.bgr_mut().chunks_exact_mut(row_bytes);
        for (target, row) in targets.zip(libav::rows(bgr, row_bytes)) {
            target.copy_from_slice(row);
        }
        let turned = self.laid(decoded).apply(frame.freeze(), &self.pool);
        turned.map_err(VideoError::Turning)
    }

    /// Returns a picture's orientation: the picture's own takes precedence over its container's, as in ffmpeg.
    fn laid(&self, decoded: &frame::Video) -> Orientation {
        match Orientation::of_picture(decoded).or(self.orientation) {
            Asked::Nothing => Orientation::default(),
            Asked::Lay(orientation) => orientation,
            Asked::Slant(matrix) => {
                if self.notices.first("slant") {
                    let node = &self.node;
                    tracing::warn!(%node, ?matrix, "the video asks to be rotated by an odd angle, which is ignored");
                }
                Orientation::default()
            }
        }
    }

    /// Returns the size at which a picture's pixels are square: the short side of the pixels is stretched.
    fn square_size(&self, decoded: &frame::Video, stream: Option<&Stream<'_>>) -> (u32, u32) {
        let (width, height) = (decoded.width(), decoded.height());
        let aspect = libav::sample_aspect_ratio(stream, decoded);
        squared((width, height), aspect).unwrap_or_else(|| {
            if self.notices.first("slender") {
                let node = &self.node;
                tracing::warn!(%node, aspect, "the video states pixels so far from square that it must be a mistake, which is ignored");
            }
            (width, height)
        })
    }
}
