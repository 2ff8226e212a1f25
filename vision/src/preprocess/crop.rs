//! Selects and cuts out the part of a frame that becomes a model's input.

use opencv::boxed_ref::BoxedRef;
use opencv::core::{self, Mat, Scalar};
use opencv::imgproc;
use opencv::prelude::*;

use super::canvas::{self, Canvas, method};
use super::error::{FaceError, PreprocessError};
use crate::card::{
    Alignment, Aspect, Border, ClaheStage, CropSpec, Interpolation, ModelCard, Size,
};
use crate::face::{Landmarks, Rect};

/// Positions of the landmarks in a picture of 112 × 112: ArcFace (Deng 2019), as in insightface's `face_align.py`.
const TEMPLATE: [[f64; 2]; 5] = [
    [38.2946, 51.6963],
    [73.5318, 51.5014],
    [56.0252, 71.7366],
    [41.5493, 92.3655],
    [70.7299, 92.2041],
];
const TEMPLATE_SIDE: f64 = 112.0;
/// Maximum size of a crop's sides, in multiples of the frame's longer side: beyond it, a mistake elsewhere would take
/// gigabytes.
const MOST_FRAMES: f64 = 4.0;

/// Cuts faces out of frames.
#[derive(Debug)]
pub(super) struct Cropper {
    spec: CropSpec,
    size: Size,
    /// Whether to warp straight to the input's size: no step needs the crop at the frame's own resolution.
    straight: bool,
    warp_method: i32,
    canvas: Canvas,
}

impl Cropper {
    pub(super) fn new(card: &ModelCard) -> Self {
        let area = card.interpolation == Interpolation::Area;
        let clahe_first = card.clahe.is_some_and(|clahe| clahe.at == ClaheStage::Crop);
        Self {
            spec: card.crop,
            size: card.input.size,
            straight: !area && !clahe_first,
            // A warp cannot average over an area; it only rotates then, and the resize averages.
            warp_method: if area {
                imgproc::INTER_LINEAR
            } else {
                method(card.interpolation)
            },
            canvas: Canvas::default(),
        }
    }

    /// Returns the part of the picture that the card asks for, at the picture's own resolution or (aligned) at the
    /// input's size.
    pub(super) fn crop<'a>(
        &'a mut self,
        picture: &'a BoxedRef<'_, Mat>,
        rect: &Rect,
        landmarks: Option<&Landmarks>,
    ) -> Result<BoxedRef<'a, Mat>, PreprocessError> {
        check_rect(picture, rect)?;
        match (self.spec.alignment, landmarks) {
            (Alignment::Landmarks, None) => Err(FaceError::NoLandmarks.into()),
            (Alignment::None, _) | (Alignment::LandmarksOrBox, None) => self.cut(picture, rect),
            (Alignment::Landmarks | Alignment::LandmarksOrBox, Some(landmarks)) => {
                self.align(picture, landmarks)
            }
        }
    }

    /// Cuts out the box with its margin, in whole pixels.
    fn cut<'a>(
        &'a mut self,
        picture: &'a BoxedRef<'_, Mat>,
        rect: &Rect,
    ) -> Result<BoxedRef<'a, Mat>, PreprocessError> {
        let window = window(&self.spec, self.size, rect);
        check_size(picture, f64::from(window.width), f64::from(window.height))?;
        let frame = core::Rect::new(0, 0, picture.cols(), picture.rows());
        let inside = window & frame;
        if inside.empty() {
            return Err(FaceError::OutsideFrame.into());
        }
        let part = Mat::roi(picture, inside)?;
        if inside == window {
            return Ok(part);
        }
        let mut whole = self.canvas.paint(window.size(), 3)?;
        core::copy_make_border(
            &part,
            &mut whole,
            inside.y - window.y,
            window.br().y - inside.br().y,
            inside.x - window.x,
            window.br().x - inside.br().x,
            border(self.spec.border) | core::BORDER_ISOLATED,
            Scalar::default(),
        )?;
        Ok(whole.into())
    }

    /// Rotates the face so that its landmarks match those of the template.
    fn align<'a>(
        &'a mut self,
        picture: &'a BoxedRef<'_, Mat>,
        landmarks: &Landmarks,
    ) -> Result<BoxedRef<'a, Mat>, PreprocessError> {
        let (width, height) = (f64::from(picture.cols()), f64::from(picture.rows()));
        let inside = landmarks.iter().any(|point| {
            let (x, y) = (f64::from(point.x), f64::from(point.y));
            (0.0..width).contains(&x) && (0.0..height).contains(&y)
        });
        let to_input = similarity(landmarks, &template(self.size, self.spec.margin))?;
        if !inside {
            return Err(FaceError::OutsideFrame.into());
        }
        let (input_w, input_h) = (self.size.width as f64, self.size.height as f64);
        let growth = if self.straight {
            1.0
        } else {
            1.0 / to_input.scale()
        };
        if growth > 1.0 {
            check_size(picture, input_w * growth, input_h * growth)?;
        }
        let whole = |side: f64| (side * growth).round().max(1.0);
        let (crop_w, crop_h) = (whole(input_w), whole(input_h));
        let matrix = to_input.grown(crop_w / input_w, crop_h / input_h);
        let matrix = Mat::new_rows_cols_with_data(2, 3, &matrix)?;
        let size = canvas::size(crop_w as usize, crop_h as usize);
        let mut upright = self.canvas.paint(size, 3)?;
        imgproc::warp_affine(
            picture,
            &mut upright,
            &matrix,
            size,
            self.warp_method,
            border(self.spec.border),
            Scalar::default(),
        )?;
        Ok(upright.into())
    }
}

