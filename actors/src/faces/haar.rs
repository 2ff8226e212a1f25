//! OpenCV's Haar cascade: needs no model of ours and no ONNX Runtime, finds upright frontal faces, gives no landmarks.
//! P. Viola and M. Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features", 2001.

use std::path::Path;

use fermata_engine::ActorError;
use fermata_vision::{Frame, Rect};
use opencv::core::{Mat, Rect as CvRect, Size, Vector};
use opencv::imgproc::{COLOR_BGR2GRAY, INTER_AREA};
use opencv::objdetect::CascadeClassifier;
use opencv::prelude::*;

use super::nms::Candidate;
use super::pixels::{self, Resized};

/// The cascade that `model: haar` selects. On the videos used to choose it, it finds as many faces as
/// `haarcascade_frontalface_default.xml` with far fewer false positives.
pub const DEFAULT: &str = "/usr/share/opencv4/haarcascades/haarcascade_frontalface_alt2.xml";

/// Its name in the `model` setting.
pub const NAME: &str = "haar";

/// Returns whether a `model` setting names a cascade, which misses many faces that a network finds.
pub fn is_cascade(model: &Path) -> bool {
    let ending = model.extension();
    model == Path::new(NAME) || ending.is_some_and(|ending| ending == "xml")
}

/// Ratio of the window sizes of neighbouring pyramid levels.
const SCALE_FACTOR: f64 = 1.1;
/// Number of agreeing windows at which the score is one half.
const HALF_SCORE: f32 = 4.0;

/// A loaded cascade and its buffers.
pub(super) struct Haar {
    cascade: CascadeClassifier,
    max_side: Option<usize>,
    min_size: f32,
    gray: Mat,
    resized: Resized,
    rects: Vector<CvRect>,
    windows: Vector<i32>,
}

impl Haar {
    /// Loads a cascade; `min_size` is the smallest face to detect, in pixels of the frame.
    pub(super) fn load(
        path: &Path,
        max_side: Option<usize>,
        min_size: f32,
    ) -> Result<Self, ActorError> {
        let unusable = || {
            format!(
                "{} is not a Haar cascade that OpenCV can read",
                path.display()
            )
        };
        let text = path.to_str().ok_or_else(unusable)?;
        let cascade =
            CascadeClassifier::new(text).map_err(|error| format!("{}: {error}", unusable()))?;
        if cascade.empty()? {
            return Err(unusable().into());
        }
        Ok(Self {
            cascade,
            max_side,
            min_size,
            gray: Mat::default(),
            resized: Resized::default(),
            rects: Vector::new(),
            windows: Vector::new(),
        })
    }

    /// Appends candidates with at least this score, in pixels of the frame. The score is n/(n+4) for n agreeing
    /// windows: a measure of confidence, not a probability.
    pub(super) fn detect(
        &mut self,
        frame: &Frame,
        min_score: f32,
        found: &mut Vec<Candidate>,
    ) -> Result<(), ActorError> {
        let frame_size = (frame.width(), frame.height());
        let size = pixels::limited(frame_size, self.max_side);
        opencv::imgproc::cvt_color(&frame.mat()?, &mut self.gray, COLOR_BGR2GRAY, 0)?;
        let gray = if size == frame_size {
            &self.gray
        } else {
            self.resized.resize(&self.gray, size, INTER_AREA)?
        };
        let scale_x = frame_size.0 as f32 / size.0 as f32;
        let scale_y = frame_size.1 as f32 / size.1 as f32;
        let smallest = (self.min_size / scale_x.max(scale_y)).round() as i32;
        self.cascade.detect_multi_scale2(
            gray,
            &mut self.rects,
            &mut self.windows,
            SCALE_FACTOR,
            min_neighbors(min_score),
            0,
            Size::new(smallest, smallest),
            Size::default(),
        )?;
        for (rect, windows) in self.rects.iter().zip(self.windows.iter()) {
            let windows = windows as f32;
            let candidate = Candidate {
                rect: Rect {
                    x: rect.x as f32 * scale_x,
                    y: rect.y as f32 * scale_y,
                    w: rect.width as f32 * scale_x,
                    h: rect.height as f32 * scale_y,
                },
                landmarks: None,
                score: windows / (windows + HALF_SCORE),
            };
            if candidate.score >= min_score {
                found.push(candidate);
            }
        }
        Ok(())
    }
}

/// Returns the window count for OpenCV, which keeps groups of more windows than this. At least 1: with 0 it would not
/// group at all.
fn min_neighbors(min_score: f32) -> i32 {
    // n/(n+4) ≥ s implies n ≥ 4s/(1−s); the cast saturates for s = 1. Rounded down: a group too many is filtered by its
    // score, one too few would be lost.
    let windows = (HALF_SCORE * min_score / (1.0 - min_score)).floor();
    (windows as i32).saturating_sub(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_limit_becomes_a_number_of_agreeing_windows() {
        assert_eq!(min_neighbors(0.5), 3);
        assert_eq!(min_neighbors(0.0), 1);
        assert_eq!(min_neighbors(0.8), 15);
        assert!(min_neighbors(1.0) > 1_000_000);
    }

    #[test]
    fn a_file_that_is_no_cascade_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::with_suffix(".xml").unwrap();
        std::fs::write(file.path(), "<opencv_storage></opencv_storage>").unwrap();
        let Err(error) = Haar::load(file.path(), None, 24.0) else {
            panic!("an empty storage is no cascade")
        };
        let name = file.path().display().to_string();
        assert!(error.to_string().contains(&name), "{error}");
    }
}
