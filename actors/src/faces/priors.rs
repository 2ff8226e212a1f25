//! Prior boxes of an UltraFace whose output is not decoded, and the decoding relative to them: SSD's priors and
//! variances (Liu 2016), with the numbers of <https://github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB>
//! (`vision/ssd/config/fd_config.py`, `vision/utils/box_utils.py`).

/// For each feature map: its stride in pixels of the input, and the sides of the boxes at each position.
const MAPS: [(usize, &[f32]); 4] = [
    (8, &[10.0, 16.0, 24.0]),
    (16, &[32.0, 48.0]),
    (32, &[64.0, 96.0]),
    (64, &[128.0, 192.0, 256.0]),
];
const CENTRE_VARIANCE: f32 = 0.1;
const SIZE_VARIANCE: f32 = 0.2;

/// A box as centre and sides, as fractions of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prior {
    x: f32,
    y: f32,
    w: f32,
    h: f32,
}

/// Returns all priors of an input of this size, in the order of the outputs.
pub(super) fn priors(width: usize, height: usize) -> Vec<Prior> {
    let mut priors = Vec::new();
    for (stride, sides) in MAPS {
        let (columns, rows) = (width.div_ceil(stride), height.div_ceil(stride));
        for row in 0..rows {
            for column in 0..columns {
                // The maps cover the whole picture even if the stride does not divide its side.
                let place = |index: usize, places: usize| (index as f32 + 0.5) / places as f32;
                priors.extend(sides.iter().map(|side| Prior {
                    x: place(column, columns),
                    y: place(row, rows),
                    w: (side / width as f32).min(1.0),
                    h: (side / height as f32).min(1.0),
                }));
            }
        }
    }
    priors
}

impl Prior {
    /// Decodes a location relative to this prior into left, top, right, bottom.
    pub(super) fn decode(&self, location: &[f32; 4]) -> [f32; 4] {
        let [dx, dy, dw, dh] = *location;
        let (x, y) = (
            self.x + dx * CENTRE_VARIANCE * self.w,
            self.y + dy * CENTRE_VARIANCE * self.h,
        );
        let (w, h) = (
            self.w * (dw * SIZE_VARIANCE).exp(),
            self.h * (dh * SIZE_VARIANCE).exp(),
        );
        [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Constants from version-RFB-320.onnx.
    #[test]
    fn priors_are_those_of_the_training() {
        let priors = priors(320, 240);
        assert_eq!(priors.len(), 4420);
        let first = Prior {
            x: 0.0125,
            y: 0.5 / 30.0,
            w: 10.0 / 320.0,
            h: 10.0 / 240.0,
        };
        assert_eq!(priors[0], first);
        let last = priors[4419];
        assert_eq!((last.x, last.y), (0.9, 0.875));
        assert_eq!((last.w, last.h), (0.8, 1.0));
        assert_eq!(super::priors(640, 480).len(), 17640);
    }

    #[test]
    fn a_location_moves_and_grows_its_prior() {
        let prior = Prior {
            x: 0.5,
            y: 0.5,
            w: 0.2,
            h: 0.4,
        };
        assert_eq!(prior.decode(&[0.0; 4]), [0.4, 0.3, 0.6, 0.7]);
        let moved = prior.decode(&[5.0, -5.0, 5.0 * 2f32.ln(), 0.0]);
        for (found, expected) in moved.iter().zip([0.4, 0.1, 0.8, 0.5]) {
            assert!((found - expected).abs() < 1e-6, "{moved:?}");
        }
    }
}
