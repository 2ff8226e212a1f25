//! Rotation and mirroring that a container or a picture asks for (phones record sideways and note it, front cameras
//! mirror).

use fermata_vision::{Frame, FramePool};
use ffmpeg_next::codec::packet::side_data;
use ffmpeg_next::{Stream, frame};
use opencv::core::{self, RotateFlags};

/// One of the eight orientations of a picture: optionally transposed, then optionally mirrored horizontally and
/// vertically.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orientation {
    transposed: bool,
    mirrored_across: bool,
    mirrored_down: bool,
}

impl Orientation {
    /// Returns the orientation that a stream's display matrix asks for.
    pub(crate) fn of(stream: &Stream) -> Asked {
        let mut side_data = stream.side_data();
        let matrix = side_data.find(|data| data.kind() == side_data::Type::DisplayMatrix);
        Asked::by(matrix.and_then(|matrix| entries(matrix.data())))
    }

    /// Returns the orientation that a picture itself asks for: H.264 and HEVC have a message for it, and JPEG has
    /// Exif's.
    pub(crate) fn of_picture(picture: &frame::Video) -> Asked {
        let matrix = picture.side_data(frame::side_data::Type::DisplayMatrix);
        Asked::by(matrix.and_then(|matrix| entries(matrix.data())))
    }

    /// Parses the part (a, b, c, d) of a display matrix that maps a pixel (x, y) to (ax + cy, bx + dy); y points down.
    /// Returns `None` if it does more than transpose and mirror.
    fn of_matrix([a, b, c, d]: [f64; 4]) -> Option<Self> {
        let largest = [a, b, c, d].map(f64::abs).into_iter().fold(0.0, f64::max);
        // Tolerates half a degree, because of rounded angles.
        let is_none = |value: f64| value.abs() < largest * 0.01;
        if largest == 0.0 {
            return Some(Self::default());
        }
        let (transposed, across, down) = match (is_none(a), is_none(b), is_none(c), is_none(d)) {
            (false, true, true, false) => (false, a, d),
            (true, false, false, true) => (true, c, b),
            _ => return None,
        };
        Some(Self {
            transposed,
            mirrored_across: across < 0.0,
            mirrored_down: down < 0.0,
        })
    }

    /// Returns the frame as it is meant to be seen.
    ///
    /// # Errors
    /// If OpenCV fails.
    pub(crate) fn apply(self, frame: Frame, pool: &FramePool) -> opencv::Result<Frame> {
        let Self {
            transposed,
            mirrored_across,
            mirrored_down,
        } = self;
        let (mut width, mut height) = (frame.width(), frame.height());
        if self == Self::default() {
            return Ok(frame);
        }
        if transposed {
            (width, height) = (height, width);
        }
        let mut laid = pool.take(width, height);
        let (from, mut to) = (frame.mat()?, laid.mat_mut()?);
        match (transposed, mirrored_across, mirrored_down) {
            (true, true, false) => {
                core::rotate(&from, &mut to, RotateFlags::ROTATE_90_CLOCKWISE as i32)
            }
            (true, false, true) => core::rotate(
                &from,
                &mut to,
                RotateFlags::ROTATE_90_COUNTERCLOCKWISE as i32,
            ),
            (true, false, false) => core::transpose(&from, &mut to),
            (true, true, true) => {
                let mut turned = pool.take(frame.width(), frame.height());
                let mut half = turned.mat_mut()?;
                core::flip(&from, &mut half, -1)?;
                core::transpose(&half, &mut to)
            }
            (false, across, down) => {
                let axes = match (across, down) {
                    (true, true) => -1,
                    (true, false) => 1,
                    (false, _) => 0,
                };
                core::flip(&from, &mut to, axes)
            }
        }?;
        drop(to);
        Ok(laid.freeze())
    }
}

/// The orientation that a video asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asked {
    /// None is stated.
    Nothing,
    /// One of the eight orientations.
    Lay(Orientation),
    /// Rotation by an odd angle, with this part of a matrix: pictures stay as they are.
    Slant([f64; 4]),
}

impl Asked {
    fn by(matrix: Option<[f64; 4]>) -> Self {
        let asked = |matrix| Orientation::of_matrix(matrix).map_or(Self::Slant(matrix), Self::Lay);
        matrix.map_or(Self::Nothing, asked)
    }

    /// Returns `self`, or `other` if `self` states nothing.
    pub(crate) fn or(self, other: Self) -> Self {
        match self {
            Self::Nothing => other,
            asked => asked,
        }
    }
}

/// Returns the four of the nine 32-bit integers (libavutil/display.h) that rotate and mirror.
fn entries(matrix: &[u8]) -> Option<[f64; 4]> {
    let entry = |index: usize| {
        let bytes = matrix.get(index * 4..index * 4 + 4)?;
        Some(f64::from(i32::from_ne_bytes(bytes.try_into().ok()?)))
    };
    Some([entry(0)?, entry(1)?, entry(3)?, entry(4)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Orients a picture of 3 × 2 pixels, whose blue values count up from 0, by a matrix.
    fn laid(matrix: [f64; 4]) -> (usize, Vec<u8>) {
        let pixels = (0..6).flat_map(|value: u8| [value, 0, 0]).collect();
        let orientation = Orientation::of_matrix(matrix).expect("one of the eight");
        let frame = Frame::from_bgr(3, 2, pixels);
        let laid = orientation.apply(frame, &FramePool::new()).expect("laid");
        let blue = laid.bgr().iter().step_by(3).copied().collect();
        (laid.width(), blue)
    }

    #[test]
    fn all_eight_matrices_move_each_pixel_to_where_they_say() {
        // 0 1 2
        // 3 4 5
        for (matrix, width, pixels) in [
            ([1, 0, 0, 1], 3, [0, 1, 2, 3, 4, 5]),
            ([-1, 0, 0, 1], 3, [2, 1, 0, 5, 4, 3]),
            ([1, 0, 0, -1], 3, [3, 4, 5, 0, 1, 2]),
            ([-1, 0, 0, -1], 3, [5, 4, 3, 2, 1, 0]),
            ([0, 1, -1, 0], 2, [3, 0, 4, 1, 5, 2]),
            ([0, -1, 1, 0], 2, [2, 5, 1, 4, 0, 3]),
            ([0, 1, 1, 0], 2, [0, 3, 1, 4, 2, 5]),
            ([0, -1, -1, 0], 2, [5, 2, 4, 1, 3, 0]),
        ] {
            let scaled = matrix.map(|entry: i32| f64::from(entry << 16));
            assert_eq!(laid(scaled), (width, pixels.to_vec()), "{matrix:?}");
        }
    }

    #[test]
    fn a_slant_is_no_orientation_and_no_matrix_is_none() {
        assert_eq!(Orientation::of_matrix([1.0, 1.0, -1.0, 1.0]), None);
        assert_eq!(Orientation::of_matrix([1.0, 0.2, -0.2, 1.0]), None);
        let plain = Some(Orientation::default());
        assert_eq!(Orientation::of_matrix([0.0; 4]), plain);
        assert_eq!(Orientation::of_matrix([1.0, 0.001, -0.001, 1.0]), plain);
        assert_eq!(entries(&[0; 20]), Some([0.0; 4]));
        assert_eq!(entries(&[0; 19]), None);
    }
}
