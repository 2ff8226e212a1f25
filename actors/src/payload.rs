//! What travels between the vision actors.

use std::sync::Arc;

use fermata_engine::Payload;
use fermata_vision::{Face, Frame, GroundTruth};

/// A frame as captured or drawn, with what a synthetic source knows of it.
#[derive(Clone, Debug)]
pub struct VideoFrame {
    /// The picture.
    pub frame: Frame,
    /// What was drawn, if the source is synthetic.
    pub truth: Option<Arc<GroundTruth>>,
}

impl Payload for VideoFrame {
    fn bytes(&self) -> usize {
        self.frame.bgr().len()
    }
}

/// A frame and its faces, with everything that earlier actors found. Its weight in a batch is its number of faces.
#[derive(Clone, Debug)]
pub struct Faces {
    /// The frame in which they are.
    pub video: VideoFrame,
    /// The faces.
    pub faces: Vec<Face>,
    /// False where the detector did not look at the frame (`every`).
    pub detected: bool,
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
