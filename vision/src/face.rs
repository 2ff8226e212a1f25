//! What is known about a face: its position, track and expression. Nothing here identifies the person.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pool::Pooled;

/// The seven basic expressions, in the canonical class order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Expression {
    Angry,
    Disgust,
    Fear,
    Happy,
    Sad,
    Surprise,
    Neutral,
}

/// Number of expressions.
pub const EXPRESSIONS: usize = 7;

impl Expression {
    /// All expressions in the canonical order.
    pub const ALL: [Self; EXPRESSIONS] = [
        Self::Angry,
        Self::Disgust,
        Self::Fear,
        Self::Happy,
        Self::Sad,
        Self::Surprise,
        Self::Neutral,
    ];

    /// Returns the position in the canonical order.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Returns the name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Angry => "angry",
            Self::Disgust => "disgust",
            Self::Fear => "fear",
            Self::Happy => "happy",
            Self::Sad => "sad",
            Self::Surprise => "surprise",
            Self::Neutral => "neutral",
        }
    }

    /// Returns the most probable expression; the first one on a tie. NaN never wins.
    pub fn most_probable(probabilities: &Probabilities) -> Self {
        let mut best = 0;
        for (index, &value) in probabilities.iter().enumerate() {
            if value > probabilities[best] {
                best = index;
            }
        }
        Self::ALL[best]
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Expression {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|expression| expression.name() == name)
            .ok_or_else(|| format!("unknown expression `{name}`"))
    }
}

/// One value for each expression, in the canonical order, summing to 1.
pub type Probabilities = [f32; EXPRESSIONS];

/// A point in a frame, in pixels from the top left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Point {
    pub x: f32,
    pub y: f32,
}

/// An axis-aligned box, in pixels; it may extend beyond the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Rect {
    /// Returns the area in square pixels; 0 for an inverted box.
    pub fn area(&self) -> f32 {
        self.w.max(0.0) * self.h.max(0.0)
    }

    /// Returns the centre.
    pub fn center(&self) -> Point {
        Point {
            x: self.x + self.w / 2.0,
            y: self.y + self.h / 2.0,
        }
    }

    /// Returns the intersection over union with another box, 0..1; 0 if either box is not finite.
    pub fn iou(&self, other: &Self) -> f32 {
        let w = (self.x + self.w).min(other.x + other.w) - self.x.max(other.x);
        let h = (self.y + self.h).min(other.y + other.h) - self.y.max(other.y);
        let intersection = w.max(0.0) * h.max(0.0);
        let union = self.area() + other.area() - intersection;
        let sides = [self.x, self.y, other.x, other.y];
        if union > 0.0 && sides.iter().all(|side| side.is_finite()) {
            intersection / union
        } else {
            0.0
        }
    }

    /// Returns a box with the same centre and the sides multiplied by `factor`.
    pub fn scaled(&self, factor: f32) -> Self {
        let center = self.center();
        let (w, h) = (self.w * factor, self.h * factor);
        Self {
            x: center.x - w / 2.0,
            y: center.y - h / 2.0,
            w,
            h,
        }
    }
}

/// Right eye, left eye (the person's own sides), nose tip, right and left corner of the mouth.
pub type Landmarks = [Point; 5];

/// A preprocessed face, as a classifier expects it.
#[derive(Clone, Debug)]
pub struct Crop {
    /// Values in the model's own layout, without the batch dimension.
    pub values: Arc<Pooled<f32>>,
}

/// A face in a frame and what earlier actors have found out about it.
#[derive(Clone, Debug, Default)]
pub struct Face {
    /// Its box.
    pub rect: Rect,
    /// Its facial landmarks, if the detector provides them.
    pub landmarks: Option<Landmarks>,
    /// The detector's confidence, 0..1; `None` for a box that was predicted, not detected.
    pub score: Option<f32>,
    /// Number assigned by the tracker, counting a stream's faces from 1 without ever restarting within the stream.
    /// `None` while the tracker is not yet sure that this is a face.
    pub track: Option<u64>,
    /// The tracker's internal key, unique within the stream: present from the first detection on, before `track` is
    /// assigned.
    pub tracklet: Option<u64>,
    /// Input of the classifier.
    pub crop: Option<Crop>,
    /// The classifier's probabilities.
    pub probabilities: Option<Probabilities>,
    /// The classifier's most probable expression.
    pub raw_label: Option<Expression>,
    /// Probabilities after temporal smoothing.
    pub smoothed: Option<Probabilities>,
    /// Expression after voting and hysteresis.
    pub label: Option<Expression>,
}

/// Ground truth of a frame from a synthetic source.
#[derive(Clone, Debug, Default)]
pub struct GroundTruth {
    /// The faces that were drawn.
    pub faces: Vec<TrueFace>,
}

/// A face that was drawn.
#[derive(Clone, Debug)]
pub struct TrueFace {
    /// Index of the synthetic person within the stream, from 0.
    pub identity: u32,
    /// The box from forehead to chin and ear to ear.
    pub rect: Rect,
    /// The expression that was drawn.
    pub expression: Expression,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_of_half_overlapping_boxes_is_a_third() {
        let a = Rect {
            x: 0.0,
            y: 0.0,
            w: 2.0,
            h: 2.0,
        };
        let b = Rect { x: 1.0, ..a };
        assert!((a.iou(&b) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(a.iou(&Rect { x: 5.0, ..a }), 0.0);
        assert_eq!(Rect::default().iou(&Rect::default()), 0.0);
        assert_eq!(a.iou(&Rect { x: f32::NAN, ..a }), 0.0);
    }

    #[test]
    fn expression_names_round_trip_in_canonical_order() {
        for (index, expression) in Expression::ALL.into_iter().enumerate() {
            assert_eq!(expression.index(), index);
            assert_eq!(expression.name().parse(), Ok(expression));
        }
    }
}
