//! Conversion of ticks of libav's time bases to nanoseconds.

use ffmpeg_next::Rational;

/// Converts `ticks` of a time base to nanoseconds, rounded to the nearest.
pub(crate) fn nanoseconds(ticks: i64, time_base: Rational) -> i64 {
    let (numerator, denominator) = (time_base.numerator(), time_base.denominator().max(1));
    let scaled = i128::from(ticks) * i128::from(numerator) * 1_000_000_000;
    let denominator = i128::from(denominator);
    let rounded = (scaled + denominator / 2).div_euclid(denominator);
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds_without_drift() {
        assert_eq!(nanoseconds(1, Rational(1, 3)), 333_333_333);
        assert_eq!(nanoseconds(2, Rational(1, 3)), 666_666_667);
        assert_eq!(nanoseconds(-2, Rational(1, 3)), -666_666_667);
        let day_at_90khz = 24 * 3600 * 90_000;
        assert_eq!(
            nanoseconds(day_at_90khz, Rational(1, 90_000)),
            86_400_000_000_000
        );
    }
}
