//! Drawing primitives for frames: boxes, text chips, bars. What is drawn where is up to the caller.

use opencv::core::{Point as CvPoint, Rect as CvRect, Scalar};
use opencv::imgproc::{self, FONT_HERSHEY_SIMPLEX, LINE_AA};

use crate::face::Rect;
use crate::frame::{CHANNELS, FrameMut};

/// A colour: blue, green, red.
pub type Bgr = [u8; 3];

/// White.
pub const WHITE: Bgr = [255, 255, 255];
/// Black.
pub const BLACK: Bgr = [0, 0, 0];
const LIGHT_GRAY: Bgr = [190, 190, 190];

/// Okabe and Ito's palette, whose colours are distinguishable with any kind of colour vision (without its black).
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

/// Returns the colour of a track; consecutive numbers have different ones.
pub fn colour_of(track: Option<u64>) -> Bgr {
    match track {
        Some(track) => PALETTE[(track % PALETTE.len() as u64) as usize],
        None => [200, 200, 200],
    }
}

/// Appearance of a chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChipLook {
    /// Text on a coloured background.
    Filled,
    /// Coloured text on a dark background with an outline: the label is held, not the current one.
    Outlined,
}

/// Named bars, one below the other.
#[derive(Clone, Copy, Debug)]
pub struct Bars<'a> {
    /// Names, and values from 0 to 1.
    pub rows: &'a [(&'a str, f32)],
    /// The row of the label that is shown, which is marked.
    pub marked: Option<usize>,
}

/// Draws on a frame, with sizes relative to its shorter side.
pub struct Painter<'a> {
    frame: &'a mut FrameMut,
    /// 1 for a frame whose shorter side has 480 pixels.
    scale: f64,
}

/// Minimum and maximum scale: below it text is illegible, above it only hides more.
const SCALES: (f64, f64) = (0.75, 3.5);
/// Font size on chips and beside bars, in units of OpenCV's font.
const CHIP_FONT: f64 = 0.45;
const BARS_FONT: f64 = 0.4;
/// Pixels between a text and the edge of its background.
const PADDING: f64 = 3.0;

impl<'a> Painter<'a> {
    /// Creates a painter for this frame.
    pub fn new(frame: &'a mut FrameMut) -> Self {
        let shorter = frame.width().min(frame.height()) as f64;
        let scale = (shorter / 480.0).clamp(SCALES.0, SCALES.1);
        Self { frame, scale }
    }

    /// Scales a length that is `length` pixels in a frame whose shorter side has 480.
    pub fn pixels(&self, length: f64) -> i32 {
        (length * self.scale).round().max(1.0) as i32
    }

    /// Draws the corners of a box: a face that was detected.
    ///
    /// # Errors
    /// Returns errors of OpenCV.
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

    /// Draws a dashed box: a face that is predicted, not detected.
    ///
    /// # Errors
    /// Returns errors of OpenCV.
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

    /// Draws a dot.
    ///
    /// # Errors
    /// Returns errors of OpenCV.
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

    /// Returns width and height of a chip with this text.
    ///
    /// # Errors
    /// Returns errors of OpenCV.
    pub fn chip_size(&self, text: &str) -> opencv::Result<(i32, i32)> {
        let (width, ascent, descent) = self.text_size(text, CHIP_FONT)?;
        let padding = 2 * self.pixels(PADDING);
        Ok((width + padding, ascent + descent + padding))
    }

    /// Truncates the text so that its chip is at most `width` wide.
    ///
    /// # Errors
    /// Returns errors of OpenCV.
    pub fn fitting(&self, text: &str, width: i32) -> opencv::Result<String> {
        let mut kept = printable(text);
        let mut shown = kept.clone();
        while self.chip_size(&shown)?.0 > width && kept.pop().is_some() {
            shown = format!("{}..", kept.trim_end());
        }
        Ok(shown)
    }

    /// Returns width, height above and height below the baseline of a text.
    fn text_size(&self, text: &str, font: f64) -> opencv::Result<(i32, i32, i32)> {
        let mut baseline = 0;
        let (font, thickness) = (font * self.scale, self.stroke());
        let text = printable(text);
        let face = FONT_HERSHEY_SIMPLEX;
        let size = imgproc::get_text_size(&text, face, font, thickness, &mut baseline)?;
        Ok((size.width, size.height, baseline))
    }

    /// Returns the line thickness of letters.
    fn stroke(&self) -> i32 {
        self.scale.floor().max(1.0) as i32
    }

    fn text(&mut self, (x, y): (i32, i32), text: &str, font: f64, ink: Bgr) -> opencv::Result<()> {
        let (font, thickness) = (font * self.scale, self.stroke());
        let text = printable(text);
        let mut mat = self.frame.mat_mut()?;
        imgproc::put_text(
            &mut mat,
            &text,
            CvPoint::new(x, y),
            FONT_HERSHEY_SIMPLEX,
            font,
            scalar(ink),
            thickness,
            LINE_AA,
            false,
        )
    }

    /// Draws a chip of text with its upper left corner at (x, y).
    ///
    /// # Errors
    /// Returns errors of OpenCV.
    pub fn chip(
        &mut self,
        (x, y): (i32, i32),
        text: &str,
        colour: Bgr,
        look: ChipLook,
    ) -> opencv::Result<()> {
        let (width, height) = self.chip_size(text)?;
        let place = CvRect::new(x, y, width, height);
        let ink = match look {
            ChipLook::Filled => {
                self.tint(place, colour, 0.85);
                if luminance(colour) > 120.0 {
                    BLACK
                } else {
                    WHITE
                }
            }
            ChipLook::Outlined => {
                self.tint(place, BLACK, 0.65);
                self.edge_of(place, colour);
                colour
            }
        };
        let padding = self.pixels(PADDING);
        let (_, ascent, _) = self.text_size(text, CHIP_FONT)?;
        self.text((x + padding, y + padding + ascent), text, CHIP_FONT, ink)
    }

