//! Data augmentation for training: mirroring, shifting, rotating, changes of brightness, partial erasing. The variation
//! of a picture depends on seed, view and its hash alone, so that a resumed training sees the same as an uninterrupted
//! one, and a student the same as its teachers.
//!
//! Geometry and tones are changed in the picture, before it is preprocessed according to its card; erasing comes after
//! that.

use fermata_vision::card::{InputSpec, Layout};
use fermata_vision::{Frame, FramePool};
use opencv::core::{BORDER_REFLECT_101, Mat, Scalar, Size};
use opencv::imgproc::{INTER_LINEAR, WARP_INVERSE_MAP, warp_affine};
use serde::{Deserialize, Serialize};

use crate::keyed_random::KeyedRandom;
use crate::row_hash::RowHash;
use crate::settings_problems::Problems;

/// Strength of the augmentation. All amounts are drawn uniformly between their limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Probability of mirroring. Default: 0.5.
    pub flip: f64,
    /// Largest shift in each direction, as a share of width or height. Default: 0.0625.
    pub shift: f64,
    /// Largest change of size, up or down, as a share of the size. Default: 0.1.
    pub scale: f64,
    /// Largest rotation to either side, in degrees. Default: 15.
    pub rotate_degrees: f64,
    /// Largest amount added to or subtracted from values of 0 to 1. Default: 0.2.
    pub brightness: f64,
    /// Largest change of a value's distance from its picture's mean, as a share of that distance. Default: 0.
    pub contrast: f64,
    /// Gamma correction: values of 0 to 1 get an exponent between 1 / (1 + gamma) and 1 + gamma, log-uniform. Default:
    /// 0.25.
    pub gamma: f64,
    /// Probability that a rectangle of the input is set to 0 (Zhong et al. 2020, <https://arxiv.org/abs/1708.04896>).
    /// Default: 0.25.
    pub erase: f64,
    /// Smallest and largest side of an erased square, as a share of the input's side; it lies within the input.
    /// Default: none; a rectangle of 2 % to 33 % of the input is erased, at most 3.3 times as long as wide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase_side: Option<[f64; 2]>,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            flip: 0.5,
            shift: 0.0625,
            scale: 0.1,
            rotate_degrees: 15.0,
            brightness: 0.2,
            contrast: 0.0,
            gamma: 0.25,
            erase: 0.25,
            erase_side: None,
        }
    }
}

/// Separates these random numbers from others of the same seed and row.
const VIEW: u64 = 0x5669_6577;
/// Smallest and largest erased share of the input, and smallest and largest ratio of its height to its width.
const ERASED_AREA: (f64, f64) = (0.02, 0.33);
const ERASED_ASPECT: (f64, f64) = (0.3, 1.0 / 0.3);
/// Attempts to draw a rectangle that fits; if none does, nothing is erased.
const ERASE_DRAWS: usize = 10;

/// Variation applied to one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Variation {
    is_flipped: bool,
    /// Shift to the right and down, as shares of width and height.
    shift: [f64; 2],
    /// Factor; 1 leaves the size unchanged.
    scale: f64,
    /// Rotation, clockwise.
    radians: f64,
    brightness: f64,
    /// Factor; 1 leaves the contrast unchanged.
    contrast: f64,
    exponent: f64,
    /// Left, top, width and height as shares of the input.
    erased: Option<[f64; 4]>,
}

impl Augmentation {
    /// No augmentation.
    pub const NONE: Self = Self {
        flip: 0.0,
        shift: 0.0,
        scale: 0.0,
        rotate_degrees: 0.0,
        brightness: 0.0,
        contrast: 0.0,
        gamma: 0.0,
        erase: 0.0,
        erase_side: None,
    };

    /// Returns all problems of the settings, each with its setting's name.
    pub fn problems(&self) -> Vec<String> {
        let limits = [
            ("flip", self.flip, 1.0),
            ("shift", self.shift, 0.5),
            ("scale", self.scale, 0.9),
            ("rotate_degrees", self.rotate_degrees, 180.0),
            ("brightness", self.brightness, 1.0),
            ("contrast", self.contrast, 1.0),
            ("gamma", self.gamma, 10.0),
            ("erase", self.erase, 1.0),
        ];
        let mut problems = Problems::of("augmentation.");
        for (name, value, most) in limits {
            problems.up_to(name, value, most);
        }
        if let Some([least, most]) = self.erase_side {
            problems.expect(
                0.0 < least && least <= most && most < 1.0,
                "erase_side",
                format!("[{least}, {most}]"),
                "two shares above 0 and below 1, the smaller first",
            );
        }
        problems.all()
    }

    /// Returns the variation of a picture in a view: a function of seed, view and the hash of the image file, so that a
    /// teacher and a student see the same picture (Beyer 2021, <https://arxiv.org/abs/2106.05237>). View 0 is the
    /// unaugmented picture: `None`.
    pub fn view(&self, seed: u64, view: u32, sha256: &RowHash) -> Option<Variation> {
        let is_varied = view > 0 && *self != Self::NONE;
        is_varied.then(|| self.drawn(seed, view, sha256))
    }

