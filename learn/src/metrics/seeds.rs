//! Metrics of a network trained several times with different seeds: mean, spread and confidence interval.

use serde::{Deserialize, Serialize};

use super::bootstrap::{Interval, intervals_of};
use super::samples::{Drawn, NAMES, Values};
use crate::keyed_random::KeyedRandom;

/// Metric over several trainings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedMetric {
    /// Mean over the trainings, with its interval: rows and trainings are drawn with replacement.
    pub mean: Interval,
    /// Standard deviation over the trainings (with n − 1); `None` for a single training.
    pub deviation: Option<f64>,
}

/// Mean over trainings that were measured on the same samples of rows.
pub(crate) struct SeedMean {
    drawn: Drawn,
    deviations: Option<Values>,
}

impl SeedMean {
    /// Returns the mean of at least one training. `key` draws the trainings of each sample.
    pub(crate) fn of(trainings: &[&Drawn], key: [u64; 2]) -> Self {
        let count = trainings.len() as f64;
        let mean = |values: &mut dyn Iterator<Item = Values>| -> Values {
            let mut sums = Values::default();
            for values in values {
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += value;
                }
            }
            sums.map(|sum| sum / count)
        };
        let all = mean(&mut trainings.iter().map(|training| training.all));
        let samples = (0..trainings[0].samples.len()).map(|sample| {
            let mut random = KeyedRandom::new(&[key[0], key[1], sample as u64]);
            let drawn = trainings.iter().map(|_| {
                let which = random.below(trainings.len() as u64) as usize;
                trainings[which].samples[sample]
            });
            mean(&mut { drawn })
        });
        let samples = samples.collect();
        let deviations = (trainings.len() > 1).then(|| {
            std::array::from_fn(|index| {
                let squares = trainings
                    .iter()
                    .map(|t| (t.all[index] - all[index]).powi(2));
                (squares.sum::<f64>() / (count - 1.0)).sqrt()
            })
        });
        Self {
            drawn: Drawn { all, samples },
            deviations,
        }
    }

    /// Returns mean and deviation of accuracy, macro-F1, NLL, Brier score and ECE.
    pub(crate) fn metrics(&self, confidence: f64) -> Vec<SeedMetric> {
        let means = intervals_of(&self.drawn, confidence).into_iter();
        let metric = |(index, mean)| SeedMetric {
            mean,
            deviation: self.deviations.map(|deviations| deviations[index]),
        };
        debug_assert_eq!(means.len(), NAMES.len());
        means.enumerate().map(metric).collect()
    }

    /// Returns this mean minus another on the same samples of rows.
    pub(crate) fn minus(&self, other: &Self, confidence: f64) -> Vec<Interval> {
        intervals_of(&self.drawn.minus(&other.drawn), confidence)
    }
}
