//! How sure a metric is: confidence intervals and the comparison of two models on the same rows, by drawing rows with
//! replacement (Efron 1979; percentile intervals).

use serde::{Deserialize, Serialize};

use super::calibration_error::{BINS, Edges, place};
use super::rows::{Rows, brier};
use crate::keyed_random::KeyedRandom;
use crate::on_all_cores::in_pieces;
use crate::predictions::Predictions;

/// A metric and the interval that holds it with this confidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Name of the metric: `accuracy`, `macro_f1`, `nll`, `brier` or `ece`.
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

const NAMES: [&str; 5] = ["accuracy", "macro_f1", "nll", "brier", "ece"];

/// One value of each of [`NAMES`].
type Values = [f64; NAMES.len()];

/// What a sample's metrics need of a row.
#[derive(Clone, Copy)]
struct Sampled {
    nll: f64,
    brier: f64,
    confidence: f64,
    /// Label · classes + prediction.
    cell: u32,
    /// Of the calibration error.
    bin: u32,
}

/// A model's rows, small and in order: a sample reads all of them once, front to back.
struct Sample {
    rows: Vec<Sampled>,
    classes: usize,
}

impl Sample {
    fn of(rows: &Rows<'_>) -> Self {
        let classes = rows.classes();
        let sampled = |row: usize| Sampled {
            nll: rows.nll[row],
            brier: brier(rows, row),
            confidence: rows.confidence(row),
            cell: (rows.label(row) * classes + rows.predicted[row]) as u32,
            bin: place(rows.confidence(row), Edges::Default) as u32,
        };
        Self {
            rows: (0..rows.len()).map(sampled).collect(),
            classes,
        }
    }

