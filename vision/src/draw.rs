//! Drawing on frames: boxes, labels, bars, and making faces unrecognisable. What is drawn where is the caller's.

use opencv::core::{Point as CvPoint, Rect as CvRect, Scalar, Size};
use opencv::imgproc::{self, FONT_HERSHEY_SIMPLEX, InterpolationFlags, LINE_AA};
use opencv::prelude::*;

use crate::face::Rect;
use crate::frame::{CHANNELS, FrameMut};

/// A colour: blue, green, red.
pub type Bgr = [u8; 3];

/// White.
pub const WHITE: Bgr = [255, 255, 255];
/// Black.
pub const BLACK: Bgr = [0, 0, 0];

/// Okabe and Ito's palette, which people with any kind of colour vision can tell apart (without its black).
/// Source: <https://jfly.uni-koeln.de/color/>
const PALETTE: [Bgr; 7] = [
    [233, 180, 86],
    [0, 159, 230],
    [115, 158, 0],
    [167, 121, 204],
    [66, 228, 240],
    [0, 94, 213],
    [178, 114, 0],
];

/// The colour of a track; neighbouring numbers have different ones.
pub fn colour_of(track: Option<u64>) -> Bgr {
    match track {
        Some(track) => PALETTE[(track % PALETTE.len() as u64) as usize],
        None => [200, 200, 200],
    }
}

/// How faces are made unrecognisable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blur {
    /// A Gaussian blur as wide as the face needs.
    Gaussian,
    /// A mosaic of eight tiles across the face.
    Pixelate,
}

/// Draws on a frame in sizes that fit its height.
pub struct Painter<'a> {
    frame: &'a mut FrameMut,
    /// 1 for a frame of 480 rows.
    scale: f64,
}

impl<'a> Painter<'a> {
    /// A painter for this frame.
    pub fn new(frame: &'a mut FrameMut) -> Self {
        let scale = (frame.height() as f64 / 480.0).clamp(0.6, 4.0);
        Self { frame, scale }
    }

    /// A length that is `length` pixels in a frame of 480 rows.
    pub fn pixels(&self, length: f64) -> i32 {
        (length * self.scale).round().max(1.0) as i32
    }

    /// The corners of a box: what is seen.
    ///
    /// # Errors
    /// OpenCV's own.
    pub fn corners(&mut self, rect: &Rect, colour: Bgr) -> opencv::Result<()> {
        let thickness = self.pixels(2.0);
        let (left, top, right, bottom) = edges(rect);
        let length = ((right - left).min(bottom - top) / 4).max(3);
        for (x, y, dx, dy) in [
            (left, top, 1, 1),
            (right, top, -1, 1),
            (left, bottom, 1, -1),
            (right, bottom, -1, -1),
        ] {
            self.line((x, y), (x + dx * length, y), colour, thickness)?;
            self.line((x, y), (x, y + dy * length), colour, thickness)?;
        }
        Ok(())
    }

    /// A dashed box: what is expected and was not looked for.
    ///
    /// # Errors
    /// OpenCV's own.
    pub fn dashed(&mut self, rect: &Rect, colour: Bgr) -> opencv::Result<()> {
        let dash = self.pixels(6.0);
        let (left, top, right, bottom) = edges(rect);
        for start in (left..right).step_by(2 * dash as usize) {
            let end = (start + dash).min(right);
            self.line((start, top), (end, top), colour, 1)?;
            self.line((start, bottom), (end, bottom), colour, 1)?;
        }
        for start in (top..bottom).step_by(2 * dash as usize) {
            let end = (start + dash).min(bottom);
            self.line((left, start), (left, end), colour, 1)?;
            self.line((right, start), (right, end), colour, 1)?;
        }
        Ok(())
    }

    /// A dot.
    ///
    /// # Errors
    /// OpenCV's own.
    pub fn dot(&mut self, x: f32, y: f32, colour: Bgr) -> opencv::Result<()> {
        let radius = self.pixels(1.5);
        let center = CvPoint::new(x.round() as i32, y.round() as i32);
        let mut mat = self.frame.mat_mut()?;
        imgproc::circle(
            &mut mat,
            center,
            radius,
            scalar(colour),
            imgproc::FILLED,
            LINE_AA,
            0,
        )
    }

    fn line(
        &mut self,
        from: (i32, i32),
        to: (i32, i32),
        colour: Bgr,
        thickness: i32,
    ) -> opencv::Result<()> {
        let (from, to) = (CvPoint::new(from.0, from.1), CvPoint::new(to.0, to.1));
        let mut mat = self.frame.mat_mut()?;
        imgproc::line(&mut mat, from, to, scalar(colour), thickness, LINE_AA, 0)
    }

    /// Width and height of a chip with this text.
    ///
    /// # Errors
    /// OpenCV's own.
    pub fn chip_size(&self, text: &str) -> opencv::Result<(i32, i32)> {
        let mut baseline = 0;
        let size =
            imgproc::get_text_size(text, FONT_HERSHEY_SIMPLEX, self.font(), 1, &mut baseline)?;
        let padding = self.pixels(3.0);
        Ok((
            size.width + 2 * padding,
            size.height + baseline + 2 * padding,
        ))
    }

