//! How sure a metric is: confidence intervals and the comparison of two models on the same rows, by drawing rows with
//! replacement (Efron 1979; percentile intervals).

use serde::{Deserialize, Serialize};

use super::calibration_error::{Edges, error_of};
use super::{Row, macro_f1};
use crate::keyed_random::KeyedRandom;
use crate::predictions::Predictions;

/// A metric and the interval that holds it with this confidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Name of the metric: `accuracy`, `macro_f1`, `nll` or `ece`.
    pub metric: String,
    /// Of all rows.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Two models on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Second minus first, with intervals.
    pub differences: Vec<Interval>,
    /// Rows that only the first model gets right.
    pub only_first_right: u64,
    /// Rows that only the second model gets right.
    pub only_second_right: u64,
    /// Two-sided p of McNemar's exact test (1947) on those.
    pub mcnemar_p: f64,
}

/// The two have not the same rows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the predictions are not of the same rows: {0}")]
pub struct NotPaired(pub String);

const NAMES: [&str; 4] = ["accuracy", "macro_f1", "nll", "ece"];

fn measure(rows: &[Row], drawn: &[usize], classes: usize) -> [f64; 4] {
    let count = drawn.len() as f64;
    let picked = || drawn.iter().map(|&row| &rows[row]);
    let right = picked().filter(|row| row.is_right()).count() as f64;
    let confidences: Vec<(f64, bool)> = picked()
        .map(|row| (row.confidence(), row.is_right()))
        .collect();
    [
        right / count,
        macro_f1(picked(), classes),
        picked().map(|row| row.nll).sum::<f64>() / count,
        error_of(&confidences, Edges::Default),
    ]
}

fn interval(metric: &str, value: f64, mut drawn: Vec<f64>, confidence: f64) -> Interval {
    drawn.sort_by(f64::total_cmp);
    // Linear between the neighbours, as NumPy's `quantile`.
    let quantile = |q: f64| {
        let place = q * (drawn.len() - 1) as f64;
        let (below, share) = (place.floor() as usize, place.fract());
        let above = (below + 1).min(drawn.len() - 1);
        drawn[below] + share * (drawn[above] - drawn[below])
    };
    Interval {
        metric: metric.to_owned(),
        value,
        low: quantile((1.0 - confidence) / 2.0),
        high: quantile((1.0 + confidence) / 2.0),
    }
}

fn draw(seed: u64, sample: usize, count: usize) -> Vec<usize> {
    let mut random = KeyedRandom::new(&[seed, sample as u64]);
    (0..count)
        .map(|_| random.below(count as u64) as usize)
        .collect()
}

/// Intervals of accuracy, macro-F1, NLL and ECE. `samples` at least 2, `confidence` between 0 and 1; the same seed gives the
/// same intervals.
pub fn intervals(
    predictions: &Predictions,
    samples: usize,
    confidence: f64,
    seed: u64,
) -> Vec<Interval> {
    let rows = Row::all(predictions);
    let classes = predictions.classes().len();
    let all: Vec<usize> = (0..rows.len()).collect();
    let values = measure(&rows, &all, classes);
    let drawn: Vec<[f64; 4]> = (0..samples)
        .map(|sample| measure(&rows, &draw(seed, sample, rows.len()), classes))
        .collect();
    let each = NAMES.iter().enumerate();
    each.map(|(index, name)| {
        let drawn = drawn.iter().map(|values| values[index]).collect();
        interval(name, values[index], drawn, confidence)
    })
    .collect()
}

/// Compares two models on the same rows in the same order; see [`intervals`].
///
/// # Errors
/// Their rows, labels or classes differ.
pub fn compare(
    first: &Predictions,
    second: &Predictions,
    samples: usize,
    confidence: f64,
    seed: u64,
) -> Result<Comparison, NotPaired> {
    if first.classes() != second.classes() {
        let (one, other) = (first.classes().join(", "), second.classes().join(", "));
        return Err(NotPaired(format!("classes {one} and {other}")));
    }
    if first.len() != second.len() {
        return Err(NotPaired(format!(
            "{} and {} rows",
            first.len(),
            second.len()
        )));
    }
    let labels = first.labels().iter().zip(second.labels());
    if let Some(row) = labels.into_iter().position(|(one, other)| one != other) {
        return Err(NotPaired(format!("the labels of row {row} differ")));
    }
    let (one, other) = (Row::all(first), Row::all(second));
    let classes = first.classes().len();
    let difference = |drawn: &[usize]| {
        let (one, other) = (
            measure(&one, drawn, classes),
            measure(&other, drawn, classes),
        );
        [0, 1, 2, 3].map(|index| other[index] - one[index])
    };
    let all: Vec<usize> = (0..one.len()).collect();
    let values = difference(&all);
    let drawn: Vec<[f64; 4]> = (0..samples)
        .map(|sample| difference(&draw(seed, sample, all.len())))
        .collect();
    let differences = NAMES.iter().enumerate().map(|(index, name)| {
        let drawn = drawn.iter().map(|values| values[index]).collect();
        interval(name, values[index], drawn, confidence)
    });
    let only = |one: &[Row], other: &[Row]| {
        let rows = one.iter().zip(other);
        rows.filter(|(one, other)| one.is_right() && !other.is_right())
            .count() as u64
    };
    let (only_first_right, only_second_right) = (only(&one, &other), only(&other, &one));
    Ok(Comparison {
        differences: differences.collect(),
        only_first_right,
        only_second_right,
        mcnemar_p: binomial_two_sided(only_first_right, only_second_right),
    })
}

/// Probability that a fair coin falls at least as unevenly.
fn binomial_two_sided(one: u64, other: u64) -> f64 {
    let (few, all) = (one.min(other), one + other);
    let mut term = -(all as f64) * std::f64::consts::LN_2;
    let mut sum = 0.0;
    for k in 0..=few {
        sum += term.exp();
        term += ((all - k) as f64).ln() - ((k + 1) as f64).ln();
    }
    (2.0 * sum).min(1.0)
}
