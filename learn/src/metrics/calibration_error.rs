//! Calibration errors: how far confidences are from the share of correct predictions.

use serde::{Deserialize, Serialize};

use super::rows::Rows;
use crate::predictions::Predictions;

/// Number of bins of a reliability diagram.
pub const BINS: usize = 15;

/// Which edge belongs to a bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edges {
    /// (lo, hi]: gpleiss/temperature_scaling.
    Default,
    /// [lo, hi), with an extra bin for exactly 1: torchmetrics.
    Compat,
}

/// Bin of a reliability diagram.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// Number of rows whose confidence falls into it.
    pub count: u64,
    /// Mean confidence of these rows; 0 if there are none.
    pub confidence: f64,
    /// Share of these rows that are right; 0 if there are none.
    pub accuracy: f64,
}

/// Returns the sum of |accuracy − confidence| over the bins, weighted by their share of the rows.
pub fn calibration_error(predictions: &Predictions, edges: Edges) -> f64 {
    error_of(&pairs(&Rows::of(predictions)), edges)
}

/// Returns the data of a reliability diagram: 15 bins of equal width (lo, hi].
pub fn reliability(predictions: &Predictions) -> Vec<Bin> {
    reliability_of(&Rows::of(predictions))
}

pub(crate) fn reliability_of(rows: &Rows<'_>) -> Vec<Bin> {
    bins(&pairs(rows), Edges::Default)
}

/// Returns the confidence of each row, and whether its prediction is right.
pub(super) fn pairs(rows: &Rows<'_>) -> Vec<(f64, bool)> {
    (0..rows.len())
        .map(|row| (rows.confidence(row), rows.is_right(row)))
        .collect()
}

pub(super) fn error_of(pairs: &[(f64, bool)], edges: Edges) -> f64 {
    let weighted = bins(pairs, edges)
        .into_iter()
        .map(|bin| bin.count as f64 * (bin.accuracy - bin.confidence).abs());
    weighted.sum::<f64>() / pairs.len() as f64
}

/// Tolerance within which a confidence is on an edge. A softmax is off by a few units of 2⁻⁵³ to either side, depending
/// on a common shift of the logits, which must not change the result.
const ON_EDGE: f64 = 1e-11;

/// Returns the bin of a confidence, which is 0 to 1 up to rounding.
pub(super) fn place(confidence: f64, edges: Edges) -> usize {
    let bins = BINS as f64;
    let nearest = (confidence * bins).round();
    let is_edge = (confidence - nearest / bins).abs() <= ON_EDGE;
    let below = (confidence * bins).floor();
    match edges {
        Edges::Default if is_edge => (nearest as usize).saturating_sub(1).min(BINS - 1),
        Edges::Default => (below as usize).min(BINS - 1),
        Edges::Compat if is_edge => (nearest as usize).min(BINS),
        Edges::Compat => (below as usize).min(BINS),
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

/// Returns the error over 15 bins of equally many rows by rising confidence; the first bins get one row more where 15
/// does not divide their number.
pub(super) fn adaptive_error(rows: &Rows<'_>) -> f64 {
    let mut pairs = pairs(rows);
    // Confidences that differ only by rounding count as equal here too, so that rounding moves no row to another bin.
    let rounded = |confidence: f64| (confidence / ON_EDGE).round();
    pairs.sort_by(|one, other| {
        rounded(one.0)
            .total_cmp(&rounded(other.0))
            .then(one.1.cmp(&other.1))
    });
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

/// Returns the mean over the classes of the error of the class's probability, taken as the confidence that the label is
/// this class, over bins (lo, hi].
pub(super) fn classwise_error(rows: &Rows<'_>) -> f64 {
    let of_class = |class: usize| {
        let pairs: Vec<(f64, bool)> = (0..rows.len())
            .map(|row| (rows.probabilities(row)[class], rows.label(row) == class))
            .collect();
        error_of(&pairs, Edges::Default)
    };
    (0..rows.classes()).map(of_class).sum::<f64>() / rows.classes() as f64
}