    fn font(&self) -> f64 {
        0.45 * self.scale
    }

    /// Text on a coloured ground with its upper left corner at (x, y), moved so that it is inside the frame.
    /// Returns where it ended up.
    ///
    /// # Errors
    /// OpenCV's own.
    pub fn chip(&mut self, x: i32, y: i32, text: &str, ground: Bgr) -> opencv::Result<CvRect> {
        let (width, height) = self.chip_size(text)?;
        let x = x.min(self.frame.width() as i32 - width).max(0);
        let y = y.min(self.frame.height() as i32 - height).max(0);
        let place = CvRect::new(x, y, width, height);
        self.tint(place, ground, 0.85);
        let ink = match luminance(ground) > 120.0 {
            true => BLACK,
            false => WHITE,
        };
        let padding = self.pixels(3.0);
        let mut baseline = 0;
        let size =
            imgproc::get_text_size(text, FONT_HERSHEY_SIMPLEX, self.font(), 1, &mut baseline)?;
        let origin = CvPoint::new(x + padding, y + padding + size.height);
        let font = self.font();
        let mut mat = self.frame.mat_mut()?;
        imgproc::put_text(
            &mut mat,
            text,
            origin,
            FONT_HERSHEY_SIMPLEX,
            font,
            scalar(ink),
            1,
            LINE_AA,
            false,
        )?;
        Ok(place)
    }

    /// Named bars of 0..1 on a dark ground, beside a box: to its right, or to its left where there is no room.
    ///
    /// # Errors
    /// OpenCV's own.
    pub fn bars(&mut self, beside: &Rect, bars: &[(&str, f32)], colour: Bgr) -> opencv::Result<()> {
        let (row, label, bar) = (self.pixels(11.0), self.pixels(50.0), self.pixels(44.0));
        let padding = self.pixels(4.0);
        let width = label + bar + 3 * padding;
        let height = row * bars.len() as i32 + 2 * padding;
        let (left, top, right, _) = edges(beside);
        let gap = self.pixels(5.0);
        let x = match right + gap + width <= self.frame.width() as i32 {
            true => right + gap,
            false => left - gap - width,
        };
        let x = x.min(self.frame.width() as i32 - width).max(0);
        let y = top.min(self.frame.height() as i32 - height).max(0);
        self.tint(CvRect::new(x, y, width, height), BLACK, 0.55);
        let font = 0.32 * self.scale;
        for (index, (name, value)) in bars.iter().enumerate() {
            let row_top = y + padding + row * index as i32;
            let origin = CvPoint::new(x + padding, row_top + row - self.pixels(3.0));
            let mut mat = self.frame.mat_mut()?;
            imgproc::put_text(
                &mut mat,
                name,
                origin,
                FONT_HERSHEY_SIMPLEX,
                font,
                scalar(WHITE),
                1,
                LINE_AA,
                false,
            )?;
            let filled = (f64::from(bar) * f64::from(value.clamp(0.0, 1.0))).round() as i32;
            let place = CvRect::new(
                x + 2 * padding + label,
                row_top + self.pixels(2.0),
                filled,
                row - self.pixels(4.0),
            );
            self.tint(place, colour, 1.0);
        }
        Ok(())
    }

    /// Mixes a colour into a part of the frame; what reaches beyond the frame is left out.
    pub fn tint(&mut self, place: CvRect, colour: Bgr, opacity: f32) {
        let (columns, rows) = (self.frame.width() as i32, self.frame.height() as i32);
        let (left, right) = (
            place.x.clamp(0, columns),
            (place.x + place.width).clamp(0, columns),
        );
        let (top, bottom) = (
            place.y.clamp(0, rows),
            (place.y + place.height).clamp(0, rows),
        );
        let stride = self.frame.width() * CHANNELS;
        // Fixed point with 8 bits, so that every machine mixes alike.
        let share = (opacity.clamp(0.0, 1.0) * 256.0) as u32;
        let pixels = self.frame.bgr_mut();
        for row in top..bottom {
            let start = row as usize * stride;
            let part =
                &mut pixels[start + left as usize * CHANNELS..start + right as usize * CHANNELS];
            for pixel in part.chunks_exact_mut(CHANNELS) {
                for (value, new) in pixel.iter_mut().zip(colour) {
                    let mixed = u32::from(*value) * (256 - share) + u32::from(new) * share;
                    *value = (mixed >> 8) as u8;
                }
            }
        }
    }

