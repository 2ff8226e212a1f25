//! Interpretation of a decoded picture's pixels: their aspect ratio and their dynamic range.

use ffmpeg_next::color;

/// A pixel aspect ratio beyond this is a mistake of the file.
const MOST_SLENDER: f64 = 8.0;

/// Returns the size at which pixels of this aspect ratio (width over height) become square by stretching their short
/// side, or `None` if the ratio must be a mistake.
pub(crate) fn squared((width, height): (u32, u32), aspect: f64) -> Option<(u32, u32)> {
    if !(1.0 / MOST_SLENDER..=MOST_SLENDER).contains(&aspect) {
        return None;
    }
    let drawn_out = |side: u32, by: f64| ((f64::from(side) * by).round() as u32).max(1);
    Some(if aspect > 1.0 {
        (drawn_out(width, aspect), height)
    } else {
        (width, drawn_out(height, 1.0 / aspect))
    })
}

/// Returns whether a transfer characteristic is that of HDR: hybrid log-gamma or perceptual quantisation.
pub(crate) fn is_high_range(transfer: color::TransferCharacteristic) -> bool {
    use color::TransferCharacteristic::{ARIB_STD_B67, SMPTE2084};
    matches!(transfer, ARIB_STD_B67 | SMPTE2084)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_side_is_drawn_out_unless_that_must_be_a_mistake() {
        assert_eq!(squared((352, 480), 20.0 / 11.0), Some((640, 480)));
        assert_eq!(squared((640, 240), 0.5), Some((640, 480)));
        assert_eq!(squared((3, 5), 1.0), Some((3, 5)));
        assert_eq!(squared((640, 480), 100.0), None);
    }
}