    /// Accuracy, macro-F1, NLL, Brier score and calibration error of the rows, each as many times as it counts.
    fn measure(&self, counts: &[u16]) -> Values {
        let mut cells = vec![0u64; self.classes * self.classes];
        let mut bins = [(0u64, 0.0); BINS];
        let (mut nll, mut brier) = (0.0, 0.0);
        for (row, &count) in self.rows.iter().zip(counts) {
            let times = f64::from(count);
            nll += times * row.nll;
            brier += times * row.brier;
            cells[row.cell as usize] += u64::from(count);
            let bin = &mut bins[row.bin as usize];
            bin.1 += times * row.confidence;
            let is_right = (row.cell as usize).is_multiple_of(self.classes + 1);
            bin.0 += if is_right { u64::from(count) } else { 0 };
        }
        let all = cells.iter().sum::<u64>() as f64;
        let hits = |class: usize| cells[class * (self.classes + 1)];
        let right: u64 = (0..self.classes).map(hits).sum();
        let f1 = (0..self.classes).map(|class| {
            let of_label = &cells[class * self.classes..(class + 1) * self.classes];
            let of_prediction = (0..self.classes).map(|label| cells[label * self.classes + class]);
            let both = of_label.iter().sum::<u64>() + of_prediction.sum::<u64>();
            if both == 0 {
                0.0
            } else {
                2.0 * hits(class) as f64 / both as f64
            }
        });
        let error = bins
            .iter()
            .map(|&(right, confidence)| (right as f64 - confidence).abs());
        [
            right as f64 / all,
            f1.sum::<f64>() / self.classes as f64,
            nll / all,
            brier / all,
            error.sum::<f64>() / all,
        ]
    }
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

/// From so many rows on, how often a row is drawn does not depend on the others (Poisson with mean 1: Hanley and MacGibbon 2006; the number of rows
/// of a sample then varies by 1/√N, 0.3 % and less). Drawing row by row would touch memory at random a thousand times for each row.
const MANY: usize = 1 << 17;

/// How often each row is drawn in a sample of as many rows.
fn draw(seed: u64, sample: usize, counts: &mut [u16]) {
    let mut random = KeyedRandom::new(&[seed, sample as u64]);
    if counts.len() >= MANY {
        draw_each(&mut random, counts);
        return;
    }
    counts.fill(0);
    for _ in 0..counts.len() {
        let row = random.below(counts.len() as u64) as usize;
        counts[row] = counts[row].saturating_add(1);
    }
}

/// Counts of a Poisson distribution with mean 1, each from 16 random bits: its probabilities are right to 1/65,536.
fn draw_each(random: &mut KeyedRandom, counts: &mut [u16]) {
    // How many of 65,536 numbers stand for at most 0, 1, 2, …
    const AT_MOST: [u32; 8] = [
        24_109, 48_219, 60_273, 64_292, 65_296, 65_497, 65_531, 65_535,
    ];
    for four in counts.chunks_mut(4) {
        let mut bits = random.bits();
        for count in four {
            let number = (bits & 0xffff) as u32;
            bits >>= 16;
            *count = AT_MOST.iter().map(|&most| u16::from(number >= most)).sum();
        }
    }
}

/// Samples that a core draws at a time.
const PIECE: usize = 8;

/// What is measured of all rows, and of each sample.
fn sampled(
    rows: usize,
    samples: usize,
    seed: u64,
    measure: impl Fn(&[u16]) -> Values + Sync,
) -> (Values, Vec<Values>) {
    let pieces = in_pieces(samples, PIECE, |piece| {
        let mut counts = vec![0; rows];
        let each = piece.map(|sample| {
            draw(seed, sample, &mut counts);
            measure(&counts)
        });
        each.collect::<Vec<_>>()
    });
    (measure(&vec![1; rows]), pieces.concat())
}

fn intervals_from((values, drawn): &(Values, Vec<Values>), confidence: f64) -> Vec<Interval> {
    let each = NAMES.iter().enumerate();
    each.map(|(index, name)| {
        let drawn = drawn.iter().map(|values| values[index]).collect();
        interval(name, values[index], drawn, confidence)
    })
    .collect()
}

/// Intervals of accuracy, macro-F1, NLL, Brier score and ECE. `samples` at least 2, `confidence` between 0 and 1; the same seed gives the
/// same intervals.
pub fn intervals(
    predictions: &Predictions,
    samples: usize,
    confidence: f64,
    seed: u64,
) -> Vec<Interval> {
    intervals_of(&Rows::of(predictions), samples, confidence, seed)
}

pub(crate) fn intervals_of(
    rows: &Rows<'_>,
    samples: usize,
    confidence: f64,
    seed: u64,
) -> Vec<Interval> {
    let sample = Sample::of(rows);
    let measured = sampled(rows.len(), samples, seed, |counts| sample.measure(counts));
    intervals_from(&measured, confidence)
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
    compare_rows(
        &Rows::of(first),
        &Rows::of(second),
        samples,
        confidence,
        seed,
    )
}

pub(crate) fn compare_rows(
    first: &Rows<'_>,
    second: &Rows<'_>,
    samples: usize,
    confidence: f64,
    seed: u64,
) -> Result<Comparison, NotPaired> {
    are_paired(first.predictions, second.predictions)?;
    let (one, other) = (Sample::of(first), Sample::of(second));
    let measured = sampled(first.len(), samples, seed, |counts| {
        let (one, other) = (one.measure(counts), other.measure(counts));
        std::array::from_fn(|index| other[index] - one[index])
    });
    let only = |one: &Rows<'_>, other: &Rows<'_>| {
        let rows = 0..one.len();
        rows.filter(|&row| one.is_right(row) && !other.is_right(row))
            .count() as u64
    };
    let (only_first_right, only_second_right) = (only(first, second), only(second, first));
    Ok(Comparison {
        differences: intervals_from(&measured, confidence),
        only_first_right,
        only_second_right,
        mcnemar_p: binomial_two_sided(only_first_right, only_second_right),
    })
}

/// Whether two models were asked about the same rows in the same order, as far as they tell.
fn are_paired(first: &Predictions, second: &Predictions) -> Result<(), NotPaired> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rows_are_drawn_as_poisson_says() {
        let mut counts = vec![0; MANY];
        draw(3, 0, &mut counts);
        let share = |wanted: u16| {
            counts.iter().filter(|&&count| count == wanted).count() as f64 / MANY as f64
        };
        let mut expected = (-1f64).exp();
        for count in 0..6 {
            // Five standard deviations.
            let near = 5.0 * (expected / MANY as f64).sqrt();
            assert!(
                (share(count) - expected).abs() < near,
                "{count}: {}",
                share(count)
            );
            expected /= f64::from(count + 1);
        }
        let mut other = vec![0; MANY];
        draw(3, 1, &mut other);
        assert_ne!(counts, other);
    }

    /// Of so many rows both ways of drawing give intervals of one width.
    #[test]
    fn both_ways_of_drawing_give_the_same_intervals() {
        let rows = MANY;
        let mut random = KeyedRandom::new(&[4]);
        let logits = (0..2 * rows).map(|_| random.normal()).collect();
        let labels: Vec<i64> = (0..rows).map(|_| random.below(2) as i64).collect();
        let classes = vec!["a".to_owned(), "b".to_owned()];
        let all = Predictions::new(classes.clone(), logits, &labels).unwrap();
        // One row less is drawn row by row.
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
