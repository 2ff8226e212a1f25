//! Number formats of table cells, shared so that two tables write the time of the same frame identically.

use std::fmt::{Display, Write as _};

/// Writes a number with a fixed number of decimals into an empty cell; zero has no sign.
pub(crate) fn write_decimal(cell: &mut String, value: f32, decimals: usize) {
    write!(cell, "{value:.decimals$}").expect("writing to a string never fails");
    if cell.starts_with('-') && cell.chars().all(|c| matches!(c, '-' | '0' | '.')) {
        cell.remove(0);
    }
}

/// Nanoseconds, displayed as milliseconds with 3 decimals; computed in integers, so that time stamps of any size are
/// exact.
pub(crate) struct Milliseconds(pub(crate) i128);

impl Display for Milliseconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = (self.0 + 500).div_euclid(1000);
        let sign = if us < 0 { "-" } else { "" };
        let us = us.unsigned_abs();
        write!(f, "{sign}{}.{:03}", us / 1000, us % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn milliseconds_are_exact_to_the_microsecond() {
        for (ns, text) in [
            (0, "0.000"),
            (33_366_667, "33.367"),
            (499, "0.000"),
            (500, "0.001"),
            (-1_000_000, "-1.000"),
            (-499, "0.000"),
            (1_735_689_600_123_456_000, "1735689600123.456"),
        ] {
            assert_eq!(Milliseconds(ns).to_string(), text);
        }
    }

    fn decimal(value: f32, decimals: usize) -> String {
        let mut cell = String::new();
        write_decimal(&mut cell, value, decimals);
        cell
    }

    #[test]
    fn decimals_are_fixed_and_zero_has_no_sign() {
        for (value, decimals, text) in [
            (1.0, 2, "1.00"),
            (-12.345, 2, "-12.35"),
            (-0.001, 2, "0.00"),
            (-0.005, 2, "0.00"),
            (f32::NEG_INFINITY, 2, "-inf"),
            (-0.0, 6, "0.000000"),
            (0.123_456_7, 4, "0.1235"),
            (f32::NAN, 2, "NaN"),
            (f32::INFINITY, 2, "inf"),
        ] {
            assert_eq!(decimal(value, decimals), text);
        }
    }

    proptest! {
        #[test]
        fn a_written_number_reads_back_within_half_a_step(value in -1e4..1e4_f32, decimals in 0..7_usize) {
            let text = decimal(value, decimals);
            prop_assert!(!text.starts_with("-0") || text.contains(|c: char| ('1'..='9').contains(&c)));
            let back: f64 = text.parse().unwrap();
            let half_a_step = 0.5 * 10_f64.powi(-(decimals as i32));
            prop_assert!((back - f64::from(value)).abs() <= half_a_step * 1.000_01);
        }

        #[test]
        fn written_milliseconds_read_back_within_half_a_microsecond(ns in any::<i64>()) {
            let text = Milliseconds(ns.into()).to_string();
            let us: i128 = text.replace('.', "").parse().unwrap();
            prop_assert!((us * 1000 - i128::from(ns)).abs() <= 500);
        }
    }
}
