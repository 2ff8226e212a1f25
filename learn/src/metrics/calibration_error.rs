//! How far confidences are from how often they are right.

use serde::{Deserialize, Serialize};

use super::Row;
use crate::predictions::Predictions;

/// Bins of a reliability diagram.
pub const BINS: usize = 15;

/// Which of its edges belongs to a bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edges {
    /// (lo, hi]: gpleiss/temperature_scaling.
    Default,
    /// [lo, hi), and a bin of its own for exactly 1: torchmetrics.
    Compat,
}

/// One bin of a reliability diagram.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// Rows whose confidence falls into it.
    pub count: u64,
    /// Their mean confidence; 0 if there are none.
    pub confidence: f64,
    /// Share of them that is right; 0 if there are none.
    pub accuracy: f64,
}

/// Sum of |accuracy − confidence| over the bins, weighted by their rows.
pub fn calibration_error(predictions: &Predictions, edges: Edges) -> f64 {
    let rows = Row::all(predictions);
    error_of(&pairs(&rows), edges)
}

/// The data of a reliability diagram: 15 bins of equal width (lo, hi].
pub fn reliability(predictions: &Predictions) -> Vec<Bin> {
    let rows = Row::all(predictions);
    bins(&pairs(&rows), Edges::Default)
}

/// Confidence, and whether the row is right.
pub(super) fn pairs(rows: &[Row]) -> Vec<(f64, bool)> {
    rows.iter()
        .map(|row| (row.confidence(), row.is_right()))
        .collect()
}

pub(super) fn error_of(pairs: &[(f64, bool)], edges: Edges) -> f64 {
    let weighted = bins(pairs, edges)
        .into_iter()
        .map(|bin| bin.count as f64 * (bin.accuracy - bin.confidence).abs());
    weighted.sum::<f64>() / pairs.len() as f64
}

/// The bin of a confidence. Edges are i / 15 as f64, so that a confidence which is exactly an edge is recognised.
fn place(confidence: f64, edges: Edges) -> usize {
    let edge = |index: usize| index as f64 / BINS as f64;
    match edges {
        Edges::Default => {
            let after = (0..BINS).find(|&bin| confidence <= edge(bin + 1));
            // A sum of rounded probabilities may exceed 1 by the last digit.
            after.unwrap_or(BINS - 1)
        }
        Edges::Compat => (0..BINS)
            .find(|&bin| confidence < edge(bin + 1))
            .unwrap_or(BINS),
    }
}

fn bins(pairs: &[(f64, bool)], edges: Edges) -> Vec<Bin> {
    let count = match edges {
        Edges::Default => BINS,
        Edges::Compat => BINS + 1,
    };
    let mut bins: Vec<Bin> = (0..count)
        .map(|index| Bin {
            low: (index as f64 / BINS as f64).min(1.0),
            high: ((index + 1) as f64 / BINS as f64).min(1.0),
            ..Bin::default()
        })
        .collect();
    for &(confidence, is_right) in pairs {
        let bin = &mut bins[place(confidence, edges)];
        bin.count += 1;
        bin.confidence += confidence;
        bin.accuracy += f64::from(u8::from(is_right));
    }
    for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
        bin.confidence /= bin.count as f64;
        bin.accuracy /= bin.count as f64;
    }
    bins
}

/// The error over 15 bins of equally many rows by rising confidence; the first bins get one more where 15 does not divide their number.
pub fn adaptive_calibration_error(predictions: &Predictions) -> f64 {
    let rows = Row::all(predictions);
    let mut pairs = pairs(&rows);
    pairs.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let count = pairs.len();
    let bins = BINS.min(count);
    let mut rest = &pairs[..];
    let mut sum = 0.0;
    for bin in 0..bins {
        let size = count / bins + usize::from(bin < count % bins);
        let (here, after) = rest.split_at(size);
        rest = after;
        let confidence: f64 = here.iter().map(|pair| pair.0).sum();
        let right = here.iter().filter(|pair| pair.1).count() as f64;
        sum += (right - confidence).abs();
    }
    sum / count as f64
}

/// For each class the error of its probability as a confidence that the label is this class, over bins (lo, hi]; the mean over the
/// classes.
pub fn classwise_calibration_error(predictions: &Predictions) -> f64 {
    let rows = Row::all(predictions);
    let classes = predictions.classes().len();
    let of_class = |class: usize| {
        let pairs: Vec<(f64, bool)> = rows
            .iter()
            .map(|row| (row.probabilities[class], row.label == class))
            .collect();
        error_of(&pairs, Edges::Default)
    };
    (0..classes).map(of_class).sum::<f64>() / classes as f64
}
