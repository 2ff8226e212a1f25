//! Motion of a face's box between detections: constant velocity, one Kalman filter each for centre x, centre y, width
//! and height. Which detection belongs to which face is decided elsewhere.
//!
//! Noise grows with the face, as in SORT (Bewley 2016) and its successors DeepSORT and ByteTrack: standard deviations
//! are fractions of the box height, h/20 for a position and h/160 per frame for a velocity. Those are per frame at 30
//! frames/s; here they are densities over time, so that any frame rate, and skipped frames, give the same uncertainty
//! per second.

use fermata_vision::Rect;

/// Standard deviation of a measured or predicted position, in box heights.
const POSITION: f64 = 1.0 / 20.0;
/// Standard deviation of the change of a velocity in one reference frame, in box heights per second.
const VELOCITY: f64 = REFERENCE_RATE / 160.0;
/// Frame rate that the literature's figures refer to, in frames per second.
const REFERENCE_RATE: f64 = 30.0;
/// Initial uncertainty of a track in multiples of the above: of the position, and of the velocity, which is unknown.
const FRESH: (f64, f64) = (2.0, 10.0);
/// Height below which noise shrinks no further, in pixels.
const LEAST_HEIGHT: f64 = 1.0;

/// A coordinate and its rate of change, with their covariance.
#[derive(Clone, Copy, Debug)]
struct Axis {
    value: f64,
    rate: f64,
    var_value: f64,
    covariance: f64,
    var_rate: f64,
}

impl Axis {
    fn at(value: f64, scale: f64) -> Self {
        Self {
            value,
            rate: 0.0,
            var_value: (FRESH.0 * POSITION * scale).powi(2),
            covariance: 0.0,
            var_rate: (FRESH.1 * VELOCITY * scale).powi(2),
        }
    }

    /// Advances by `dt` seconds, with white noise on position and velocity.
    fn advance(&mut self, dt: f64, scale: f64) {
        let noise_value = (POSITION * scale).powi(2) * REFERENCE_RATE;
        let noise_rate = (VELOCITY * scale).powi(2) * REFERENCE_RATE;
        self.value += self.rate * dt;
        self.var_value += dt * (2.0 * self.covariance + dt * self.var_rate)
            + noise_value * dt
            + noise_rate * dt.powi(3) / 3.0;
        self.covariance += dt * self.var_rate + noise_rate * dt.powi(2) / 2.0;
        self.var_rate += noise_rate * dt;
    }

    /// Updates the state with a measurement.
    fn correct(&mut self, measured: f64, scale: f64) {
        let innovation = self.var_value + (POSITION * scale).powi(2);
        let (gain_value, gain_rate) = (self.var_value / innovation, self.covariance / innovation);
        let surprise = measured - self.value;
        self.value += gain_value * surprise;
        self.rate += gain_rate * surprise;
        self.var_rate -= gain_rate * self.covariance;
        self.covariance *= 1.0 - gain_value;
        self.var_value *= 1.0 - gain_value;
    }
}

/// Estimated position and velocity of a box.
#[derive(Clone, Debug)]
pub(super) struct Motion {
    center: [Axis; 2],
    size: [Axis; 2],
}

impl Motion {
    /// Starts from a box seen for the first time.
    pub(super) fn starting_at(rect: &Rect) -> Self {
        let ([x, y], [w, h]) = measure(rect);
        let scale = h.max(LEAST_HEIGHT);
        Self {
            center: [Axis::at(x, scale), Axis::at(y, scale)],
            size: [Axis::at(w, scale), Axis::at(h, scale)],
        }
    }

    /// Advances the box by `dt` seconds.
    pub(super) fn advance(&mut self, dt: f64) {
        let scale = self.scale();
        for axis in self.axes() {
            axis.advance(dt, scale);
        }
    }

    /// Updates the state with a detection.
    pub(super) fn correct(&mut self, rect: &Rect) {
        let scale = self.scale();
        let (center, size) = measure(rect);
        for (axis, measured) in self.axes().zip(center.into_iter().chain(size)) {
            axis.correct(measured, scale);
        }
    }