fn border(border: Border) -> i32 {
    match border {
        Border::Replicate => core::BORDER_REPLICATE,
        Border::Zero => core::BORDER_CONSTANT,
    }
}

/// Checks that a box has an area, and that some of it is inside the picture.
fn check_rect(picture: &BoxedRef<'_, Mat>, rect: &Rect) -> Result<(), FaceError> {
    let Rect { x, y, w, h } = *rect;
    let sides = [x, y, w, h, x + w, y + h];
    if !sides.iter().all(|side| side.is_finite()) || w <= 0.0 || h <= 0.0 {
        return Err(FaceError::NoArea);
    }
    let (width, height) = (picture.cols() as f32, picture.rows() as f32);
    if x >= width || y >= height || x + w <= 0.0 || y + h <= 0.0 {
        return Err(FaceError::OutsideFrame);
    }
    Ok(())
}

fn check_size(picture: &BoxedRef<'_, Mat>, width: f64, height: f64) -> Result<(), FaceError> {
    let most = f64::from(picture.cols().max(picture.rows())) * MOST_FRAMES;
    if width.max(height) > most {
        return Err(FaceError::TooLarge);
    }
    Ok(())
}

/// Returns the box with margin and aspect ratio according to the card, rounded to whole pixels around its centre. Sides
/// saturate.
fn window(spec: &CropSpec, input: Size, rect: &Rect) -> core::Rect {
    let [x, y, w, h] = [rect.x, rect.y, rect.w, rect.h].map(f64::from);
    let growth = 1.0 + 2.0 * spec.margin;
    let (mut width, mut height) = (w * growth, h * growth);
    if spec.aspect == Aspect::Keep {
        let aspect = input.width as f64 / input.height as f64;
        width = width.max(height * aspect);
        height = height.max(width / aspect);
    }
    let (width, height) = (width.round().max(1.0), height.round().max(1.0));
    // Halves round up on both sides of zero, so that a face at the frame's edge is cut like any other.
    let left = (x + w / 2.0 - width / 2.0 + 0.5).floor();
    let top = (y + h / 2.0 - height / 2.0 + 0.5).floor();
    // Far below the integers' limits, so that no sum of two overflows; `check_size` rejects what is clamped here.
    let [left, top, width, height] =
        [left, top, width, height].map(|side| side.clamp(-1e9, 1e9) as i32);
    core::Rect::new(left, top, width, height)
}

/// Returns the template in pixels of the input: as large as fits, centred, shrunk by the margin.
fn template(input: Size, margin: f64) -> [[f64; 2]; 5] {
    let (width, height) = (input.width as f64, input.height as f64);
    let scale = width.min(height) / TEMPLATE_SIDE / (1.0 + 2.0 * margin);
    TEMPLATE.map(|[x, y]| {
        let from_middle = [x - TEMPLATE_SIDE / 2.0, y - TEMPLATE_SIDE / 2.0];
        [
            width / 2.0 + from_middle[0] * scale,
            height / 2.0 + from_middle[1] * scale,
        ]
    })
}

/// The map q = a·p + b over complex numbers: rotates, scales and moves, never mirrors.
#[derive(Clone, Copy, Debug)]
struct Similarity {
    a: [f64; 2],
    b: [f64; 2],
}

impl Similarity {
    /// Returns the pixels of the input per pixel of the frame.
    fn scale(&self) -> f64 {
        self.a[0].hypot(self.a[1])
    }

