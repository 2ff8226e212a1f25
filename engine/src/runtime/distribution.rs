//! A distribution of times: how many, their sum, and a histogram of them.

use hdrhistogram::Histogram;

use crate::report::Quantiles;

/// Takes no memory before the first time above zero.
#[derive(Default)]
pub(crate) struct Distribution {
    above_zero: Option<Box<Histogram<u64>>>,
    /// Times of nothing at all; most waits in a ring are.
    zeros: u64,
    sum_ns: u64,
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
        self.histogram().saturating_record(ns);
    }

    fn histogram(&mut self) -> &mut Histogram<u64> {
        self.above_zero.get_or_insert_with(|| {
            // Two significant digits: 1 % of the value, whatever its size up to an hour.
            let histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 2)
                .expect("the bounds are constants that hdrhistogram accepts");
            Box::new(histogram)
        })
    }

    /// Takes over what another one has recorded, which is empty then but keeps its memory.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        self.zeros += std::mem::take(&mut other.zeros);
        self.sum_ns += std::mem::take(&mut other.sum_ns);
        if let Some(theirs) = &mut other.above_zero
            && !theirs.is_empty()
        {
            // Equal bounds: adding cannot fail.
            let _ = self.histogram().add(&**theirs);
            theirs.reset();
        }
    }

    /// How many times have been recorded.
    pub(crate) fn count(&self) -> u64 {
        self.zeros
            + self
                .above_zero
                .as_ref()
                .map_or(0, |histogram| histogram.len())
    }

    /// Their sum.
    pub(crate) fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// How many are at most as long as each of these, which ascend.
    pub(crate) fn counts_up_to(&self, bounds_ns: &[u64]) -> Vec<u64> {
        let mut counts = vec![self.zeros; bounds_ns.len()];
        let recorded = self.above_zero.iter();
        for recorded in recorded.flat_map(|histogram| histogram.iter_recorded()) {
            let value = recorded.value_iterated_to();
            let first = bounds_ns.partition_point(|&bound| bound < value);
            if let Some(count) = counts.get_mut(first) {
                *count += recorded.count_since_last_iteration();
            }
        }
        for index in 1..counts.len() {
            // Until here each but the zeros was counted under its own bound alone.
            counts[index] += counts[index - 1] - self.zeros;
        }
        counts
    }

    /// Quantiles in milliseconds; zeros of them all without a record.
    pub(crate) fn quantiles(&self) -> Quantiles {
        let Some(histogram) = &self.above_zero else {
            return Quantiles::default();
        };
        let count = self.count() as f64;
        let at = |quantile: f64| {
            let rank = (quantile * count).ceil().max(1.0) - self.zeros as f64;
            if rank <= 0.0 {
                return 0.0;
            }
            let quantile = rank / histogram.len().max(1) as f64;
            histogram.value_at_quantile(quantile) as f64 / 1e6
        };
        Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!((49.0..52.0).contains(&one.p50), "{one:?}");
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
