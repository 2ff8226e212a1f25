//! UltraFace: an SSD-style face detector with a small fixed input, without landmarks.
//! <https://github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB>
//!
//! Owns the input layout and the decoding of the outputs. Overlapping boxes are left to [`super::nms`].

use fermata_engine::ActorError;
use fermata_vision::{Frame, Rect};
use opencv::imgproc::INTER_LINEAR;

use super::nms::Candidate;
use super::pixels::{self, Planes, Resized};
use super::priors::{Prior, priors};
use fermata_onnx::{ElementType, Session, TensorIn};

/// Signature of an UltraFace, for messages.
pub(super) const EXPECTED: &str = "UltraFace (one input [1,3,H,W] of fixed size; outputs scores[1,anchors,2] and boxes[1,anchors,4])";

/// How the inputs and outputs of a model map to those of an UltraFace.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    width: usize,
    height: usize,
    scores: usize,
    boxes: usize,
}

/// A loaded UltraFace and its buffers.
pub(super) struct Ultraface {
    session: Session,
    layout: Layout,
    /// Priors that the boxes are relative to, if the model does not decode them itself.
    priors: Option<Vec<Prior>>,
    resized: Resized,
    values: Vec<f32>,
}

impl Ultraface {
    /// Creates a detector that processes frames at the model's own input size.
    ///
    /// # Errors
    /// Fails if the model cannot be run, or if its boxes are neither decoded nor those of an UltraFace.
    pub(super) fn new(mut session: Session, layout: Layout) -> Result<Self, ActorError> {
        let Layout { width, height, .. } = layout;
        let path = session.path().display().to_string();
        let values = &vec![0.0; 3 * width * height];
        let shape = &[1, 3, height, width];
        let (count, is_decoded) = {
            let outputs = session.run([TensorIn { shape, values }])?;
            let (boxes, _) = outputs.get(layout.boxes)?.values.as_chunks::<4>();
            // A decoded box ends after it begins, whatever the picture; a location is four numbers around 0.
            let has_area = |[left, top, right, bottom]: &[f32; 4]| right > left && bottom > top;
            (boxes.len(), boxes.iter().all(has_area))
        };
        let priors = (!is_decoded).then(|| priors(width, height));
        if let Some(known) = priors
            .as_ref()
            .map(Vec::len)
            .filter(|&known| known != count)
        {
            return Err(format!(
                "the boxes of {path} are not decoded and do not match UltraFace's priors: there are {count} boxes, not {known}; use a file that decodes them, such as version-RFB-320.onnx"
            )
            .into());
        }
        Ok(Self {
            session,
            layout,
            priors,
            resized: Resized::default(),
            values: Vec::new(),
        })
    }

    /// Returns the longer side of the input, in pixels.
    pub(super) fn longer_side(&self) -> usize {
        self.layout.width.max(self.layout.height)
    }

    /// Appends candidates with at least this score, in pixels of the frame.
    pub(super) fn detect(
        &mut self,
        frame: &Frame,
        min_score: f32,
        found: &mut Vec<Candidate>,
    ) -> Result<(), ActorError> {
        let layout = self.layout;
        let size = (layout.width, layout.height);
        let bgr = self.resized.bgr(frame, size, INTER_LINEAR)?;
        let values = &mut self.values;
        pixels::to_planes(bgr, size, size, Planes::Rgb, normalised, values);
        let shape = &[1, 3, layout.height, layout.width];
        let outputs = self.session.run([TensorIn { shape, values }])?;
        let scores = outputs.get(layout.scores)?.values;
        let boxes = outputs.get(layout.boxes)?.values;
        let frame_size = (frame.width() as f32, frame.height() as f32);
        let priors = self.priors.as_deref();
        found.extend(decode(scores, boxes, priors, frame_size, min_score)?);
        Ok(())
    }
}

fn normalised(value: u8) -> f32 {
    (f32::from(value) - 127.0) / 128.0
}

impl Layout {
    /// Returns `None` if the model is not an UltraFace.
    pub(super) fn of(session: &Session) -> Option<Self> {
        let [input] = session.inputs() else {
            return None;
        };
        let [_, Some(3), Some(height), Some(width)] = input.shape[..] else {
            return None;
        };
        let place = |name: &str, values: usize| {
            let index = session.output_index(name)?;
            let output = &session.outputs()[index];
            let fits = output.element == ElementType::F32
                && matches!(output.shape[..], [_, _, last] if last.is_none_or(|n| n == values));
            fits.then_some(index)
        };
        let (scores, boxes) = (place("scores", 2)?, place("boxes", 4)?);
        (input.element == ElementType::F32).then_some(Self {
            width,
            height,
            scores,
            boxes,
        })
    }
}

/// Decodes the outputs. Column 1 of the scores is the face's; boxes are left, top, right, bottom in 0..1 of the frame,
/// or relative to priors.
fn decode<'a>(
    scores: &'a [f32],
    boxes: &'a [f32],
    priors: Option<&'a [Prior]>,
    (width, height): (f32, f32),
    min_score: f32,
) -> Result<impl Iterator<Item = Candidate> + 'a, ActorError> {
    if boxes.len() != 2 * scores.len() {
        let (scores, boxes) = (scores.len() / 2, boxes.len() / 4);
        return Err(format!("UltraFace computed {scores} scores for {boxes} boxes").into());
    }
    let (boxes, _) = boxes.as_chunks::<4>();
    let each = scores.chunks_exact(2).zip(boxes).enumerate();
    let strong = each.filter(move |(_, (score, _))| score[1] >= min_score);
    Ok(strong.map(move |(index, (score, corners))| {
        let prior = priors.and_then(|priors| priors.get(index));
        let corners = prior.map_or(*corners, |prior| prior.decode(corners));
        let rect = Rect {
            x: corners[0] * width,
            y: corners[1] * height,
            w: (corners[2] - corners[0]) * width,
            h: (corners[3] - corners[1]) * height,
        };
        Candidate {
            rect,
            landmarks: None,
            score: score[1],
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_scaled_to_the_frame_and_weak_ones_left_out() {
        let scores = [0.9, 0.1, 0.25, 0.75];
        let boxes = [0.0, 0.0, 1.0, 1.0, 0.25, 0.5, 0.75, 1.0];
        let found = decode(&scores, &boxes, None, (640.0, 480.0), 0.7).unwrap();
        let found: Vec<Candidate> = found.collect();
        assert_eq!(found.len(), 1);
        let expected = Rect {
            x: 160.0,
            y: 240.0,
            w: 320.0,
            h: 240.0,
        };
        assert_eq!((found[0].rect, found[0].score), (expected, 0.75));
    }

    #[test]
    fn scores_without_boxes_are_refused() {
        let refused = decode(&[0.0, 1.0], &[], None, (1.0, 1.0), 0.5);
        let error = refused.map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("1 scores for 0 boxes"));
    }
}
