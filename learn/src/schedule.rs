//! Learning-rate schedule: a linear warm-up, then a half cosine down to the least rate (Loshchilov and Hutter 2017,
//! <https://arxiv.org/abs/1608.03983>). A rate depends on the step's number alone, so that a resumed training continues
//! with the right one.

use std::f64::consts::PI;

/// Learning rate of each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// Rate after the warm-up.
    pub base: f64,
    /// Rate at the end.
    pub least: f64,
    /// Steps of the warm-up; 0 for none.
    pub warm_up: u64,
    /// Total number of steps, including the warm-up.
    pub steps: u64,
}

impl Cosine {
    /// Returns the rate of a step, counted from 0: base · (step + 1) / warm-up, then least + (base − least) · (1 + cos
    /// πt) / 2 with t from 0 to 1; after the last step it stays at the least.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return self.base * (step + 1) as f64 / self.warm_up as f64;
        }
        let all = self.steps.saturating_sub(self.warm_up).max(1);
        let t = ((step - self.warm_up) as f64 / all as f64).min(1.0);
        self.least + (self.base - self.least) * (1.0 + (PI * t).cos()) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_rises_falls_and_stays() {
        let schedule = Cosine {
            base: 1.0,
            least: 0.1,
            warm_up: 4,
            steps: 12,
        };
        let rates = [0, 3, 4, 8, 12, 100].map(|step| schedule.rate(step));
        let expected = [0.25, 1.0, 1.0, 0.55, 0.1, 0.1];
        for (rate, expected) in rates.into_iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    proptest! {
        #[test]
        fn a_rate_is_between_the_ends(warm_up in 0u64..50, steps in 1u64..200, step in 0u64..400) {
            let schedule = Cosine { base: 0.3, least: 0.01, warm_up, steps };
            let rate = schedule.rate(step);
            prop_assert!(rate > 0.0 && rate <= 0.3 + 1e-12, "{rate}");
            if step >= warm_up {
                prop_assert!(rate >= 0.01 - 1e-12 && schedule.rate(step + 1) <= rate + 1e-12);
            }
        }
    }
}
