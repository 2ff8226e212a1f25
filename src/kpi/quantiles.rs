//! Quantiles, reported only with enough values.

use serde::{Deserialize, Serialize};

/// Quantiles of times in milliseconds. A quantile is null below the number of values that MLPerf's early stopping
/// requires at a confidence of 99 % (arXiv 1911.02549, appendix on query counts): p50 from 11 values, p90 from 64, p99
/// from 662, p99.9 from 6,636.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    /// Number of values.
    pub(crate) count: u64,
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    /// The largest value; null if there is none.
    pub(crate) max: Option<f64>,
}

/// Minimum number of values for each quantile.
const LEAST: [(f64, u64); 4] = [(0.5, 11), (0.9, 64), (0.99, 662), (0.999, 6_636)];

impl Quantiles {
    /// Computes quantiles of times in microseconds. A quantile is the smallest value that at least this share of all
    /// values does not exceed: a time that did occur.
    pub(super) fn of_us(times_us: &[i64]) -> Self {
        let mut sorted = times_us.to_vec();
        sorted.sort_unstable();
        let at = |(quantile, least): (f64, u64)| {
            let count = sorted.len();
            if (count as u64) < least {
                return None;
            }
            sorted.get(rank(quantile, count)).map(|us| *us as f64 / 1e3)
        };
        let [p50, p90, p99, p999] = LEAST.map(at);
        Self {
            count: sorted.len() as u64,
            p50,
            p90,
            p99,
            p999,
            max: sorted.last().map(|us| *us as f64 / 1e3),
        }
    }

    /// Takes over quantiles of a report, dropping those for which `count` values are too few.
    pub(super) fn of_told(told: &Told, count: u64) -> Self {
        let if_enough =
            |index: usize, value: Option<f64>| value.filter(|_| count >= LEAST[index].1);
        Self {
            count,
            p50: if_enough(0, told.p50),
            p90: if_enough(1, told.p90),
            p99: if_enough(2, told.p99),
            p999: if_enough(3, told.p999),
            max: told.max.filter(|_| count > 0),
        }
    }
}

/// Quantiles in a run's report, milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    max: Option<f64>,
}

/// Returns the index of a quantile among `count` sorted values.
pub(super) fn rank(quantile: f64, count: usize) -> usize {
    // 0.9 · 10 is 9.000000000000002 with some roundings, which must not add a whole rank.
    let rank = (quantile * count as f64 - 1e-9).ceil() as usize;
    rank.clamp(1, count.max(1)) - 1
}

/// Returns the median; the mean of the two middle values if their number is even. None if there are none.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(count: i64) -> Quantiles {
        let times: Vec<i64> = (1..=count).rev().map(|ms| ms * 1000).collect();
        Quantiles::of_us(&times)
    }

    #[test]
    fn too_few_values_have_no_quantile() {
        assert_eq!(of(0), Quantiles::default());
        assert_eq!((of(10).p50, of(10).max), (None, Some(10.0)));
        assert_eq!((of(11).p50, of(11).p90), (Some(6.0), None));
        assert_eq!((of(63).p90, of(64).p90), (None, Some(58.0)));
        assert_eq!((of(661).p99, of(662).p99), (None, Some(656.0)));
        assert_eq!((of(6635).p999, of(6636).p999), (None, Some(6630.0)));
    }

    #[test]
    fn ranks_are_exact_where_the_share_is_whole() {
        assert_eq!([rank(0.9, 10), rank(0.5, 2), rank(0.99, 100)], [8, 0, 98]);
        assert_eq!(
            [rank(0.9, 11), rank(0.5, 1), rank(0.999, 1000)],
            [9, 0, 998]
        );
    }

    #[test]
    fn a_median_of_two_is_between_them() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[4.0, 1.0, 9.0]), Some(4.0));
    }

    proptest! {
        #[test]
        fn a_quantile_is_a_value_with_its_share_below(times in prop::collection::vec(0..1_000_000_i64, 64..200)) {
            let p90 = Quantiles::of_us(&times).p90.unwrap();
            let not_above = times.iter().filter(|us| **us as f64 / 1e3 <= p90).count();
            let below = times.iter().filter(|us| (**us as f64 / 1e3) < p90).count();
            prop_assert!(not_above * 10 >= times.len() * 9);
            prop_assert!(below * 10 < times.len() * 9);
        }
    }
}
