//! What travels between the vision actors.

use std::sync::Arc;

use fermata_engine::Payload;
use fermata_vision::{Face, Frame, GroundTruth, Rect};

/// A frame as captured or drawn, with what its source knows of it.
#[derive(Clone, Debug)]
pub struct VideoFrame {
    /// The picture.
    pub frame: Frame,
    /// What was drawn, if the source is synthetic.
    pub truth: Option<Arc<GroundTruth>>,
    /// Name of the image file that it was read from; none for video.
    pub file: Option<Arc<str>>,
}

impl VideoFrame {
    /// A picture of which nothing else is known.
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
    /// The frame in which they are.
    pub video: VideoFrame,
    /// The faces.
    pub faces: Vec<Face>,
    /// What the detector takes for faces with some doubt: a tracker continues tracks with them, and what hides faces
    /// hides them too. They are not classified and not counted.
    pub doubtful: Vec<Face>,
    /// Where a tracker expects faces that the detector did not find.
    pub lost: Vec<Rect>,
    /// False where the detector did not look at the frame (`every`).
    pub detected: bool,
    /// Whether the list of faces can be the whole: the detector looked at this frame, or a tracker carried on from one
    /// at which it looked.
    pub known: bool,
}

impl Faces {
    /// What the detector found in a frame.
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

    /// A frame at which the detector did not look.
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
