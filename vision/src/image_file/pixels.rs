//! Pixels of decoded image files.

use image::DynamicImage;
use opencv::core::{Mat, ToOutputArray, Vec3b, Vec4b};
use opencv::imgproc;

/// Writes the pixels of an image, blue first. OpenCV converts the usual ones: `DynamicImage::into_rgb8` takes longer for a
/// gray picture than its decoder, since it converts each pixel through floating point.
pub(super) fn write_bgr(image: DynamicImage, bgr: &mut impl ToOutputArray) -> opencv::Result<()> {
    let (rows, cols) = (image.height() as i32, image.width() as i32);
    match image {
        DynamicImage::ImageLuma8(gray) => {
            let pixels = Mat::new_rows_cols_with_bytes::<u8>(rows, cols, &gray)?;
            imgproc::cvt_color_def(&pixels, bgr, imgproc::COLOR_GRAY2BGR)
        }
        DynamicImage::ImageRgba8(rgba) => {
            let pixels = Mat::new_rows_cols_with_bytes::<Vec4b>(rows, cols, &rgba)?;
            imgproc::cvt_color_def(&pixels, bgr, imgproc::COLOR_RGBA2BGR)
        }
        other => {
            let rgb = other.into_rgb8();
            let pixels = Mat::new_rows_cols_with_bytes::<Vec3b>(rows, cols, &rgb)?;
            imgproc::cvt_color_def(&pixels, bgr, imgproc::COLOR_RGB2BGR)
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, LumaA, Rgb, Rgba};

    use super::*;
    use crate::FramePool;

    #[test]
    fn every_kind_of_pixel_is_converted_as_the_image_crate_does() {
        let (width, height) = (32, 9);
        let shade = |x, y| (7 * x + 11 * y) as u8;
        let kinds: [DynamicImage; 5] = [
            ImageBuffer::from_fn(width, height, |x, y| Luma([shade(x, y)])).into(),
            ImageBuffer::from_fn(width, height, |x, y| LumaA([shade(x, y), shade(y, x)])).into(),
            ImageBuffer::from_fn(width, height, |x, y| Rgb([shade(x, y), shade(y, x), 9])).into(),
            ImageBuffer::from_fn(width, height, |x, y| Rgba([shade(x, y), 9, shade(y, x), 0]))
                .into(),
            ImageBuffer::from_fn(width, height, |x, y| Luma([u16::from(shade(x, y)) << 8])).into(),
        ];
        for image in kinds {
            let expected = image.clone().into_rgb8();
            let expected = expected
                .pixels()
                .flat_map(|pixel| pixel.0.into_iter().rev());
            let mut frame = FramePool::new().take(width as usize, height as usize);
            write_bgr(image, &mut frame.mat_mut().unwrap()).unwrap();
            assert!(frame.freeze().bgr().iter().copied().eq(expected));
        }
    }
}
