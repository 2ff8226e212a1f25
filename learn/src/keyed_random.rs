//! Random numbers that depend on a key alone, not on how many were drawn before, so that a resumed training equals an
//! uninterrupted one. Owns the generator and its distributions; the caller defines the meaning of a key.

use std::f64::consts::TAU;

/// SplitMix64 generator (Steele, Lea, Flood 2014), seeded with a hash of the key's words.
#[derive(Clone, Debug)]
pub struct KeyedRandom(u64);

/// SplitMix64's increment, the golden ratio in 64 bits.
const INCREMENT: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl KeyedRandom {
    /// Returns the generator of a key, such as `[seed, purpose, epoch, row]`. Order and number of the words matter.
    pub fn new(key: &[u64]) -> Self {
        let mut state = mix(key.len() as u64);
        for &word in key {
            state = mix(state.wrapping_add(INCREMENT) ^ mix(word.wrapping_add(INCREMENT)));
        }
        Self(state)
    }

    /// Returns the generator of a name under a seed.
    pub fn named(seed: u64, name: &str) -> Self {
        // FNV-1a, 64 bits.
        let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        Self::new(&[seed, hash])
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(INCREMENT);
        mix(self.0)
    }

    /// Returns a uniform number in [0, 1), a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns a uniform number in [low, high).
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Returns true with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Returns a uniform number in 0..n, without bias (Lemire 2019). `n` must not be 0.
    pub fn below(&mut self, n: u64) -> u64 {
        loop {
            let product = u128::from(self.bits()) * u128::from(n);
            // The remainder, which is slow to compute, is less than n.
            if product as u64 >= n || product as u64 >= n.wrapping_neg() % n {
                return (product >> 64) as u64;
            }
        }
    }

    /// Returns a normal number with mean 0 and standard deviation 1 (Box and Muller 1958; the second number is
    /// discarded).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }

    /// Shuffles in place; all permutations are equally likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first outputs of SplitMix64 with state 1234567, as published with Rosetta Code's test of the algorithm.
        let mut random = KeyedRandom(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn order_and_number_of_the_keys_words_count() {
        let first = |key: &[u64]| KeyedRandom::new(key).bits();
        let keys: [&[u64]; 6] = [&[], &[0], &[0, 0], &[1, 2], &[2, 1], &[1, 2, 0]];
        for (index, one) in keys.iter().enumerate() {
            for other in &keys[index + 1..] {
                assert_ne!(first(one), first(other), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_normal_has_mean_0_and_variance_1() {
        let mut random = KeyedRandom::new(&[7]);
        let values: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
        // Five standard errors.
        assert!(mean.abs() < 5.0 / 316.0, "{mean}");
        assert!(
            (variance - 1.0).abs() < 5.0 * (2.0f64 / 1e5).sqrt(),
            "{variance}"
        );
    }

    proptest! {
        #[test]
        fn below_is_below(seed: u64, n in 1u64..) {
            prop_assert!(KeyedRandom::new(&[seed]).below(n) < n);
        }

        #[test]
        fn a_shuffle_is_a_permutation(seed: u64, n in 0usize..50) {
            let mut items: Vec<usize> = (0..n).collect();
            KeyedRandom::new(&[seed]).shuffle(&mut items);
            items.sort_unstable();
            prop_assert_eq!(items, (0..n).collect::<Vec<_>>());
        }
    }
}
