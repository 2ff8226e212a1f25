//! Detection of scene cuts, after which no face is where its track is.

use fermata_vision::Frame;
use fermata_vision::frame::CHANNELS;

/// Cells of a small copy, columns and rows.
const CELLS: (usize, usize) = (32, 18);
/// Pixels sampled in each direction of a cell.
const SAMPLES: usize = 4;
/// Variance of a copy (gray values squared) below which it counts as blank.
const FLAT: f32 = 4.0;

/// A small copy of a frame, each channel without its mean, so that neither exposure nor white balance matters.
#[derive(Clone, Debug)]
pub(super) struct SmallCopy {
    values: Vec<f32>,
    variance: f32,
}

impl SmallCopy {
    pub(super) fn of(frame: &Frame) -> Self {
        let (width, height) = (frame.width(), frame.height());
        let mut values = Vec::with_capacity(CELLS.0 * CELLS.1 * CHANNELS);
        let place = |cell: usize, sample: usize, cells: usize, side: usize| {
            (2 * (cell * SAMPLES + sample) + 1) * side / (2 * cells * SAMPLES)
        };
        let pixels = frame.bgr();
        for row in 0..CELLS.1 {
            for column in 0..CELLS.0 {
                let mut sums = [0_u32; CHANNELS];
                for down in 0..SAMPLES {
                    let start = place(row, down, CELLS.1, height) * width;
                    for across in 0..SAMPLES {
                        let at = (start + place(column, across, CELLS.0, width)) * CHANNELS;
                        for (sum, value) in sums.iter_mut().zip(&pixels[at..at + CHANNELS]) {
                            *sum += u32::from(*value);
                        }
                    }
                }
                values.extend(sums.map(|sum| sum as f32 / (SAMPLES * SAMPLES) as f32));
            }
        }
        let cells = (CELLS.0 * CELLS.1) as f32;
        for channel in 0..CHANNELS {
            let of_channel = || (channel..values.len()).step_by(CHANNELS);
            let mean = of_channel().map(|at| values[at]).sum::<f32>() / cells;
            for at in of_channel() {
                values[at] -= mean;
            }
        }
        let variance = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
        Self { values, variance }
    }

    /// Returns 1 − correlation: 0 for the same picture, about 1 for a different one, up to 2. A blank (black) frame
    /// differs from any that is not.
    pub(super) fn unlike(&self, other: &Self) -> f32 {
        match (self.variance < FLAT, other.variance < FLAT) {
            (true, true) => return 0.0,
            (false, false) => {}
            _ => return 1.0,
        }
        let pairs = self.values.iter().zip(&other.values);
        let product = pairs.map(|(a, b)| a * b).sum::<f32>() / self.values.len() as f32;
        1.0 - product / (self.variance * other.variance).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a picture of soft stripes.
    fn stripes(period: f32, gain: f32, offset: f32, moved: f32) -> SmallCopy {
        let (width, height) = (160, 90);
        let mut pixels = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let wave = ((x as f32 + 0.5 * y as f32 + moved) / period).sin();
                let value = (gain * 60.0 * wave + 110.0 + offset) as u8;
                pixels.extend([value, value / 2, 255 - value]);
            }
        }
        SmallCopy::of(&Frame::from_bgr(width, height, pixels))
    }

    #[test]
    fn light_and_small_motion_are_no_cut_and_another_picture_is() {
        let copy = stripes(20.0, 1.0, 0.0, 0.0);
        assert!(copy.unlike(&copy).abs() < 1e-4);
        assert!(copy.unlike(&stripes(20.0, 0.5, 40.0, 0.0)) < 0.01);
        assert!(copy.unlike(&stripes(20.0, 1.0, 0.0, 6.0)) < 0.1);
        assert!(copy.unlike(&stripes(7.0, 1.0, 0.0, 0.0)) > 0.7);
        assert!(copy.unlike(&stripes(20.0, 0.0, 0.0, 0.0)) > 0.9);
    }

    #[test]
    fn frames_that_show_nothing_are_alike_and_any_size_will_do() {
        let flat = |width, height, value| {
            SmallCopy::of(&Frame::from_bgr(
                width,
                height,
                vec![value; width * height * 3],
            ))
        };
        assert_eq!(flat(1, 1, 0).unlike(&flat(640, 480, 255)), 0.0);
    }
}
