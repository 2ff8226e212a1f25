//! A distribution of times: a histogram while it grows, its quantiles once it is closed, since runs may have many streams
//! that have ended.

use hdrhistogram::Histogram;

use crate::report::Quantiles;

#[derive(Default)]
pub(crate) enum Distribution {
    /// Nothing has been recorded, and no memory taken.
    #[default]
    Empty,
    Open(Box<Histogram<u64>>),
    Closed(Quantiles),
}

impl Distribution {
    /// Records a time. A closed distribution takes no more.
    pub(crate) fn record(&mut self, ns: u64) {
        match self {
            Self::Open(histogram) => histogram.saturating_record(ns),
            _ => self.record_many(ns, 1),
        }
    }

    /// Records the same time so often.
    pub(crate) fn record_many(&mut self, ns: u64, times: u64) {
        if let Self::Empty = self
            && times > 0
        {
            // Two significant digits: 1 % of the value, whatever its size up to an hour.
            let histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 2)
                .expect("the bounds are constants that hdrhistogram accepts");
            *self = Self::Open(Box::new(histogram));
        }
        if let Self::Open(histogram) = self {
            histogram.saturating_record_n(ns, times);
        }
    }

    /// Takes over what another one has recorded, which is empty then.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        let Self::Open(theirs) = other else {
            return;
        };
        match self {
            Self::Empty => *self = std::mem::take(other),
            Self::Open(mine) => {
                // Equal bounds: adding cannot fail.
                let _ = mine.add(&**theirs);
                theirs.reset();
            }
            Self::Closed(_) => {}
        }
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        match self {
            Self::Empty => Quantiles::default(),
            Self::Open(histogram) => Quantiles::of(histogram),
            Self::Closed(quantiles) => *quantiles,
        }
    }

    /// Keeps the quantiles and gives the memory back.
    pub(crate) fn close(&mut self) {
        *self = Self::Closed(self.quantiles());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absorbed_and_closed_has_the_quantiles_of_all() {
        let (mut one, mut two, mut all) = <(Distribution, Distribution, Distribution)>::default();
        for ms in 1..=100u64 {
            all.record(ms * 1_000_000);
            let half = if ms % 2 == 0 { &mut one } else { &mut two };
            half.record(ms * 1_000_000);
        }
        one.absorb(&mut two);
        assert_eq!(two.quantiles().max, 0.0, "nothing is left");
        one.close();
        one.record(1);
        let (one, all) = (one.quantiles(), all.quantiles());
        assert_eq!((one.p50, one.p99, one.max), (all.p50, all.p99, all.max));
        assert!((49.0..52.0).contains(&one.p50), "{one:?}");
    }
}