    fn edge_of(&mut self, place: CvRect, colour: Bgr) {
        let line = self.pixels(1.0);
        let CvRect {
            x,
            y,
            width,
            height,
        } = place;
        for edge in [
            CvRect::new(x, y, width, line),
            CvRect::new(x, y + height - line, width, line),
            CvRect::new(x, y, line, height),
            CvRect::new(x + width - line, y, line, height),
        ] {
            self.tint(edge, colour, 1.0);
        }
    }

    /// Returns width and height of a panel with these bars.
    ///
    /// # Errors
    /// Returns errors of OpenCV.
    pub fn bars_size(&self, bars: &Bars<'_>) -> opencv::Result<(i32, i32)> {
        let measures = self.bars_measures(bars)?;
        let padding = self.pixels(PADDING);
        let width = measures.names + measures.bar + 4 * padding;
        Ok((width, measures.row * bars.rows.len() as i32 + 2 * padding))
    }

    fn bars_measures(&self, bars: &Bars<'_>) -> opencv::Result<BarsMeasures> {
        let (mut names, mut row) = (0, 0);
        for (name, _) in bars.rows {
            let (width, ascent, descent) = self.text_size(name, BARS_FONT)?;
            names = names.max(width);
            row = row.max(ascent + descent);
        }
        Ok(BarsMeasures {
            names,
            row: row + 1,
            bar: self.pixels(40.0),
        })
    }

    /// Draws named bars of 0..1 on a dark background, with the upper left corner at (x, y).
    ///
    /// # Errors
    /// Returns errors of OpenCV.
    pub fn bars(&mut self, (x, y): (i32, i32), bars: &Bars<'_>, colour: Bgr) -> opencv::Result<()> {
        let (width, height) = self.bars_size(bars)?;
        let BarsMeasures { names, row, bar } = self.bars_measures(bars)?;
        let padding = self.pixels(PADDING);
        self.tint(CvRect::new(x, y, width, height), BLACK, 0.6);
        for (index, (name, value)) in bars.rows.iter().enumerate() {
            let top = y + padding + row * index as i32;
            let is_marked = bars.marked == Some(index);
            if is_marked {
                self.tint(CvRect::new(x, top, self.pixels(2.0), row), WHITE, 1.0);
            }
            let (_, ascent, _) = self.text_size(name, BARS_FONT)?;
            let ink = if is_marked { WHITE } else { LIGHT_GRAY };
            self.text((x + 2 * padding, top + ascent), name, BARS_FONT, ink)?;
            let filled = (f64::from(bar) * f64::from(value.clamp(0.0, 1.0))).round() as i32;
            let thick = (row / 2).max(2);
            let left = x + 3 * padding + names;
            let place = CvRect::new(left, top + (ascent - thick).max(0) / 2, filled, thick);
            self.tint(place, colour, 1.0);
        }
        Ok(())
    }

    /// Blends a colour into a part of the frame; anything beyond the frame is clipped.
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
        // Fixed point with 8 bits, so that every machine gives the same result.
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
}

/// Dimensions of a panel with bars.
struct BarsMeasures {
    /// Width of the longest name.
    names: i32,
    /// Height of a row.
    row: i32,
    /// Length of a bar of value 1.
    bar: i32,
}

/// Replaces characters that OpenCV's font does not have.
fn printable(text: &str) -> String {
    let letters = text.chars();
    letters
        .map(|letter| {
            if matches!(letter, ' '..='~') {
                letter
            } else {
                '?'
            }
        })
        .collect()
}

/// Returns left, top, right, bottom; invalid boxes (NaN, far outside) stay drawable.
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
        }
        let rows = [("happy", 2.0), ("sad", f32::NAN)];
        let bars = Bars {
            rows: &rows,
            marked: Some(7),
        };
        painter.bars((500, -500), &bars, WHITE).unwrap();
        for look in [ChipLook::Filled, ChipLook::Outlined] {
            let text = "wider than the frame, in letters that the font lacks: ä中";
            painter.chip((500, -500), text, BLACK, look).unwrap();
        }
    }

    #[test]
    fn a_text_is_cut_until_it_fits_and_stays_if_it_does() {
        let mut frame = gray(100, 100);
        let painter = Painter::new(&mut frame);
        assert_eq!(painter.fitting("door", 90).unwrap(), "door");
        let cut = painter.fitting("a camera with a long name", 90).unwrap();
        assert!(cut.starts_with("a cam") && cut.ends_with(".."), "{cut}");
        assert!(painter.chip_size(&cut).unwrap().0 <= 90);
        assert_eq!(painter.fitting("door", 0).unwrap(), "..");
    }

    #[test]
    fn text_grows_with_the_shorter_side_and_has_limits() {
        let height = |width, height| {
            let mut frame = gray(width, height);
            Painter::new(&mut frame).chip_size("happy").unwrap().1
        };
        assert_eq!(height(160, 90), height(320, 240));
        assert_eq!(height(1920, 1080), height(1080, 1920));
        assert!(height(1920, 1080) > height(640, 480));
        assert!(height(3840, 2160) <= 2160 / 25);
        assert_eq!(height(7680, 4320), height(3840, 2160));
    }

    #[test]
    fn neighbouring_tracks_have_different_colours() {
        for track in 0..20 {
            assert_ne!(colour_of(Some(track)), colour_of(Some(track + 1)));
        }
    }
}
