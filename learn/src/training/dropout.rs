//! Dropout (Srivastava et al. 2014) drawn from the step's key alone and not from libtorch's generator, so that a
//! resumed training drops the same values.

use tch::Tensor;

use crate::keyed_random::KeyedRandom;

/// Separates these random numbers from others of the same step.
const PURPOSE: u64 = 0x4472_6F70;

/// Sets values to 0 with the given probability and scales the others by 1 / (1 − probability), determined by the key
/// alone.
pub(super) fn dropped_out(
    values: Tensor,
    probability: f64,
    [seed, epoch, step]: [u64; 3],
) -> Tensor {
    if probability == 0.0 {
        return values;
    }
    let mut random = KeyedRandom::new(&[seed, PURPOSE, epoch, step]);
    let kept = (1.0 / (1.0 - probability)) as f32;
    let draw = |_| {
        if random.chance(probability) {
            0.0
        } else {
            kept
        }
    };
    let factors: Vec<f32> = (0..values.numel()).map(draw).collect();
    let factors = Tensor::from_slice(&factors).reshape(values.size());
    let factors = factors.to_device(values.device());
    values * factors
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn the_mean_stays_and_the_key_decides() {
        let ones = || Tensor::ones([200, 100], (Kind::Float, Device::Cpu));
        let dropped = dropped_out(ones(), 0.3, [1, 2, 3]);
        assert!(dropped.equal(&dropped_out(ones(), 0.3, [1, 2, 3])));
        assert!(!dropped.equal(&dropped_out(ones(), 0.3, [1, 2, 4])));
        let mean = dropped.mean(Kind::Float).double_value(&[]);
        // Five standard errors of a proportion of 0.7.
        assert!(
            (mean - 1.0).abs() < 5.0 * (0.3f64 / 0.7 / 20_000.0).sqrt(),
            "{mean}"
        );
        assert!(dropped_out(ones(), 0.0, [1, 2, 3]).equal(&ones()));
    }
}
