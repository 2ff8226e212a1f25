//! Numbers that are the same on every machine: a small generator, and curves made only of additions and multiplications
//! (the sine of a system's mathematics library may differ in its last bit).

/// SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
pub(super) struct Random(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// Creates a generator with independent numbers for each purpose (`key`) under one seed.
    pub(super) fn new(seed: u64, key: u64) -> Self {
        let key = mix(key.wrapping_add(1));
        Self(mix(seed.wrapping_mul(GOLDEN).wrapping_add(key)))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Returns a number from 0 inclusive to 1 exclusive.
    pub(super) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 24) as f32
    }

    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Returns a number from 0 inclusive to `count` exclusive.
    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.bits() >> 33) as usize % count
    }
}

/// Returns the sine of a number of turns, to within 1e-5.
pub(super) fn sine(turns: f64) -> f32 {
    let turn = (turns - (turns + 0.5).floor()) as f32;
    let folded = if turn > 0.25 {
        0.5 - turn
    } else if turn < -0.25 {
        -0.5 - turn
    } else {
        turn
    };
    let x = folded * std::f32::consts::TAU;
    let square = x * x;
    x * (1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0 * (1.0 - square / 72.0))))
}

/// Returns 0 below 0, 1 above 1, and a smooth step between.
pub(super) fn smooth(x: f32) -> f32 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_is_the_sine() {
        for step in -400..400 {
            let turns = f64::from(step) / 97.0;
            let expected = (turns * std::f64::consts::TAU).sin() as f32;
            assert!((sine(turns) - expected).abs() < 1e-5, "{turns}");
        }
    }

    #[test]
    fn random_numbers_fill_their_range() {
        let mut random = Random::new(3, 1);
        let mut seen = [0; 6];
        for _ in 0..600 {
            seen[random.below(6)] += 1;
            assert!((2.0..3.0).contains(&random.between(2.0, 3.0)));
        }
        assert!(seen.iter().all(|&count| count > 60), "{seen:?}");
    }
}