    /// Makes a face unrecognisable, with a margin around its box.
    ///
    /// # Errors
    /// OpenCV's own.
    pub fn blur(&mut self, rect: &Rect, how: Blur) -> opencv::Result<()> {
        let (left, top, right, bottom) = edges(&rect.scaled(1.3));
        let (columns, rows) = (self.frame.width() as i32, self.frame.height() as i32);
        let (left, right) = (left.clamp(0, columns), right.clamp(0, columns));
        let (top, bottom) = (top.clamp(0, rows), bottom.clamp(0, rows));
        if left >= right || top >= bottom {
            return Ok(());
        }
        let place = CvRect::new(left, top, right - left, bottom - top);
        let mut mat = self.frame.mat_mut()?;
        let mut part = Mat::roi_mut(&mut mat, place)?;
        let original = part.try_clone()?;
        let mut changed = Mat::default();
        match how {
            Blur::Gaussian => {
                let sigma = f64::from(place.width.max(place.height)) / 8.0;
                imgproc::gaussian_blur_def(&original, &mut changed, Size::new(0, 0), sigma)?;
            }
            Blur::Pixelate => {
                let tile = (place.width / 8).max(1);
                let tiles = Size::new((place.width / tile).max(1), (place.height / tile).max(1));
                let mut small = Mat::default();
                let area = InterpolationFlags::INTER_AREA as i32;
                imgproc::resize(&original, &mut small, tiles, 0.0, 0.0, area)?;
                let nearest = InterpolationFlags::INTER_NEAREST as i32;
                imgproc::resize(&small, &mut changed, place.size(), 0.0, 0.0, nearest)?;
            }
        }
        changed.copy_to(&mut part)
    }
}

/// Left, top, right, bottom; boxes of no sense (NaN, far outside) stay drawable.
fn edges(rect: &Rect) -> (i32, i32, i32, i32) {
    let bound = |value: f32| value.round().clamp(-30_000.0, 30_000.0) as i32;
    let (left, top) = (bound(rect.x), bound(rect.y));
    let right = bound(rect.x + rect.w).max(left);
    let bottom = bound(rect.y + rect.h).max(top);
    (left, top, right, bottom)
}

fn luminance([blue, green, red]: Bgr) -> f32 {
    0.114 * f32::from(blue) + 0.587 * f32::from(green) + 0.299 * f32::from(red)
}

fn scalar([blue, green, red]: Bgr) -> Scalar {
    Scalar::new(f64::from(blue), f64::from(green), f64::from(red), 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FramePool;

    fn gray(width: usize, height: usize) -> FrameMut {
        let mut frame = FramePool::new().take(width, height);
        frame.bgr_mut().fill(100);
        frame
    }

    const BOX: Rect = Rect {
        x: 20.0,
        y: 20.0,
        w: 60.0,
        h: 60.0,
    };

    fn pixel(frame: &mut FrameMut, x: usize, y: usize) -> Bgr {
        let at = (y * frame.width() + x) * CHANNELS;
        let bgr = &frame.bgr_mut()[at..at + CHANNELS];
        [bgr[0], bgr[1], bgr[2]]
    }

    #[test]
    fn a_box_is_drawn_on_its_edge_and_nowhere_inside() {
        let mut frame = gray(100, 100);
        Painter::new(&mut frame).corners(&BOX, WHITE).unwrap();
        assert!(pixel(&mut frame, 20, 22)[0] > 200);
        for x in 25..75 {
            assert_eq!(pixel(&mut frame, x, 50), [100; 3]);
        }
    }

    #[test]
    fn things_far_outside_or_of_no_sense_do_no_harm() {
        let mut frame = gray(40, 30);
        let mut painter = Painter::new(&mut frame);
        let wild = [
            Rect {
                x: -1e9,
                y: 1e9,
                w: 1e12,
                h: 5.0,
            },
            Rect {
                x: f32::NAN,
                y: f32::NAN,
                w: f32::NAN,
                h: f32::INFINITY,
            },
            Rect {
                x: 10.0,
                y: 10.0,
                w: -5.0,
                h: -5.0,
            },
        ];
        for rect in &wild {
            painter.corners(rect, WHITE).unwrap();
            painter.dashed(rect, WHITE).unwrap();
            painter
                .bars(rect, &[("happy", 2.0), ("sad", f32::NAN)], WHITE)
                .unwrap();
            painter.blur(rect, Blur::Gaussian).unwrap();
            painter.blur(rect, Blur::Pixelate).unwrap();
        }
        painter
            .chip(500, -500, "a text that is wider than the frame", BLACK)
            .unwrap();
    }

    #[test]
    fn blurring_changes_the_face_and_leaves_the_rest() {
        for how in [Blur::Gaussian, Blur::Pixelate] {
            let mut frame = gray(200, 200);
            for (index, value) in frame.bgr_mut().iter_mut().enumerate() {
                *value = (index * 37 % 251) as u8;
            }
            let before = frame.bgr_mut().to_vec();
            let face = Rect {
                x: 80.0,
                y: 80.0,
                w: 40.0,
                h: 40.0,
            };
            Painter::new(&mut frame).blur(&face, how).unwrap();
            let row = |y: usize, pixels: &[u8]| pixels[y * 600..(y + 1) * 600].to_vec();
            assert_eq!(row(10, &before), row(10, frame.bgr_mut()));
            assert_ne!(
                row(100, &before)[240..360],
                row(100, frame.bgr_mut())[240..360]
            );
            assert_eq!(row(100, &before)[..200], row(100, frame.bgr_mut())[..200]);
        }
    }

    #[test]
    fn neighbouring_tracks_have_different_colours() {
        for track in 0..20 {
            assert_ne!(colour_of(Some(track)), colour_of(Some(track + 1)));
        }
    }
}
