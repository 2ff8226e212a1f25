//! Makes faces in a frame unrecognisable. Where they are, and for how long they stay hidden, is up to the caller.
//!
//! A hidden region keeps no more detail than a few tiles across the face, whatever the face's size: a detector must not
//! find it again.

use opencv::core::{Mat, Rect as CvRect, Scalar, Size};
use opencv::imgproc::{self, InterpolationFlags};
use opencv::prelude::*;

use crate::face::Rect;
use crate::frame::FrameMut;

/// How faces are made unrecognisable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blur {
    /// A uniform gray.
    Solid,
    /// A coarse mosaic.
    Pixelate,
    /// The mosaic with soft edges.
    Soft,
}

/// Tiles across the longer side of a hidden box: with four, YuNet found 3 of 135 faces again, with three none.
const TILES: f32 = 3.0;
/// Tiles across the longer side of a frame that is hidden entirely.
const TILES_OF_A_FRAME: f32 = 6.0;
/// Minimum side of a tile, in pixels: a face of 14 pixels in smaller tiles would still be a face.
const LEAST_TILE: f32 = 12.0;
/// The gray of [`Blur::Solid`].
const GRAY: f64 = 60.0;

/// Hides a box, clipped to the frame, but with the strength for the whole box. A box that is not finite hides nothing.
///
/// # Errors
/// Returns errors of OpenCV.
pub fn blur(frame: &mut FrameMut, rect: &Rect, how: Blur) -> opencv::Result<()> {
    let (columns, rows) = (frame.width() as f32, frame.height() as f32);
    // Written so that NaN hides nothing; rounded outwards, so that no row of a face stays visible.
    let left = rect.x.floor().clamp(0.0, columns);
    let top = rect.y.floor().clamp(0.0, rows);
    let right = (rect.x + rect.w).ceil().clamp(0.0, columns);
    let bottom = (rect.y + rect.h).ceil().clamp(0.0, rows);
    if !(left < right && top < bottom) {
        return Ok(());
    }
    let place = CvRect::new(
        left as i32,
        top as i32,
        (right - left) as i32,
        (bottom - top) as i32,
    );
    hide(frame, place, rect.w.max(rect.h) / TILES, how)
}

/// Hides a whole frame.
///
/// # Errors
/// Returns errors of OpenCV.
pub fn blur_all(frame: &mut FrameMut, how: Blur) -> opencv::Result<()> {
    let (width, height) = (frame.width() as i32, frame.height() as i32);
    if width == 0 || height == 0 {
        return Ok(());
    }
    let tile = width.max(height) as f32 / TILES_OF_A_FRAME;
    hide(frame, CvRect::new(0, 0, width, height), tile, how)
}

/// Hides a part of the frame with tiles of this side.
fn hide(frame: &mut FrameMut, place: CvRect, tile: f32, how: Blur) -> opencv::Result<()> {
    let mut mat = frame.mat_mut()?;
    let mut part = Mat::roi_mut(&mut mat, place)?;
    if how == Blur::Solid {
        return part
            .set_to(&Scalar::all(GRAY), &opencv::core::no_array())
            .map(drop);
    }
    let tiles = |side: i32| (side as f32 / tile.max(LEAST_TILE)).ceil().max(1.0) as i32;
    let coarse = Size::new(tiles(place.width), tiles(place.height));
    let original = part.try_clone()?;
    let (mut small, mut changed) = (Mat::default(), Mat::default());
    let area = InterpolationFlags::INTER_AREA as i32;
    imgproc::resize(&original, &mut small, coarse, 0.0, 0.0, area)?;
    let up = match how {
        Blur::Soft => InterpolationFlags::INTER_LINEAR,
        _ => InterpolationFlags::INTER_NEAREST,
    };
    imgproc::resize(&small, &mut changed, place.size(), 0.0, 0.0, up as i32)?;
    changed.copy_to(&mut part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FramePool;

    const ALL: [Blur; 3] = [Blur::Solid, Blur::Pixelate, Blur::Soft];

    fn noisy(width: usize, height: usize) -> FrameMut {
        let mut frame = FramePool::new().take(width, height);
        for (index, value) in frame.bgr_mut().iter_mut().enumerate() {
            *value = (index * 37 % 251) as u8;
        }
        frame
    }

    /// Returns which pixels hiding a box changed.
    fn changed(rect: &Rect, how: Blur) -> Vec<bool> {
        let mut frame = noisy(60, 40);
        let before = frame.bgr_mut().to_vec();
        blur(&mut frame, rect, how).unwrap();
        let pixels = before.chunks(3).zip(frame.bgr_mut().chunks(3));
        pixels.map(|(a, b)| a != b).collect()
    }

    #[test]
    fn the_box_is_hidden_and_the_rest_stays() {
        let rect = Rect {
            x: 20.5,
            y: 10.0,
            w: 20.0,
            h: 16.2,
        };
        for how in ALL {
            for (index, is) in changed(&rect, how).into_iter().enumerate() {
                let (x, y) = (index % 60, index / 60);
                let inside = (20..41).contains(&x) && (10..27).contains(&y);
                assert!(inside || !is, "{how:?} changed {x}, {y}");
            }
            let mut hidden = changed(&rect, how);
            hidden.retain(|&is| is);
            assert!(
                hidden.len() > 300,
                "{how:?} changed {} pixels",
                hidden.len()
            );
        }
    }

    #[test]
    fn strength_is_that_of_the_whole_box_also_where_it_leaves_the_frame() {
        // A box 400 wide of which 20 columns are in the frame: less than a tile, so one colour.
        let mut frame = noisy(60, 40);
        let rect = Rect {
            x: -380.0,
            y: -180.0,
            w: 400.0,
            h: 400.0,
        };
        blur(&mut frame, &rect, Blur::Pixelate).unwrap();
        let pixels = frame.bgr_mut();
        for y in 0..40 {
            assert_eq!(pixels[y * 180..y * 180 + 3], pixels[..3], "row {y}");
        }
    }

    #[test]
    fn boxes_of_no_sense_hide_nothing_and_huge_ones_all() {
        for (x, w) in [(f32::NAN, 5.0), (0.0, f32::NAN), (10.0, -5.0), (1e9, 5.0)] {
            let rect = Rect {
                x,
                y: 0.0,
                w,
                h: 9.0,
            };
            assert!(ALL.iter().all(|&how| !changed(&rect, how).contains(&true)));
        }
        let rect = Rect {
            x: -1e9,
            y: -1e9,
            w: 2e9,
            h: 2e9,
        };
        let hidden = changed(&rect, Blur::Solid);
        assert!(hidden.iter().filter(|&&is| is).count() > 2300);
    }

    #[test]
    fn a_frame_is_hidden_as_a_whole() {
        for how in ALL {
            let mut frame = noisy(64, 40);
            let before = frame.bgr_mut().to_vec();
            blur_all(&mut frame, how).unwrap();
            let same = before.iter().zip(frame.bgr_mut()).filter(|(a, b)| a == b);
            assert!(same.count() < before.len() / 20, "{how:?}");
        }
    }
}
