//! Payloads that the vision actors exchange.

use std::sync::Arc;

use fermata_engine::Payload;
use fermata_vision::{Face, Frame, GroundTruth, Rect};

/// A frame as captured or drawn, with what its source knows about it.
#[derive(Clone, Debug)]
pub struct VideoFrame {
    /// The picture.
    pub frame: Frame,
    /// Ground truth, if the source is synthetic.
    pub truth: Option<Arc<GroundTruth>>,
    /// Name of the image file that it was read from; `None` for video.
    pub file: Option<Arc<str>>,
}

impl VideoFrame {
    /// Wraps a frame about which nothing else is known.
    pub fn of(frame: Frame) -> Self {
        Self {
            frame,
            truth: None,
            file: None,
        }
    }
}

impl Payload for VideoFrame {
    fn bytes(&self) -> usize {
        self.frame.bgr().len()
    }
}

/// A frame and its faces, with everything that earlier actors found. Its weight in a batch is its number of faces.
#[derive(Clone, Debug)]
pub struct Faces {
    /// The frame that contains the faces.
    pub video: VideoFrame,
    /// The faces.
    pub faces: Vec<Face>,
    /// Detections of low confidence, and those that a tracker took for background: a tracker continues tracks with
    /// them, and blurring hides them too. They are neither classified nor counted.
    pub doubtful: Vec<Face>,
    /// Where a tracker expects faces that the detector did not find.
    pub lost: Vec<Rect>,
    /// False if the detector skipped the frame (`every`).
    pub detected: bool,
    /// Whether the list of faces can be complete: the detector ran on this frame, or a tracker carried faces over from
    /// one on which it ran.
    pub known: bool,
}

impl Faces {
    /// Returns the detections of a frame.
    pub fn found(video: VideoFrame, faces: Vec<Face>) -> Self {
        Self {
            video,
            faces,
            doubtful: Vec::new(),
            lost: Vec::new(),
            detected: true,
            known: true,
        }
    }

    /// Returns a frame that the detector skipped.
    pub fn not_looked_at(video: VideoFrame) -> Self {
        Self {
            detected: false,
            known: false,
            ..Self::found(video, Vec::new())
        }
    }
}

impl Payload for Faces {
    fn weight(&self) -> usize {
        self.faces.len()
    }

    fn bytes(&self) -> usize {
        let crops = self.faces.iter().filter_map(|face| face.crop.as_ref());
        let crop_bytes: usize = crops.map(|crop| crop.values.len() * size_of::<f32>()).sum();
        self.video.bytes() + crop_bytes
    }
}
