//! A frame and its faces as one JSON object, which `write_jsonl` writes and `send_webhook` sends.

use std::collections::BTreeMap;

use fermata_engine::Envelope;
use fermata_vision::{Expression, Face};
use serde::Serialize;

use super::changes::Change;
use crate::payload::Faces;

/// A frame and its faces.
#[derive(Debug, Serialize)]
pub(super) struct FrameLine<'a> {
    stream: &'a str,
    segment: u32,
    sequence: u64,
    /// Milliseconds with 3 decimals.
    pts_ms: f64,
    /// Latency from capture to here; absent where it is meaningless.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    /// Whether the detector ran on this frame.
    detected: bool,
    /// Changes, if they are reported.
    #[serde(skip_serializing_if = "<[Change]>::is_empty")]
    changes: &'a [Change],
    faces: Vec<FaceLine>,
}

/// A face; unknown values are absent.
#[derive(Debug, Serialize)]
struct FaceLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<u64>,
    /// Left, top, width and height, in pixels with 2 decimals.
    r#box: [f64; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_label: Option<Expression>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<Expression>,
    /// Smoothed, or the classifier's own if nothing smooths them; 6 decimals.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    probabilities: BTreeMap<&'static str, f64>,
}

fn rounded(value: f32, decimals: i32) -> f64 {
    let step = 10f64.powi(decimals);
    (f64::from(value) * step).round() / step
}

fn milliseconds(ns: i128) -> f64 {
    ((ns + 500).div_euclid(1000)) as f64 / 1000.0
}

impl From<&Face> for FaceLine {
    fn from(face: &Face) -> Self {
        let rect = face.rect;
        let probabilities = face.smoothed.or(face.probabilities);
        let probabilities = probabilities.iter().flat_map(|probabilities| {
            Expression::ALL.map(|expression| {
                let probability = probabilities[expression.index()];
                (expression.name(), rounded(probability, 6))
            })
        });
        Self {
            track: face.track,
            r#box: [rect.x, rect.y, rect.w, rect.h].map(|side| rounded(side, 2)),
            score: face.score.map(|score| rounded(score, 4)),
            raw_label: face.raw_label,
            label: face.label,
            probabilities: probabilities.collect(),
        }
    }
}

impl<'a> FrameLine<'a> {
    /// Creates the line of a frame.
    pub(super) fn new(
        envelope: &'a Envelope,
        faces: &Faces,
        latency_ns: Option<u64>,
        changes: &'a [Change],
    ) -> Self {
        Self {
            stream: &envelope.stream.name,
            segment: envelope.segment,
            sequence: envelope.sequence,
            pts_ms: milliseconds(envelope.pts_ns.into()),
            latency_ms: latency_ns.map(|ns| milliseconds(ns.into())),
            detected: faces.detected,
            changes,
            faces: faces.faces.iter().map(FaceLine::from).collect(),
        }
    }
}
