//! What predictions are measured by, in f64: accuracy, F1, confusion, likelihood, Brier score and calibration errors. Owns the
//! formulas; temperatures are fitted in [`crate::calibration`].
//!
//! Confidence is the largest softmax probability, the prediction its class; among equals the first class, as NumPy's `argmax`.

mod bootstrap;
mod calibration_error;

use serde::{Deserialize, Serialize};

pub use self::bootstrap::{Comparison, Interval, NotPaired, compare, intervals};
pub use self::calibration_error::{
    BINS, Bin, Edges, adaptive_calibration_error, calibration_error, classwise_calibration_error,
    reliability,
};
use crate::predictions::Predictions;

/// Log of the softmax of a row, stable at any scale: z − max − ln Σ exp(z − max).
pub fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    let normaliser = largest + sum.ln();
    logits.iter().map(|logit| logit - normaliser).collect()
}

/// The class with the largest value, the first among equals.
pub fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// What is measured of a row once, for all metrics.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) probabilities: Vec<f64>,
    pub(crate) predicted: usize,
    pub(crate) label: usize,
    /// −ln p of the label.
    pub(crate) nll: f64,
}

impl Row {
    pub(crate) fn all(predictions: &Predictions) -> Vec<Self> {
        let of = |(logits, label): (&[f64], usize)| {
            let logs = log_softmax(logits);
            Self {
                predicted: argmax(logits),
                label,
                nll: -logs[label],
                probabilities: logs.iter().map(|log| log.exp()).collect(),
            }
        };
        predictions.rows().map(of).collect()
    }

    pub(crate) fn confidence(&self) -> f64 {
        self.probabilities[self.predicted]
    }

    pub(crate) fn is_right(&self) -> bool {
        self.predicted == self.label
    }
}

/// Metrics of predictions over K classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Share of rows whose prediction is the label.
    pub accuracy: f64,
    /// Mean F1 of all K classes, absent ones too.
    pub macro_f1: f64,
    /// Mean −ln p of the label.
    pub nll: f64,
    /// Mean Σ (p − y)², 0 to 2 (Brier 1950).
    pub brier: f64,
    /// Expected calibration error, 15 bins of equal width (lo, hi] (Guo et al. 2017).
    pub ece: f64,
    /// The same over [lo, hi), where a confidence of exactly 1 falls into a bin of its own: torchmetrics' value.
    pub ece_compat: f64,
    /// Over 15 bins of equally many rows (Nguyen and O'Connor 2015).
    pub ece_adaptive: f64,
    /// Mean over the classes of the error of each class's probability (Kull et al. 2019).
    pub ece_classwise: f64,
    /// In the order of the classes.
    pub per_class: Vec<ClassMetrics>,
    /// Rows by label, columns by prediction.
    pub confusion: Vec<Vec<u64>>,
}

/// Metrics of one class; what would divide by zero is 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Its name.
    pub class: String,
    /// Rows with this label.
    pub support: u64,
    /// Share of the rows predicted as this class that are.
    pub precision: f64,
    /// Share of the rows of this class that are predicted as it.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

impl Metrics {
    /// Measures predictions.
    pub fn of(predictions: &Predictions) -> Self {
        let rows = Row::all(predictions);
        let count = rows.len() as f64;
        let confusion = confusion(&rows, predictions.classes().len());
        let per_class = per_class(&confusion, predictions.classes());
        Self {
            accuracy: rows.iter().filter(|row| row.is_right()).count() as f64 / count,
            macro_f1: per_class.iter().map(|class| class.f1).sum::<f64>() / per_class.len() as f64,
            nll: rows.iter().map(|row| row.nll).sum::<f64>() / count,
            brier: rows.iter().map(brier).sum::<f64>() / count,
            ece: calibration_error(predictions, Edges::Default),
            ece_compat: calibration_error(predictions, Edges::Compat),
            ece_adaptive: adaptive_calibration_error(predictions),
            ece_classwise: classwise_calibration_error(predictions),
            per_class,
            confusion,
        }
    }
}

fn brier(row: &Row) -> f64 {
    let classes = row.probabilities.iter().enumerate();
    classes
        .map(|(class, p)| {
            let y = if class == row.label { 1.0 } else { 0.0 };
            (p - y) * (p - y)
        })
        .sum()
}

fn confusion(rows: &[Row], classes: usize) -> Vec<Vec<u64>> {
    let mut counts = vec![vec![0; classes]; classes];
    for row in rows {
        counts[row.label][row.predicted] += 1;
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

/// Macro-F1 of some rows, which may come more than once.
pub(crate) fn macro_f1<'a>(rows: impl Iterator<Item = &'a Row>, classes: usize) -> f64 {
    let (mut hits, mut sums) = (vec![0u64; classes], vec![0u64; classes]);
    for row in rows {
        hits[row.label] += u64::from(row.is_right());
        sums[row.label] += 1;
        sums[row.predicted] += 1;
    }
    let f1 = hits.iter().zip(&sums).map(|(&hits, &sum)| {
        if sum == 0 {
            0.0
        } else {
            2.0 * hits as f64 / sum as f64
        }
    });
    f1.sum::<f64>() / classes as f64
}

#[cfg(test)]
mod tests;
