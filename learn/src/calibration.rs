//! Temperature scaling (Guo et al. 2017, <https://arxiv.org/abs/1706.04599>): divides logits by one number, fitted so
//! that the likelihood of the labels is largest. A temperature is fitted on validation rows and never on the rows it is
//! evaluated on.

use serde::{Deserialize, Serialize};

use crate::on_all_cores::in_pieces;
use crate::predictions::Predictions;

/// Lowest and highest temperature of the search.
pub const BOUNDS: (f64, f64) = (1e-3, 1e4);

/// A fitted temperature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// T.
    pub value: f64,
    /// Mean −ln p of the labels at T = 1.
    pub nll_before: f64,
    /// Mean −ln p of the labels at the fitted T.
    pub nll_after: f64,
    /// Whether the likelihood still rises at a bound: there is no optimal temperature (all rows right, or worse than
    /// chance).
    pub bound_hit: bool,
    /// Number of rows it was fitted on.
    pub rows: usize,
}

impl Temperature {
    /// Returns the divisor of the logits: T, or 1 if there is no optimal temperature.
    pub fn applied(&self) -> f64 {
        if self.bound_hit { 1.0 } else { self.value }
    }
}

/// Logits relative to the largest of their row: all that the likelihood at a temperature needs, computed once for all
/// temperatures.
struct Apart {
    /// Logit minus the row's largest, row after row.
    logits: Vec<f64>,
    /// Largest minus the label's logit, row after row.
    labels: Vec<f64>,
    classes: usize,
}

impl Apart {
    fn of(predictions: &Predictions) -> Self {
        let mut apart = Self {
            logits: Vec::with_capacity(predictions.len() * predictions.classes().len()),
            labels: Vec::with_capacity(predictions.len()),
            classes: predictions.classes().len(),
        };
        for (logits, label) in predictions.rows() {
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            apart.labels.push(largest - logits[label]);
            let below = logits.iter().map(|logit| logit - largest);
            apart.logits.extend(below);
        }
        apart
    }

    fn nll_at(&self, temperature: f64) -> f64 {
        let inverse = temperature.recip();
        let sums = in_pieces(self.labels.len(), PIECE, |piece| {
            let logits = &self.logits[piece.start * self.classes..piece.end * self.classes];
            let rows = logits.chunks_exact(self.classes).zip(&self.labels[piece]);
            let of_row = |(logits, label): (&[f64], &f64)| {
                let sum: f64 = logits.iter().map(|logit| (logit * inverse).exp()).sum();
                label * inverse + sum.ln()
            };
            rows.map(of_row).sum::<f64>()
        });
        sums.iter().sum::<f64>() / self.labels.len() as f64
    }
}

/// Rows that a core computes at once.
const PIECE: usize = 1 << 14;

/// Steps of ln T used to bracket the minimum.
const GRID: usize = 64;
/// Width of ln T at which the search ends.
const TOLERANCE: f64 = 1e-10;

/// Returns the temperature with the lowest NLL. The NLL is convex in 1/T, so that there is one minimum; it is bracketed
/// over all of [`BOUNDS`] and found by golden-section search over ln T.
pub fn fit_temperature(predictions: &Predictions) -> Temperature {
    let (low, high) = (BOUNDS.0.ln(), BOUNDS.1.ln());
    let apart = Apart::of(predictions);
    let at = |u: f64| apart.nll_at(u.exp());
    let step = (high - low) / GRID as f64;
    let grid: Vec<f64> = (0..=GRID).map(|index| low + step * index as f64).collect();
    let values: Vec<f64> = grid.iter().map(|&u| at(u)).collect();
    let best = (0..values.len())
        .min_by(|&one, &other| values[one].total_cmp(&values[other]))
        .unwrap_or(0);
    let (mut left, mut right) = (grid[best.saturating_sub(1)], grid[(best + 1).min(GRID)]);
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut one, mut other) = (
        right - ratio * (right - left),
        left + ratio * (right - left),
    );
    let (mut at_one, mut at_other) = (at(one), at(other));
    while right - left > TOLERANCE {
        if at_one <= at_other {
            (right, other, at_other) = (other, one, at_one);
            one = right - ratio * (right - left);
            at_one = at(one);
        } else {
            (left, one, at_one) = (one, other, at_other);
            other = left + ratio * (right - left);
            at_other = at(other);
        }
    }
    let mut u = (left + right) / 2.0;
    // Near a bound the likelihood may be flat to the last digit.
    let bound_hit = u - low < step || high - u < step;
    if bound_hit {
        u = if u - low < step { low } else { high };
    }
    Temperature {
        value: u.exp(),
        nll_before: apart.nll_at(1.0),
        nll_after: at(u),
        bound_hit,
        rows: predictions.len(),
    }
}

/// Why teachers cannot be fused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FusionError {
    /// No teachers, or not one weight and temperature for each.
    #[error(
        "{teachers} teachers, {weights} weights and {temperatures} temperatures; expected the same number of each, at least one"
    )]
    Counts {
        /// Number of teachers.
        teachers: usize,
        /// Number of weights.
        weights: usize,
        /// Number of temperatures.
        temperatures: usize,
    },
    /// A teacher with other rows or classes than the first.
    #[error("teacher {0} has other rows or classes than the first")]
    Rows(usize),
    /// A temperature of 0 or less, a negative weight, or weights that sum to 0; also values that are not finite.
    #[error("temperatures must be above 0, and weights at least 0 with a sum above 0")]
    Values,
}

/// Returns the fused logits Σ w_k z_k / T_k of teachers that predicted the same rows.
///
/// # Errors
/// See [`FusionError`].
pub fn fuse(
    teachers: &[Predictions],
    weights: &[f64],
    temperatures: &[f64],
) -> Result<Vec<f64>, FusionError> {
    if teachers.is_empty()
        || weights.len() != teachers.len()
        || temperatures.len() != teachers.len()
    {
        return Err(FusionError::Counts {
            teachers: teachers.len(),
            weights: weights.len(),
            temperatures: temperatures.len(),
        });
    }
    let are_good = weights
        .iter()
        .all(|&weight| weight >= 0.0 && weight.is_finite())
        && weights.iter().sum::<f64>() > 0.0
        && temperatures
            .iter()
            .all(|&temperature| temperature > 0.0 && temperature.is_finite());
    if !are_good {
        return Err(FusionError::Values);
    }
    let first = &teachers[0];
    for (index, teacher) in teachers.iter().enumerate() {
        // Rows with the same labels may be of other images.
        let mut hashes = teacher.hashes().into_iter().zip(first.hashes());
        if teacher.classes() != first.classes()
            || teacher.labels() != first.labels()
            || hashes.any(|(own, others)| own != others)
        {
            return Err(FusionError::Rows(index));
        }
    }
    let mut fused = vec![0.0; first.len() * first.classes().len()];
    for ((teacher, weight), temperature) in teachers.iter().zip(weights).zip(temperatures) {
        let logits = teacher.rows().flat_map(|(logits, _)| logits);
        add_fused(&mut fused, logits.copied(), *weight, *temperature);
    }
    Ok(fused)
}

/// Adds a teacher's term w z / T to the fused logits. The ensemble search and the export both use it, so that they
/// round alike.
pub fn add_fused(
    sums: &mut [f64],
    logits: impl IntoIterator<Item = f64>,
    weight: f64,
    temperature: f64,
) {
    let factor = weight / temperature;
    for (sum, logit) in sums.iter_mut().zip(logits) {
        *sum += factor * logit;
    }
}

#[cfg(test)]
mod tests;
