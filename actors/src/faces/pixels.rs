//! Converts a frame to the size and layout that a detector network expects. Classifier crops are not made here.

use fermata_onnx::TensorInfo;
use fermata_vision::Frame;
use fermata_vision::frame::CHANNELS;
use opencv::core::{Mat, Size, ToInputArray};
use opencv::prelude::*;

/// Longest side of a network's input; more is a mistake, or an attempt to exhaust memory.
const MOST_SIDE: usize = 4096;

/// Returns width and height of a network's fixed input if one of them is 0 or would take gigabytes.
pub(super) fn unfit_size(inputs: &[TensorInfo]) -> Option<(usize, usize)> {
    let [_, _, Some(height), Some(width)] = inputs.first()?.shape[..] else {
        return None;
    };
    let fits = |side: usize| (1..=MOST_SIDE).contains(&side);
    (!fits(width) || !fits(height)).then_some((width, height))
}

/// Resized pixels, in a buffer that is reused for the next frame.
#[derive(Default)]
pub(super) struct Resized {
    mat: Mat,
}

impl Resized {
    /// Returns the frame's pixels at this size, resized by OpenCV with `interpolation`; its own pixels, uncopied, if it
    /// has that size.
    pub(super) fn bgr<'a>(
        &'a mut self,
        frame: &'a Frame,
        (width, height): (usize, usize),
        interpolation: i32,
    ) -> opencv::Result<&'a [u8]> {
        if (frame.width(), frame.height()) == (width, height) {
            return Ok(frame.bgr());
        }
        self.resize(&frame.mat()?, (width, height), interpolation)?;
        self.mat.data_bytes()
    }

    /// Resizes any picture to this size.
    pub(super) fn resize(
        &mut self,
        picture: &impl ToInputArray,
        (width, height): (usize, usize),
        interpolation: i32,
    ) -> opencv::Result<&Mat> {
        let side = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        let size = Size::new(side(width), side(height));
        opencv::imgproc::resize(picture, &mut self.mat, size, 0.0, 0.0, interpolation)?;
        Ok(&self.mat)
    }
}

/// Returns the size of a `width` × `height` picture once its longer side is limited to `max_side`, if there is a limit.
pub(super) fn limited((width, height): (usize, usize), max_side: Option<usize>) -> (usize, usize) {
    let longer = width.max(height);
    let Some(limit) = max_side.filter(|&limit| limit < longer) else {
        return (width, height);
    };
    let shrink = |side: usize| ((side * limit + longer / 2) / longer).max(1);
    (shrink(width), shrink(height))
}

/// Order of the channels in a network's planes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Planes {
    /// Blue, green, red.
    Bgr,
    /// Red, green, blue.
    Rgb,
}

/// Writes the `size` pixels of `bgr` as three planes of `padded` size (width, height), each value through `map`. The
/// area right of and below the picture is filled with 0.
pub(super) fn to_planes(
    bgr: &[u8],
    size: (usize, usize),
    padded: (usize, usize),
    planes: Planes,
    map: impl Fn(u8) -> f32,
    values: &mut Vec<f32>,
) {
    let area = padded.0 * padded.1;
    values.resize(area * CHANNELS, 0.0);
    let (first, rest) = values.split_at_mut(area);
    let (second, third) = rest.split_at_mut(area);
    let (blue, red) = match planes {
        Planes::Bgr => (first, third),
        Planes::Rgb => (third, first),
    };
    let rows = bgr.chunks_exact(size.0 * CHANNELS);
    let targets = blue.chunks_exact_mut(padded.0);
    let targets = targets.zip(second.chunks_exact_mut(padded.0));
    let targets = targets.zip(red.chunks_exact_mut(padded.0));
    for (row, ((blue, green), red)) in rows.zip(targets) {
        let (blue, blue_rest) = blue.split_at_mut(size.0);
        let (green, green_rest) = green.split_at_mut(size.0);
        let (red, red_rest) = red.split_at_mut(size.0);
        let pixels = row.chunks_exact(CHANNELS).zip(blue).zip(green).zip(red);
        for (((pixel, blue), green), red) in pixels {
            *blue = map(pixel[0]);
            *green = map(pixel[1]);
            *red = map(pixel[2]);
        }
        for rest in [blue_rest, green_rest, red_rest] {
            rest.fill(0.0);
        }
    }
    for plane in values.chunks_exact_mut(area) {
        plane[size.1 * padded.0..].fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_go_to_their_planes_and_the_padding_is_zero_in_a_used_buffer() {
        let bgr: Vec<u8> = (1..=18).collect();
        let mut values = vec![99.0; 100];
        to_planes(&bgr, (3, 2), (4, 3), Planes::Bgr, f32::from, &mut values);
        assert_eq!(values.len(), 36);
        let blue = [
            1.0, 4.0, 7.0, 0.0, 10.0, 13.0, 16.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        ];
        assert_eq!(values[..12], blue);
        assert_eq!(values[24..28], [3.0, 6.0, 9.0, 0.0]);
        to_planes(&bgr, (3, 2), (3, 2), Planes::Rgb, f32::from, &mut values);
        assert_eq!(values[..6], [3.0, 6.0, 9.0, 12.0, 15.0, 18.0]);
        assert_eq!(values[12..], [1.0, 4.0, 7.0, 10.0, 13.0, 16.0]);
    }

    #[test]
    fn a_limit_keeps_the_proportions_and_never_enlarges() {
        assert_eq!(limited((640, 480), Some(320)), (320, 240));
        assert_eq!(limited((270, 480), Some(320)), (180, 320));
        assert_eq!(limited((640, 480), Some(1000)), (640, 480));
        assert_eq!(limited((640, 480), None), (640, 480));
        assert_eq!(limited((1000, 1), Some(10)), (10, 1));
    }

    #[test]
    fn a_frame_of_the_right_size_is_not_copied() {
        let frame = Frame::from_bgr(4, 2, vec![7; 24]);
        let mut resized = Resized::default();
        let linear = opencv::imgproc::INTER_LINEAR;
        let same = resized.bgr(&frame, (4, 2), linear).unwrap();
        assert_eq!(same.as_ptr(), frame.bgr().as_ptr());
        let half = resized.bgr(&frame, (2, 1), linear).unwrap();
        assert_eq!(half, [7; 6]);
    }
}