    /// Returns a 2 × 3 matrix into a picture enlarged by these factors. Integers are the centres of pixels; enlarging
    /// keeps the outer edges of the pictures aligned.
    fn grown(&self, across: f64, down: f64) -> [f64; 6] {
        let Self { a, b } = self;
        let shifted = |to: f64, by: f64| (to + 0.5) * by - 0.5;
        [
            a[0] * across,
            -a[1] * across,
            shifted(b[0], across),
            a[1] * down,
            a[0] * down,
            shifted(b[1], down),
        ]
    }
}

/// Returns the similarity that maps the landmarks closest to their targets: least squares (Umeyama 1991, two
/// dimensions).
fn similarity(landmarks: &Landmarks, targets: &[[f64; 2]; 5]) -> Result<Similarity, FaceError> {
    let points = landmarks.map(|point| [f64::from(point.x), f64::from(point.y)]);
    let middle = |points: &[[f64; 2]; 5]| {
        let sum = points
            .iter()
            .fold([0.0, 0.0], |s, p| [s[0] + p[0], s[1] + p[1]]);
        sum.map(|sum| sum / 5.0)
    };
    let (p0, q0) = (middle(&points), middle(targets));
    let (mut a, mut spread) = ([0.0, 0.0], 0.0);
    for (p, q) in points.iter().zip(targets) {
        let (px, py) = (p[0] - p0[0], p[1] - p0[1]);
        let (qx, qy) = (q[0] - q0[0], q[1] - q0[1]);
        a[0] += px * qx + py * qy;
        a[1] += px * qy - py * qx;
        spread += px * px + py * py;
    }
    let a = a.map(|sum| sum / spread);
    let b = [
        q0[0] - (a[0] * p0[0] - a[1] * p0[1]),
        q0[1] - (a[1] * p0[0] + a[0] * p0[1]),
    ];
    let found = Similarity { a, b };
    let usable = found.scale() > 0.0 && a.iter().chain(&b).all(|value| value.is_finite());
    if usable {
        Ok(found)
    } else {
        Err(FaceError::NoShape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Point;

    fn landmarks(points: [[f64; 2]; 5]) -> Landmarks {
        points.map(|[x, y]| Point {
            x: x as f32,
            y: y as f32,
        })
    }

    #[test]
    fn a_turned_and_scaled_template_is_turned_back() {
        let targets = template(Size::square(112), 0.0);
        // Twice as large, rotated by a quarter, moved.
        let seen = targets.map(|[x, y]| [-2.0 * y + 300.0, 2.0 * x + 20.0]);
        let found = similarity(&landmarks(seen), &targets).unwrap();
        assert!((found.scale() - 0.5).abs() < 1e-6);
        for (p, q) in seen.iter().zip(targets) {
            let x = found.a[0] * p[0] - found.a[1] * p[1] + found.b[0];
            let y = found.a[1] * p[0] + found.a[0] * p[1] + found.b[1];
            assert!((x - q[0]).abs() < 1e-3 && (y - q[1]).abs() < 1e-3);
        }
    }

    #[test]
    fn the_template_fills_the_shorter_side_and_shrinks_by_the_margin() {
        let input = Size {
            width: 224,
            height: 112,
        };
        assert_eq!(template(input, 0.0)[0], [112.0 - 17.7054, 51.6963]);
        let [x, y] = template(Size::square(112), 0.5)[0];
        assert!((x - (56.0 - 17.7054 / 2.0)).abs() < 1e-9);
        assert!((y - (56.0 - 4.3037 / 2.0)).abs() < 1e-9);
    }

    #[test]
    fn a_window_grows_by_its_margin_and_to_the_aspect_ratio() {
        let rect = Rect {
            x: 10.0,
            y: 20.0,
            w: 20.0,
            h: 40.0,
        };
        let mut spec = CropSpec {
            aspect: Aspect::Stretch,
            ..CropSpec::default()
        };
        let square = Size::square(64);
        assert_eq!(
            window(&spec, square, &rect),
            core::Rect::new(10, 20, 20, 40)
        );
        spec.margin = 0.25;
        assert_eq!(window(&spec, square, &rect), core::Rect::new(5, 10, 30, 60));
        spec.aspect = Aspect::Keep;
        assert_eq!(
            window(&spec, square, &rect),
            core::Rect::new(-10, 10, 60, 60)
        );
        let wide = Size {
            width: 128,
            height: 64,
        };
        assert_eq!(
            window(&spec, wide, &rect),
            core::Rect::new(-40, 10, 120, 60)
        );
    }

    #[test]
    fn landmarks_on_one_point_have_no_shape() {
        let targets = template(Size::square(112), 0.0);
        for at in [[5.0, 5.0], [f64::NAN, 5.0]] {
            let found = similarity(&landmarks([at; 5]), &targets);
            assert_eq!(found.unwrap_err(), FaceError::NoShape);
        }
    }
}
