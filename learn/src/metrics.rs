//! Metrics of predictions, in f64: accuracy, F1, confusion, likelihood, Brier score and calibration errors. Owns the
//! formulas; temperatures are fitted in [`crate::calibration`].
//!
//! Confidence is the largest softmax probability, and the prediction is its class; of equal ones the first, as NumPy's
//! `argmax`.

mod bootstrap;
mod calibration_error;
mod rows;
mod samples;
mod seeds;

use serde::{Deserialize, Serialize};

pub use self::bootstrap::{Comparison, Interval, NotPaired, compare, intervals};
pub(crate) use self::bootstrap::{are_paired, compare_drawn, intervals_of};
pub(crate) use self::calibration_error::reliability_of;
pub use self::calibration_error::{BINS, Bin, Edges, calibration_error, reliability};
use self::calibration_error::{adaptive_error, classwise_error, error_of, pairs};
pub(crate) use self::rows::Rows;
use self::rows::brier;
pub use self::rows::{argmax, softmax};
pub(crate) use self::samples::{Drawn, draw};
pub(crate) use self::seeds::SeedMean;
pub use self::seeds::SeedMetric;
use crate::predictions::Predictions;

/// Metrics of predictions over K classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Share of rows whose prediction is the label.
    pub accuracy: f64,
    /// Mean F1 over all K classes, including absent ones.
    pub macro_f1: f64,
    /// Mean −ln p of the label.
    pub nll: f64,
    /// Mean Σ (p − y)², 0 to 2 (Brier 1950).
    pub brier: f64,
    /// Expected calibration error, 15 bins of equal width (lo, hi] (Guo et al. 2017).
    pub ece: f64,
    /// ECE over bins [lo, hi), where a confidence of exactly 1 falls into a bin of its own: torchmetrics' value.
    pub ece_compat: f64,
    /// ECE over 15 bins with equally many rows (Nguyen and O'Connor 2015).
    pub ece_adaptive: f64,
    /// Mean over the classes of the calibration error of each class's probability (Kull et al. 2019).
    pub ece_classwise: f64,
    /// Metrics of each class, in the order of the classes.
    pub per_class: Vec<ClassMetrics>,
    /// Confusion matrix: rows by label, columns by prediction.
    pub confusion: Vec<Vec<u64>>,
}

/// Metrics of one class; where they would divide by zero they are 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Name of the class.
    pub class: String,
    /// Number of rows with this label.
    pub support: u64,
    /// Share of the rows predicted as this class that have this label.
    pub precision: f64,
    /// Share of the rows with this label that are predicted as this class.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
}

impl Metrics {
    /// Measures predictions.
    pub fn of(predictions: &Predictions) -> Self {
        Self::of_rows(&Rows::of(predictions))
    }

    pub(crate) fn of_rows(rows: &Rows<'_>) -> Self {
        let count = rows.len() as f64;
        let confusion = confusion(rows);
        let right: u64 = (0..rows.classes())
            .map(|class| confusion[class][class])
            .sum();
        let per_class = per_class(&confusion, rows.predictions.classes());
        Self {
            accuracy: right as f64 / count,
            macro_f1: per_class.iter().map(|class| class.f1).sum::<f64>() / per_class.len() as f64,
            nll: rows.nll.iter().sum::<f64>() / count,
            brier: (0..rows.len()).map(|row| brier(rows, row)).sum::<f64>() / count,
            ece: error_of(&pairs(rows), Edges::Default),
            ece_compat: error_of(&pairs(rows), Edges::Compat),
            ece_adaptive: adaptive_error(rows),
            ece_classwise: classwise_error(rows),
            per_class,
            confusion,
        }
    }
}

fn confusion(rows: &Rows<'_>) -> Vec<Vec<u64>> {
    let mut counts = vec![vec![0; rows.classes()]; rows.classes()];
    for row in 0..rows.len() {
        counts[rows.label(row)][rows.predicted[row]] += 1;
    }
    counts
}

fn per_class(confusion: &[Vec<u64>], names: &[String]) -> Vec<ClassMetrics> {
    let ratio = |part: u64, whole: u64| {
        if whole == 0 {
            0.0
        } else {
            part as f64 / whole as f64
        }
    };
    let each = names.iter().enumerate();
    each.map(|(class, name)| {
        let hits = confusion[class][class];
        let support = confusion[class].iter().sum();
        let predicted: u64 = confusion.iter().map(|row| row[class]).sum();
        ClassMetrics {
            class: name.clone(),
            support,
            precision: ratio(hits, predicted),
            recall: ratio(hits, support),
            f1: ratio(2 * hits, support + predicted),
        }
    })
    .collect()
}

#[cfg(test)]
mod tests;