    /// Draws a variation. Each amount has its own draw, so changing one setting leaves the others' amounts unchanged.
    fn drawn(&self, seed: u64, view: u32, sha256: &RowHash) -> Variation {
        let mut key = [seed, VIEW, u64::from(view), 0, 0, 0, 0];
        for (word, bytes) in key[3..].iter_mut().zip(sha256.as_bytes().chunks(8)) {
            *word = bytes
                .iter()
                .fold(0, |word, &byte| word << 8 | u64::from(byte));
        }
        let mut random = KeyedRandom::new(&key);
        let mut within = |most: f64| most * random.uniform(-1.0, 1.0);
        let shift = [within(self.shift), within(self.shift)];
        let scale = 1.0 + within(self.scale);
        let radians = within(self.rotate_degrees).to_radians();
        let brightness = within(self.brightness);
        let exponent = within((1.0 + self.gamma).ln()).exp();
        let contrast = 1.0 + within(self.contrast);
        let is_flipped = random.chance(self.flip);
        let erased = random
            .chance(self.erase)
            .then(|| match self.erase_side {
                None => rectangle(&mut random),
                Some(limits) => Some(square(limits, &mut random)),
            })
            .flatten();
        Variation {
            is_flipped,
            shift,
            scale,
            radians,
            brightness,
            contrast,
            exponent,
            erased,
        }
    }
}

fn square([least, most]: [f64; 2], random: &mut KeyedRandom) -> [f64; 4] {
    let side = random.uniform(least, most);
    let [left, top] = [random.unit(), random.unit()].map(|place| place * (1.0 - side));
    [left, top, side, side]
}

fn rectangle(random: &mut KeyedRandom) -> Option<[f64; 4]> {
    (0..ERASE_DRAWS).find_map(|_| {
        let area = random.uniform(ERASED_AREA.0, ERASED_AREA.1);
        let aspect = random
            .uniform(ERASED_ASPECT.0.ln(), ERASED_ASPECT.1.ln())
            .exp();
        let (height, width) = ((area * aspect).sqrt(), (area / aspect).sqrt());
        let (left, top) = (random.unit(), random.unit());
        let fits = height < 1.0 && width < 1.0;
        fits.then_some([left * (1.0 - width), top * (1.0 - height), width, height])
    })
}

impl Variation {
    /// Returns the picture with its geometry and tones changed, in its own size. Pixels from beyond its edges are
    /// reflected.
    ///
    /// # Errors
    /// OpenCV fails.
    pub fn apply(&self, picture: &Frame, pool: &FramePool) -> opencv::Result<Frame> {
        let (width, height) = (picture.width(), picture.height());
        let mut varied = pool.take(width, height);
        if self.moves() {
            let matrix = Mat::from_slice_2d(&self.source_of(width as f64, height as f64))?;
            let size = Size::new(width as i32, height as i32);
            let how = INTER_LINEAR | WARP_INVERSE_MAP;
            warp_affine(
                &picture.mat()?,
                &mut varied.mat_mut()?,
                &matrix,
                size,
                how,
                BORDER_REFLECT_101,
                Scalar::default(),
            )?;
        } else {
            varied.bgr_mut().copy_from_slice(picture.bgr());
        }
        if self.brightness != 0.0 || self.contrast != 1.0 || self.exponent != 1.0 {
            let tones = self.tones(varied.bgr_mut());
            for value in varied.bgr_mut() {
                *value = tones[usize::from(*value)];
            }
        }
        Ok(varied.freeze())
    }

    fn moves(&self) -> bool {
        self.is_flipped || self.shift != [0.0, 0.0] || self.scale != 1.0 || self.radians != 0.0
    }

    /// Returns the affine map from places of the result to places of the source: around the centre, it undoes the
    /// shift, the rotation, the scaling and the mirroring.
    fn source_of(&self, width: f64, height: f64) -> [[f64; 3]; 2] {
        let centre = [(width - 1.0) / 2.0, (height - 1.0) / 2.0];
        let (sin, cos) = self.radians.sin_cos();
        let mirror = if self.is_flipped { -1.0 } else { 1.0 };
        let rows = [
            [mirror * cos / self.scale, mirror * sin / self.scale],
            [-sin / self.scale, cos / self.scale],
        ];
        let from = [
            centre[0] + self.shift[0] * width,
            centre[1] + self.shift[1] * height,
        ];
        [0, 1].map(|axis| {
            let [x, y] = rows[axis];
            [x, y, centre[axis] - x * from[0] - y * from[1]]
        })
    }

    /// Returns 255 · clip(m + contrast · (t − m) + brightness, 0, 1) for each value v, where t is (v / 255)^exponent
    /// and m the mean of t over the picture's values (like torchvision's contrast, but with the mean over all colour
    /// channels instead of the grayscale mean).
    fn tones(&self, values: &[u8]) -> [u8; 256] {
        let exponential: [f64; 256] =
            std::array::from_fn(|value| (value as f64 / 255.0).powf(self.exponent));
        let sum: f64 = values
            .iter()
            .map(|&value| exponential[usize::from(value)])
            .sum();
        let mean = sum / values.len().max(1) as f64;
        exponential.map(|tone| {
            let tone = mean + self.contrast * (tone - mean) + self.brightness;
            (255.0 * tone.clamp(0.0, 1.0)).round() as u8
        })
    }

    /// Sets the erased rectangle of a model's input to 0, if there is one.
    pub fn erase(&self, input: &mut [f32], spec: &InputSpec) {
        let Some([left, top, width, height]) = self.erased else {
            return;
        };
        let (columns, rows, channels) = (spec.size.width, spec.size.height, spec.colour.channels());
        let place = |share: f64, side: usize| (share * side as f64).round() as usize;
        let x = place(left, columns)..place(left + width, columns).min(columns);
        let y = place(top, rows)..place(top + height, rows).min(rows);
        match spec.layout {
            Layout::Nchw => {
                for row in
                    (0..channels).flat_map(|channel| y.clone().map(move |y| channel * rows + y))
                {
                    input[row * columns..][x.clone()].fill(0.0);
                }
            }
            Layout::Nhwc => {
                for y in y {
                    input[y * columns * channels..][x.start * channels..x.end * channels].fill(0.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
