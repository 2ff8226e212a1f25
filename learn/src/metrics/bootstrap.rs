//! Uncertainty of metrics: confidence intervals and the comparison of two models on the same rows, by drawing rows with
//! replacement (Efron 1979; percentile intervals).

use serde::{Deserialize, Serialize};

use super::rows::Rows;
use super::samples::{Drawn, NAMES, draw};
use crate::predictions::Predictions;

/// Metric with its confidence interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Name of the metric: `accuracy`, `macro_f1`, `nll`, `brier` or `ece`.
    pub metric: String,
    /// Value over all rows.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Comparison of two models on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Second minus first, with intervals.
    pub differences: Vec<Interval>,
    /// Number of rows that only the first model gets right.
    pub only_first_right: u64,
    /// Number of rows that only the second model gets right.
    pub only_second_right: u64,
    /// Two-sided p of McNemar's exact test (1947) on those rows.
    pub mcnemar_p: f64,
}

/// Predictions that are not of the same rows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the predictions are not of the same rows: {0}")]
pub struct NotPaired(pub String);

fn interval(metric: &str, value: f64, mut drawn: Vec<f64>, confidence: f64) -> Interval {
    drawn.sort_by(f64::total_cmp);
    // Linear between neighbours, as NumPy's `quantile`.
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

/// Returns the intervals of the metrics of drawn samples.
pub(crate) fn intervals_of(drawn: &Drawn, confidence: f64) -> Vec<Interval> {
    let each = NAMES.iter().enumerate();
    each.map(|(index, name)| {
        let samples = drawn.samples.iter().map(|values| values[index]).collect();
        interval(name, drawn.all[index], samples, confidence)
    })
    .collect()
}

/// Returns the intervals of accuracy, macro-F1, NLL, Brier score and ECE. `samples` must be at least 2, `confidence`
/// between 0 and 1; the same seed gives the same intervals.
pub fn intervals(
    predictions: &Predictions,
    samples: usize,
    confidence: f64,
    seed: u64,
) -> Vec<Interval> {
    let drawn = draw(&[&Rows::of(predictions)], samples, seed);
    intervals_of(&drawn[0], confidence)
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
    are_paired(first, second)?;
    let (first, second) = (Rows::of(first), Rows::of(second));
    let drawn = draw(&[&first, &second], samples, seed);
    Ok(compare_drawn(
        (&first, &drawn[0]),
        (&second, &drawn[1]),
        confidence,
    ))
}

/// Compares two models that were measured on the same samples of the same rows.
pub(crate) fn compare_drawn(
    (first, first_drawn): (&Rows<'_>, &Drawn),
    (second, second_drawn): (&Rows<'_>, &Drawn),
    confidence: f64,
) -> Comparison {
    let only = |one: &Rows<'_>, other: &Rows<'_>| {
        let rows = 0..one.len();
        rows.filter(|&row| one.is_right(row) && !other.is_right(row))
            .count() as u64
    };
    let (only_first_right, only_second_right) = (only(first, second), only(second, first));
    Comparison {
        differences: intervals_of(&second_drawn.minus(first_drawn), confidence),
        only_first_right,
        only_second_right,
        mcnemar_p: binomial_two_sided(only_first_right, only_second_right),
    }
}

/// Checks that two models predicted the same rows in the same order, as far as the predictions show it.
pub(crate) fn are_paired(first: &Predictions, second: &Predictions) -> Result<(), NotPaired> {
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
    if let (Some(one), Some(other)) = (first.hashes(), second.hashes())
        && let Some(row) = one.iter().zip(other).position(|(one, other)| one != other)
    {
        return Err(NotPaired(format!("row {row} is another image")));
    }
    Ok(())
}

/// Returns the probability that fair coin tosses split at least as unevenly.
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

#[cfg(test)]
mod tests {
    use super::super::samples::MANY;
    use super::*;
    use crate::keyed_random::KeyedRandom;

    /// With this many rows, both ways of drawing give intervals of the same width.
    #[test]
    fn both_ways_of_drawing_give_the_same_intervals() {
        let rows = MANY;
        let mut random = KeyedRandom::new(&[4]);
        let logits = (0..2 * rows).map(|_| random.normal()).collect();
        let labels: Vec<i64> = (0..rows).map(|_| random.below(2) as i64).collect();
        let classes = vec!["a".to_owned(), "b".to_owned()];
        let all = Predictions::new(classes.clone(), logits, &labels).unwrap();
        // With one row less, each row is drawn individually.
        let less: Vec<f64> = all
            .rows()
            .take(rows - 1)
            .flat_map(|row| row.0.to_vec())
            .collect();
        let less = Predictions::new(classes, less, &labels[..rows - 1]).unwrap();
        let [all, less] = [all, less].map(|p| intervals(&p, 300, 0.95, 0));
        for (one, other) in all.iter().zip(&less) {
            let ratio = (one.high - one.low) / (other.high - other.low);
            assert!((0.8..1.25).contains(&ratio), "{}: {ratio}", one.metric);
        }
    }
}