    /// Stops growing or shrinking: an undetected box would soon be as large as the frame, or vanish.
    pub(super) fn hold_size(&mut self) {
        for axis in &mut self.size {
            axis.rate = 0.0;
        }
    }

    /// Returns the current box.
    pub(super) fn rect(&self) -> Rect {
        let [x, y] = self.center.map(|axis| axis.value);
        let [w, h] = self.size.map(|axis| axis.value);
        Rect {
            x: (x - w / 2.0) as f32,
            y: (y - h / 2.0) as f32,
            w: w as f32,
            h: h as f32,
        }
    }

    fn scale(&self) -> f64 {
        self.size[1].value.max(LEAST_HEIGHT)
    }

    fn axes(&mut self) -> impl Iterator<Item = &mut Axis> {
        self.center.iter_mut().chain(&mut self.size)
    }
}

/// Returns centre and size of a box; in f64, so that no finite box overflows.
fn measure(rect: &Rect) -> ([f64; 2], [f64; 2]) {
    let [x, y, w, h] = [rect.x, rect.y, rect.w, rect.h].map(f64::from);
    ([x + w / 2.0, y + h / 2.0], [w, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn square(x: f32, y: f32, side: f32) -> Rect {
        Rect {
            x,
            y,
            w: side,
            h: side,
        }
    }

    #[test]
    fn a_steady_motion_is_predicted_within_a_pixel() {
        // 150 px/s to the right, growing by 10 px/s, detected ten times a second.
        let at = |t: f32| square(100.0 + 150.0 * t, 50.0, 60.0 + 10.0 * t);
        let mut motion = Motion::starting_at(&at(0.0));
        for step in 1..=20 {
            motion.advance(0.1);
            motion.correct(&at(step as f32 * 0.1));
        }
        motion.advance(0.1);
        let (predicted, truth) = (motion.rect(), at(2.1));
        for (is, should) in [
            (predicted.x, truth.x),
            (predicted.y, truth.y),
            (predicted.w, truth.w),
            (predicted.h, truth.h),
        ] {
            assert!((is - should).abs() < 1.0, "{predicted:?} for {truth:?}");
        }
    }

    #[test]
    fn a_face_that_stands_still_stays_where_it_is() {
        let rect = square(10.0, 20.0, 40.0);
        let mut motion = Motion::starting_at(&rect);
        for _ in 0..10 {
            motion.advance(0.04);
            motion.correct(&rect);
        }
        motion.advance(1.0);
        assert!(motion.rect().iou(&rect) > 0.999);
    }

    #[test]
    fn first_correction_matches_the_textbook() {
        // h = 20: σ_position = 1, σ_velocity = 3.75 px/s per reference frame; one frame of 1/30 s.
        let mut axis = Axis::at(0.0, 20.0);
        axis.advance(1.0 / 30.0, 20.0);
        // 4 + (37.5/30)² + 1 + 3.75²/30²/3
        let expected = 4.0 + 1.5625 + 1.0 + 0.015_625 / 3.0;
        assert!((axis.var_value - expected).abs() < 1e-12);
        axis.correct(1.0, 20.0);
        assert!((axis.value - expected / (expected + 1.0)).abs() < 1e-12);
        assert!(axis.rate > 0.0);
    }

    proptest! {
        #[test]
        fn two_short_steps_equal_a_long_one(a in 0.0..1.0_f64, b in 0.0..1.0_f64, scale in 1.0..500.0_f64) {
            let mut once = Axis::at(3.0, scale);
            once.advance(0.1, scale);
            once.correct(9.0, scale);
            let mut twice = once;
            once.advance(a + b, scale);
            twice.advance(a, scale);
            twice.advance(b, scale);
            for (one, two) in [
                (once.value, twice.value),
                (once.var_value, twice.var_value),
                (once.covariance, twice.covariance),
                (once.var_rate, twice.var_rate),
            ] {
                prop_assert!((one - two).abs() <= 1e-9 * one.abs().max(1.0));
            }
        }
    }
}
