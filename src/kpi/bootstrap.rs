//! Bootstrap test of whether a difference exceeds noise: blocks of time are drawn with replacement (Künsch 1989;
//! percentile intervals), since neighbouring frames are strongly correlated.

use serde::Serialize;

/// Number of samples drawn.
const SAMPLES: u64 = 2_000;
/// Share of the samples within the interval.
const CONFIDENCE: f64 = 0.95;
/// Minimum number of blocks for a verdict: six fair coins fall alike with a probability of 3 %, five with 6 %.
pub(super) const LEAST_BLOCKS: usize = 6;
/// Share of the samples that must have a value.
const LEAST_KNOWN: f64 = 0.95;
const SEED: u64 = 13;

/// The verdict on a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Verdict {
    /// The second run has more, beyond noise.
    #[serde(rename = "more")]
    More,
    /// The second run has less, beyond noise.
    #[serde(rename = "less")]
    Less,
    /// The difference could be noise, or there are too few data.
    #[serde(rename = "cannot tell")]
    CannotTell,
}

/// An interval of a difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Interval {
    /// Returns the verdict: undecided if the interval contains 0.
    pub(super) fn verdict(self) -> Verdict {
        if self.low > 0.0 {
            Verdict::More
        } else if self.high < 0.0 {
            Verdict::Less
        } else {
            Verdict::CannotTell
        }
    }
}

/// Returns the interval of a value that is computed from how often each block counts. None with fewer than six blocks,
/// or if more than a twentieth of the samples have no value. Deterministic for the same blocks.
pub(super) fn interval(
    blocks: usize,
    mut value: impl FnMut(&[u32]) -> Option<f64>,
) -> Option<Interval> {
    if blocks < LEAST_BLOCKS {
        return None;
    }
    let mut random = SplitMix64(SEED);
    let mut counts = vec![0; blocks];
    let mut values = Vec::new();
    for _ in 0..SAMPLES {
        counts.fill(0);
        for _ in 0..blocks {
            counts[random.below(blocks)] += 1;
        }
        values.extend(value(&counts).filter(|value| value.is_finite()));
    }
    if (values.len() as f64) < LEAST_KNOWN * SAMPLES as f64 {
        return None;
    }
    values.sort_by(f64::total_cmp);
    // Interpolates linearly, like NumPy's `quantile`.
    let at = |share: f64| {
        let place = share * (values.len() - 1) as f64;
        let (below, rest) = (place.floor() as usize, place.fract());
        let above = (below + 1).min(values.len() - 1);
        values[below] + rest * (values[above] - values[below])
    };
    Some(Interval {
        low: at((1.0 - CONFIDENCE) / 2.0),
        high: at(f64::midpoint(1.0, CONFIDENCE)),
    })
}

/// A random number generator (Steele, Lea and Flood 2014), short and reproducible everywhere.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end` (Lemire's multiplication; the bias is below 2⁻⁴⁰ for any number of blocks that a
    /// run has).
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the interval of the mean, with one number per block.
    fn of(values: &[f64]) -> Option<Interval> {
        interval(values.len(), |counts| {
            let sum: f64 = values
                .iter()
                .zip(counts)
                .map(|(v, c)| v * f64::from(*c))
                .sum();
            Some(sum / values.len() as f64)
        })
    }

    #[test]
    fn few_blocks_say_nothing() {
        assert_eq!(of(&[5.0; 5]), None);
        assert_eq!(
            of(&[5.0; 6]),
            Some(Interval {
                low: 5.0,
                high: 5.0
            })
        );
        assert_eq!(interval(10, |_| None), None);
    }

    #[test]
    fn what_holds_zero_cannot_tell() {
        let verdict = |values: &[f64]| of(values).unwrap().verdict();
        assert_eq!(
            verdict(&[1.0, -1.0, 1.0, -1.0, 1.0, -1.0]),
            Verdict::CannotTell
        );
        assert_eq!(verdict(&[1.0, 2.0, 1.0, 2.0, 1.0, 2.0]), Verdict::More);
        assert_eq!(
            verdict(&[-1.0, -2.0, -1.0, -2.0, -1.0, -2.0]),
            Verdict::Less
        );
        assert_eq!(verdict(&[0.0; 8]), Verdict::CannotTell);
    }

    #[test]
    fn the_interval_is_about_two_standard_errors_wide_on_each_side() {
        // 50 times −1 and 50 times 1: the standard error of the mean is 0.1.
        let values: Vec<f64> = (0..100).map(|i| f64::from(i % 2) * 2.0 - 1.0).collect();
        let interval = of(&values).unwrap();
        assert!((interval.high - 0.196).abs() < 0.03, "{interval:?}");
        assert!((interval.low + 0.196).abs() < 0.03, "{interval:?}");
    }

    #[test]
    fn the_numbers_are_those_of_the_paper() {
        // The first outputs for the seed 1234567 of Vigna's splitmix64.c.
        let mut random = SplitMix64(1_234_567);
        let three: [u64; 3] = std::array::from_fn(|_| random.next());
        assert_eq!(
            three,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    proptest! {
        #[test]
        fn turning_the_difference_round_turns_the_interval_round(values in prop::collection::vec(-10.0..10.0_f64, 6..20)) {
            let there = of(&values).unwrap();
            let back = of(&values.iter().map(|v| -v).collect::<Vec<_>>()).unwrap();
            prop_assert!((there.low + back.high).abs() < 1e-9);
            prop_assert!((there.high + back.low).abs() < 1e-9);
        }
    }
}
