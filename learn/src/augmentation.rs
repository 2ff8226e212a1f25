//! Pictures varied for training: mirrored, moved, turned, brighter or darker, partly erased. What is done to a picture
//! depends on seed, view and its hash alone, so that a resumed training sees what an uninterrupted one would have seen,
//! and a student what its teachers saw.
//!
//! Owns the variations. Geometry and tones are changed in the picture, before it is preprocessed as its card says;
//! erasing comes after.

use fermata_vision::card::{InputSpec, Layout};
use fermata_vision::{Frame, FramePool};
use opencv::core::{BORDER_REFLECT_101, Mat, Scalar, Size};
use opencv::imgproc::{INTER_LINEAR, WARP_INVERSE_MAP, warp_affine};
use serde::{Deserialize, Serialize};

use crate::keyed_random::KeyedRandom;
use crate::row_hash::RowHash;
use crate::settings_problems::Problems;

/// How much pictures are varied. All amounts are drawn uniformly between their limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Probability of a mirror image. Default: 0.5.
    pub flip: f64,
    /// Most that a picture is moved in each direction, as a share of its width or height. Default: 0.0625.
    pub shift: f64,
    /// Most that it grows or shrinks, as a share of its size. Default: 0.1.
    pub scale: f64,
    /// Most that it is turned to either side, in degrees. Default: 15.
    pub rotate_degrees: f64,
    /// Most that is added to or taken from values of 0 to 1. Default: 0.2.
    pub brightness: f64,
    /// Most that values go away from their picture's mean, or towards it, as a share of their distance. Default: 0.
    pub contrast: f64,
    /// Values of 0 to 1 get an exponent between 1 / (1 + gamma) and 1 + gamma, its logarithm uniform. Default: 0.25.
    pub gamma: f64,
    /// Probability that a rectangle of the input becomes 0 (Zhong et al. 2020, <https://arxiv.org/abs/1708.04896>).
    /// Default: 0.25.
    pub erase: f64,
    /// Least and most of a square's side, as a share of the input's; it may reach beyond no edge. Default: none, a
    /// rectangle of 2 % to 33 % of the input, at most 3.3 times as long as wide.
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

/// Distinguishes these random numbers from others of the same seed and row.
const VIEW: u64 = 0x5669_6577;
/// Smallest and largest share of the input that is erased, and of its height by its width.
const ERASED_AREA: (f64, f64) = (0.02, 0.33);
const ERASED_ASPECT: (f64, f64) = (0.3, 1.0 / 0.3);
/// Draws of a rectangle until one fits; if none does, nothing is erased.
const ERASE_DRAWS: usize = 10;

/// What is done to one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Variation {
    is_flipped: bool,
    /// To the right and down, as shares of width and height.
    shift: [f64; 2],
    /// 1: as it is.
    scale: f64,
    /// Clockwise.
    radians: f64,
    brightness: f64,
    /// 1: as it is.
    contrast: f64,
    exponent: f64,
    /// Left, top, width and height as shares of the input.
    erased: Option<[f64; 4]>,
}

impl Augmentation {
    /// Pictures stay as they are.
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

    /// What is wrong with the amounts, each by name.
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

    /// How a picture looks in a view: a function of seed, view and the hash of the image's file, so that a teacher and
    /// a student see the same (Beyer 2021, <https://arxiv.org/abs/2106.05237>). View 0 is the picture as it is: none.
    pub fn view(&self, seed: u64, view: u32, sha256: &RowHash) -> Option<Variation> {
        let is_varied = view > 0 && *self != Self::NONE;
        is_varied.then(|| self.drawn(seed, view, sha256))
    }

    /// Each amount has its own draw: a change of one leaves the others as they were.
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
    /// The picture with its geometry and tones changed, in its own size. What comes from beyond its edges is its mirror
    /// image.
    ///
    /// # Errors
    /// OpenCV's own.
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

    /// For each place of the result, where it comes from: around the centre, shifted back, turned back, scaled back,
    /// mirrored.
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

    /// 255 · clip(m + contrast · (t − m) + brightness, 0, 1) for each value v, where t is (v / 255)^exponent and m the
    /// mean of t over the picture's values (torchvision's contrast, but by the mean of the colours instead of their
    /// gray).
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

    /// Erases the rectangle of a model's input, if there is one.
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
