//! Temporal smoothing of a track's probabilities: exponential moving average or One-Euro filter, both by elapsed time,
//! not by frames. Labels are chosen elsewhere.

use std::f64::consts::PI;
use std::time::Duration;

use fermata_vision::face::EXPRESSIONS;

/// One value for each expression, in double precision.
pub(super) type Values = [f64; EXPRESSIONS];

/// How probabilities are smoothed.
#[derive(Clone, Copy, Debug)]
pub(super) enum FilterSpec {
    /// No smoothing.
    Off,
    /// x̂ += (1 − exp(−Δt/τ)) · (x − x̂).
    Ema { tau: Duration },
    /// Casiez, Roussel and Vogel: 1€ Filter, CHI 2012, algorithm 1; frequencies in hertz.
    OneEuro {
        min_cutoff: f64,
        beta: f64,
        d_cutoff: f64,
    },
}

/// Filter state of a track.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    spec: FilterSpec,
    /// Filtered values and their filtered rates of change per second; `None` before the first observation.
    state: Option<(Values, Values)>,
}

impl Filter {
    pub(super) fn new(spec: FilterSpec) -> Self {
        Self { spec, state: None }
    }

    /// Adds an observation made `dt` after the previous one and returns the filtered values, which sum to 1. The first
    /// observation is returned unchanged; one with `dt` 0 changes nothing.
    pub(super) fn apply(&mut self, observed: &Values, dt: Duration) -> Values {
        let dt = dt.as_secs_f64();
        let state = match (self.spec, self.state) {
            (FilterSpec::Off, _) | (_, None) => (*observed, [0.0; EXPRESSIONS]),
            (_, Some(state)) if dt == 0.0 => state,
            (FilterSpec::Ema { tau }, Some((mut values, rates))) => {
                let alpha = -(-dt / tau.as_secs_f64()).exp_m1();
                for (value, observed) in values.iter_mut().zip(observed) {
                    *value += alpha * (observed - *value);
                }
                (values, rates)
            }
            (
                FilterSpec::OneEuro {
                    min_cutoff,
                    beta,
                    d_cutoff,
                },
                Some((mut values, mut rates)),
            ) => {
                for ((value, rate), observed) in values.iter_mut().zip(&mut rates).zip(observed) {
                    *rate += low_pass(d_cutoff, dt) * ((observed - *value) / dt - *rate);
                    let cutoff = min_cutoff + beta * rate.abs();
                    *value += low_pass(cutoff, dt) * (observed - *value);
                }
                (values, rates)
            }
        };
        self.state = Some(state);
        normalised(&state.0)
    }
}

/// Returns the weight of a new sample in a first-order low-pass filter.
fn low_pass(cutoff_hz: f64, dt: f64) -> f64 {
    1.0 / (1.0 + 1.0 / (2.0 * PI * cutoff_hz * dt))
}

/// Divides the values by their sum, which is positive for mixtures of distributions.
pub(super) fn normalised(values: &Values) -> Values {
    let sum: f64 = values.iter().sum();
    values.map(|value| value / sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Values = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    const SECOND: Values = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn close(is: &Values, should: &[f64]) {
        for (index, value) in is.iter().enumerate() {
            let should = should.get(index).copied().unwrap_or(0.0);
            assert!((value - should).abs() < 1e-6, "{is:?} for {should:?}");
        }
    }

    #[test]
    fn ema_forgets_by_time_and_not_by_frame() {
        let spec = FilterSpec::Ema { tau: ms(250) };
        let mut once = Filter::new(spec);
        close(&once.apply(&FIRST, ms(0)), &[1.0]);
        // After τ, exp(−1) of the past remains.
        close(&once.apply(&SECOND, ms(250)), &[0.367_879, 0.632_121]);
        let mut often = Filter::new(spec);
        often.apply(&FIRST, ms(0));
        let steps = [10, 40, 100, 30, 70].map(|step| often.apply(&SECOND, ms(step)));
        close(&steps[4], &[0.367_879, 0.632_121]);
    }

    #[test]
    fn ema_matches_hand_computed_numbers() {
        let mut filter = Filter::new(FilterSpec::Ema { tau: ms(100) });
        filter.apply(&FIRST, ms(0));
        // α = 1 − exp(−0.4) = 0.329680
        close(&filter.apply(&SECOND, ms(40)), &[0.670_320, 0.329_680]);
        // 0.670320 + α · (1 − 0.670320)
        close(&filter.apply(&FIRST, ms(40)), &[0.779_009, 0.220_991]);
    }

    #[test]
    fn no_time_holds_the_value() {
        for spec in [
            FilterSpec::Ema { tau: ms(100) },
            FilterSpec::OneEuro {
                min_cutoff: 1.0,
                beta: 0.5,
                d_cutoff: 1.0,
            },
        ] {
            let mut filter = Filter::new(spec);
            filter.apply(&FIRST, ms(0));
            close(&filter.apply(&SECOND, ms(0)), &[1.0]);
        }
    }

    #[test]
    fn one_euro_matches_hand_computed_numbers() {
        // Δt = 0.1 s and a cutoff of 1 Hz: α = 1/(1 + 1/(0.2π)) = 0.385870.
        let mut slow = Filter::new(FilterSpec::OneEuro {
            min_cutoff: 1.0,
            beta: 0.0,
            d_cutoff: 1.0,
        });
        slow.apply(&FIRST, ms(0));
        close(&slow.apply(&SECOND, ms(100)), &[0.614_130, 0.385_870]);
        // rate = 0.385870 · 10/s = 3.858696/s; cutoff = 1 + 0.5 · 3.858696 = 2.929348 Hz; α = 0.647957.
        let mut fast = Filter::new(FilterSpec::OneEuro {
            min_cutoff: 1.0,
            beta: 0.5,
            d_cutoff: 1.0,
        });
        fast.apply(&FIRST, ms(0));
        close(&fast.apply(&SECOND, ms(100)), &[0.352_043, 0.647_957]);
    }

    #[test]
    fn one_euro_is_renormalised_when_classes_follow_at_different_speeds() {
        let mut filter = Filter::new(FilterSpec::OneEuro {
            min_cutoff: 0.5,
            beta: 5.0,
            d_cutoff: 1.0,
        });
        filter.apply(&[0.5, 0.3, 0.2, 0.0, 0.0, 0.0, 0.0], ms(0));
        let out = filter.apply(&[0.1, 0.4, 0.5, 0.0, 0.0, 0.0, 0.0], ms(40));
        assert!((out.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let (values, _) = filter.state.expect("two observations");
        assert!((values.iter().sum::<f64>() - 1.0).abs() > 1e-3);
    }
}
