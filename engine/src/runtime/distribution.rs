//! A distribution of times: their count, sum and maximum, and a histogram by size.

use crate::report::Quantiles;

/// Base-2 logarithm of the number of steps that each doubling of the time is divided into, so that each time is known
/// to within 1 %.
const STEPS_LOG2: u32 = 7;
const STEPS: usize = 1 << STEPS_LOG2;
/// The longest time told apart, about 73 minutes; longer times count as this one.
const LONGEST_NS: u64 = (1 << 42) - 1;
const SIZES: usize = size_of(LONGEST_NS) + 1;

/// A histogram of times. It takes no heap memory before the first time above zero. Recording takes a handful of
/// instructions, since each node records two times for each packet; `hdrhistogram`, which divides times in the same
/// way, takes a hundred.
#[derive(Default)]
pub(crate) struct Distribution {
    /// Number of times of each size.
    above_zero: Option<Box<[u64; SIZES]>>,
    /// Number of times that are zero, as most waits in a ring are.
    zeros: u64,
    sum_ns: u64,
    longest_ns: u64,
}

/// Returns the size class of a time: the time itself below two times [`STEPS`], then [`STEPS`] classes for each
/// doubling.
#[inline]
const fn size_of(ns: u64) -> usize {
    let doublings = (ns | (2 * STEPS as u64 - 1)).ilog2() - STEPS_LOG2;
    doublings as usize * STEPS + (ns >> doublings) as usize
}

/// Returns the longest time of a size.
fn longest_of(size: usize) -> u64 {
    let doublings = (size / STEPS).saturating_sub(1);
    (((size - doublings * STEPS + 1) as u64) << doublings) - 1
}

impl Distribution {
    /// Records a time.
    #[inline]
    pub(crate) fn record(&mut self, ns: u64) {
        if ns == 0 {
            self.zeros += 1;
            return;
        }
        self.sum_ns += ns;
        self.longest_ns = self.longest_ns.max(ns);
        self.sizes()[size_of(ns.min(LONGEST_NS))] += 1;
    }

    #[inline]
    fn sizes(&mut self) -> &mut [u64; SIZES] {
        self.above_zero.get_or_insert_with(|| Box::new([0; SIZES]))
    }

    /// Moves the records of another distribution into this one. The other is empty afterwards but keeps its memory.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        self.zeros += std::mem::take(&mut other.zeros);
        self.sum_ns += std::mem::take(&mut other.sum_ns);
        let longest_ns = std::mem::take(&mut other.longest_ns);
        if let Some(theirs) = &mut other.above_zero
            && longest_ns > 0
        {
            self.longest_ns = self.longest_ns.max(longest_ns);
            let used = ..=size_of(longest_ns.min(LONGEST_NS));
            for (mine, theirs) in self.sizes()[used].iter_mut().zip(&mut theirs[used]) {
                *mine += std::mem::take(theirs);
            }
        }
    }

    /// Returns the number of recorded times.
    pub(crate) fn count(&self) -> u64 {
        let above_zero = self.recorded().map(|(_, count)| count);
        self.zeros + above_zero.sum::<u64>()
    }

    /// Returns their sum.
    pub(crate) fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Returns the times above zero, each as the longest time of its size, and their counts; ascending.
    fn recorded(&self) -> impl Iterator<Item = (u64, u64)> {
        let sizes = self.above_zero.iter().flat_map(|sizes| sizes.iter());
        let counted = sizes.enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(size, count)| (longest_of(size), *count))
    }

    /// Returns, for each of these ascending bounds, how many times do not exceed it.
    pub(crate) fn counts_up_to(&self, bounds_ns: &[u64]) -> Vec<u64> {
        let mut counts = vec![self.zeros; bounds_ns.len()];
        for (ns, count) in self.recorded() {
            let first = bounds_ns.partition_point(|&bound| bound < ns);
            if let Some(known) = counts.get_mut(first) {
                *known += count;
            }
        }
        for index in 1..counts.len() {
            // So far, each time above zero was counted only under its own bound.
            counts[index] += counts[index - 1] - self.zeros;
        }
        counts
    }

    /// Returns quantiles in milliseconds; all are zero if nothing was recorded.
    pub(crate) fn quantiles(&self) -> Quantiles {
        let count = self.count() as f64;
        let at = |quantile: f64| {
            let rank = (quantile * count).ceil().max(1.0) as u64;
            let mut seen = self.zeros;
            if rank <= seen {
                return 0.0;
            }
            let reached = self.recorded().find(|(_, count)| {
                seen += count;
                seen >= rank
            });
            let ns = reached.map_or(0, |(ns, _)| ns.min(self.longest_ns));
            ns as f64 / 1e6
        };
        Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.longest_ns as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_of_a_size_that_is_no_more_than_a_hundredth_longer(ns in 0..=LONGEST_NS) {
            let size = size_of(ns);
            let longest = longest_of(size);
            prop_assert!(longest >= ns && longest - ns <= ns / 100, "{ns} is of size {size}, up to {longest}");
            prop_assert_eq!(size_of(longest), size);
            prop_assert_eq!(size_of(longest + 1), size + 1);
        }
    }

    #[test]
    fn times_that_are_too_long_count_as_the_longest() {
        let mut times = Distribution::default();
        times.record(u64::MAX / 2);
        times.record(1);
        let bounds = [LONGEST_NS - 1, LONGEST_NS];
        assert_eq!(
            (times.count(), times.counts_up_to(&bounds)),
            (2, vec![1, 2])
        );
    }

    #[test]
    fn what_is_absorbed_has_the_quantiles_the_sum_and_the_count_of_all() {
        let (mut one, mut two, mut all) = <(Distribution, Distribution, Distribution)>::default();
        for ms in 1..=100u64 {
            all.record(ms * 1_000_000);
            let half = if ms % 2 == 0 { &mut one } else { &mut two };
            half.record(ms * 1_000_000);
        }
        one.absorb(&mut two);
        assert_eq!(
            (two.count(), two.sum_ns(), two.quantiles().max),
            (0, 0, 0.0)
        );
        assert_eq!((one.count(), one.sum_ns()), (100, 5_050_000_000));
        let (one, all) = (one.quantiles(), all.quantiles());
        assert_eq!((one.p50, one.p99, one.max), (all.p50, all.p99, all.max));
        assert!((50.0..50.5).contains(&one.p50), "{one:?}");
        assert_eq!(one.max, 100.0);
    }

    #[test]
    fn times_of_nothing_count_as_the_others_do() {
        let mut times = Distribution::default();
        (0..60).for_each(|_| times.record(0));
        assert_eq!((times.count(), times.quantiles().p50), (60, 0.0));
        (0..40).for_each(|_| times.record(2_000_000));
        let quantiles = times.quantiles();
        assert_eq!(quantiles.p50, 0.0);
        assert!((1.9..2.1).contains(&quantiles.p90), "{quantiles:?}");
        let bounds = [1_000_000, 3_000_000, 9_000_000];
        assert_eq!(times.counts_up_to(&bounds), [60, 100, 100]);
    }
}
