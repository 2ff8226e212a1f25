//! Withholds faces from the classifier that it could only guess at: too small, blurred, turned away.
//!
//! Owns the measures and the counts. Whatever the reason, a face that does not pass continues without its crop.

use std::sync::atomic::Ordering;

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use fermata_vision::{Face, Frame, Landmarks, Rect};
use opencv::core::{CV_64F, Mat, Rect as CvRect, Scalar, Size};
use opencv::imgproc::{self, COLOR_BGR2GRAY, INTER_AREA};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::Faces;

/// Removes the crop from faces that a classifier could only guess at, so that they are shown, logged and tracked, but
/// not classified. Belongs between `crop_faces` and `classify_expression`. The report counts faces that pass, and by
/// cause those that do not (`counted`). Every limit is off until it is set; the limits on head pose need landmarks, and
/// faces without landmarks pass them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateFacesSettings {
    /// Minimum length of a face's shorter side, in pixels of the frame. Default: none.
    #[serde(default)]
    pub min_size: Option<f32>,
    /// Minimum sharpness: variance of the Laplacian of the face's box in gray, resized to 64 × 64 (Pech-Pacheco 2000).
    /// A sharp face has hundreds, a blurred one a few tens. Default: none.
    #[serde(default)]
    pub min_sharpness: Option<f64>,
    /// Maximum turn of the head to a side: 0 is frontal, 1 is where the nose is as far to the side as an eye. Default:
    /// none.
    #[serde(default)]
    pub max_turn: Option<f32>,
    /// Maximum tilt of the head towards a shoulder, in degrees of the line between the eyes. Default: none.
    #[serde(default)]
    pub max_tilt: Option<f32>,
}

/// Why a face does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Small,
    Blurred,
    Turned,
    Tilted,
}

impl Cause {
    /// Returns its name in the report.
    fn name(self) -> &'static str {
        match self {
            Self::Small => "faces smaller than min_size",
            Self::Blurred => "faces less sharp than min_sharpness",
            Self::Turned => "faces turned further than max_turn",
            Self::Tilted => "faces tilted further than max_tilt",
        }
    }
}

/// Name in the report for faces within all limits.
const PASSED: &str = "faces that passed";

/// See `GateFacesSettings`.
pub struct GateFaces {
    setup: Setup,
    settings: GateFacesSettings,
}

impl Actor for GateFaces {
    const NAME: &'static str = "gate_faces";
    type Settings = GateFacesSettings;

    fn ports(_: &GateFacesSettings) -> Ports {
        Ports::new()
            .input::<Faces>("in")
            .output::<Faces>("out")
            .stateless()
    }

    fn check(settings: &GateFacesSettings) -> Result<(), ActorError> {
        let limits = [
            ("min_size", settings.min_size.map(f64::from)),
            ("min_sharpness", settings.min_sharpness),
            ("max_turn", settings.max_turn.map(f64::from)),
            ("max_tilt", settings.max_tilt.map(f64::from)),
        ];
        for (name, limit) in limits {
            if limit.is_some_and(|limit| !(limit >= 0.0 && limit.is_finite())) {
                return Err(format!(
                    "{name} is {}, but must be 0 or more",
                    limit.unwrap_or_default()
                )
                .into());
            }
        }
        if limits.iter().all(|(_, limit)| limit.is_none()) {
            return Err("no limit is set, so every face would pass; set min_size, min_sharpness, max_turn or max_tilt".into());
        }
        Ok(())
    }

    fn create(settings: GateFacesSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        fermata_vision::opencv_threads::use_one_thread()?;
        Ok(Self {
            setup: setup.clone(),
            settings,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let mut faces = std::sync::Arc::unwrap_or_clone(input.take::<Faces>());
        for face in faces.faces.iter_mut().filter(|face| face.crop.is_some()) {
            let cause = self.settings.cause(&faces.video.frame, face)?;
            if cause.is_some() {
                face.crop = None;
            }
            let tally = self.setup.tally(cause.map_or(PASSED, Cause::name));
            tally.fetch_add(1, Ordering::Relaxed);
        }
        out.emit(input.envelope, faces);
        Ok(())
    }
}

impl GateFacesSettings {
    /// Returns the first limit that a face violates.
    fn cause(&self, frame: &Frame, face: &Face) -> opencv::Result<Option<Cause>> {
        let below = |limit: Option<f32>, value: f32| limit.is_some_and(|limit| value < limit);
        let above = |limit: Option<f32>, value: f32| limit.is_some_and(|limit| value > limit);
        if below(self.min_size, face.rect.w.min(face.rect.h)) {
            return Ok(Some(Cause::Small));
        }
        if let Some(landmarks) = &face.landmarks {
            if above(self.max_turn, turn(landmarks)) {
                return Ok(Some(Cause::Turned));
            }
            if above(self.max_tilt, tilt(landmarks)) {
                return Ok(Some(Cause::Tilted));
            }
        }
        if let Some(limit) = self.min_sharpness
            && sharpness(frame, &face.rect)?.is_some_and(|sharpness| sharpness < limit)
        {
            return Ok(Some(Cause::Blurred));
        }
        Ok(None)
    }
}

/// Returns the distance of the nose from the midpoint between the eyes, along the line between them, in halves of the
/// distance between the eyes.
fn turn([right, left, nose, ..]: &Landmarks) -> f32 {
    let (dx, dy) = (left.x - right.x, left.y - right.y);
    let squared = dx * dx + dy * dy;
    let (mx, my) = ((left.x + right.x) / 2.0, (left.y + right.y) / 2.0);
    let along = (nose.x - mx) * dx + (nose.y - my) * dy;
    if squared > 0.0 {
        (2.0 * along / squared).abs()
    } else {
        // The eyes are at the same point: a profile.
        f32::INFINITY
    }
}

/// Returns the angle in degrees between the line of the eyes and the frame's rows.
fn tilt([right, left, ..]: &Landmarks) -> f32 {
    let degrees = (left.y - right.y)
        .atan2(left.x - right.x)
        .to_degrees()
        .abs();
    // The right eye is the person's own: it is on the left in a picture that is not mirrored.
    degrees.min(180.0 - degrees)
}

/// Returns the variance of the Laplacian; `None` for a box outside the frame.
fn sharpness(frame: &Frame, rect: &Rect) -> opencv::Result<Option<f64>> {
    let (columns, rows) = (frame.width() as f32, frame.height() as f32);
    let left = rect.x.clamp(0.0, columns) as i32;
    let top = rect.y.clamp(0.0, rows) as i32;
    let right = (rect.x + rect.w).clamp(0.0, columns) as i32;
    let bottom = (rect.y + rect.h).clamp(0.0, rows) as i32;
    if right <= left || bottom <= top {
        return Ok(None);
    }
    let mat = frame.mat()?;
    let part = Mat::roi(&mat, CvRect::new(left, top, right - left, bottom - top))?;
    let (mut gray, mut small, mut edges) = (Mat::default(), Mat::default(), Mat::default());
    imgproc::cvt_color(&part, &mut gray, COLOR_BGR2GRAY, 0)?;
    imgproc::resize(&gray, &mut small, Size::new(64, 64), 0.0, 0.0, INTER_AREA)?;
    imgproc::laplacian(
        &small,
        &mut edges,
        CV_64F,
        1,
        1.0,
        0.0,
        opencv::core::BORDER_DEFAULT,
    )?;
    let (mut mean, mut deviation) = (Scalar::default(), Scalar::default());
    opencv::core::mean_std_dev(&edges, &mut mean, &mut deviation, &opencv::core::no_array())?;
    Ok(Some(deviation[0] * deviation[0]))
}

#[cfg(test)]
mod tests {
    use fermata_engine::testing::ActorDriver;
    use fermata_vision::Point;
    use fermata_vision::face::Crop;
    use fermata_vision::pool::Pool;
    use serde_json::json;

    use super::*;
    use crate::payload::VideoFrame;

    fn at(points: [(f32, f32); 5]) -> Landmarks {
        points.map(|(x, y)| Point { x, y })
    }

    fn frontal() -> Landmarks {
        at([
            (10.0, 10.0),
            (30.0, 10.0),
            (20.0, 20.0),
            (13.0, 30.0),
            (27.0, 30.0),
        ])
    }

    fn face(side: f32, landmarks: Landmarks) -> Face {
        Face {
            rect: Rect {
                x: 0.0,
                y: 0.0,
                w: side,
                h: side,
            },
            landmarks: Some(landmarks),
            crop: Some(Crop {
                values: std::sync::Arc::new(Pool::new().take(1)),
            }),
            ..Face::default()
        }
    }

    /// Returns which of the faces pass.
    fn passing(settings: serde_json::Value, frame: Frame, faces: Vec<Face>) -> Vec<bool> {
        let mut actor = ActorDriver::<GateFaces>::new(settings).unwrap();
        let faces = Faces::found(VideoFrame::of(frame), faces);
        let outcome = actor.feed(faces).unwrap();
        let faces = outcome.only::<Faces>();
        let causes = [Cause::Small, Cause::Blurred, Cause::Turned, Cause::Tilted];
        let names = causes.map(Cause::name).into_iter().chain([PASSED]);
        let counted = names.map(|name| actor.actor.setup.tally(name).load(Ordering::Relaxed));
        assert_eq!(counted.sum::<u64>(), faces.faces.len() as u64);
        faces.faces.iter().map(|face| face.crop.is_some()).collect()
    }

    fn stripes(soft: bool) -> Frame {
        let value = |x: usize| {
            if soft {
                100 + x as u8
            } else if (x / 8).is_multiple_of(2) {
                30
            } else {
                220
            }
        };
        Frame::from_bgr(
            100,
            100,
            (0..10_000).flat_map(|at| [value(at % 100); 3]).collect(),
        )
    }

    #[test]
    fn small_faces_do_not_pass() {
        let faces = vec![face(39.0, frontal()), face(40.0, frontal())];
        assert_eq!(
            passing(json!({"min_size": 40}), stripes(false), faces),
            [false, true]
        );
    }

    #[test]
    fn heads_that_are_turned_or_tilted_do_not_pass_and_mirrored_ones_do() {
        let turned = at([
            (10.0, 10.0),
            (30.0, 10.0),
            (29.0, 20.0),
            (13.0, 30.0),
            (27.0, 30.0),
        ]);
        let tilted = at([
            (10.0, 10.0),
            (30.0, 30.0),
            (14.0, 26.0),
            (5.0, 30.0),
            (20.0, 40.0),
        ]);
        let mirrored = at([
            (30.0, 10.0),
            (10.0, 10.0),
            (20.0, 20.0),
            (27.0, 30.0),
            (13.0, 30.0),
        ]);
        let faces = [frontal(), turned, tilted, mirrored].map(|landmarks| face(50.0, landmarks));
        let settings = json!({"max_turn": 0.5, "max_tilt": 30});
        assert_eq!(
            passing(settings, stripes(false), faces.into()),
            [true, false, false, true]
        );
    }

    #[test]
    fn blurred_faces_do_not_pass() {
        for (soft, passes) in [(true, false), (false, true)] {
            let faces = vec![face(100.0, frontal())];
            assert_eq!(
                passing(json!({"min_sharpness": 50}), stripes(soft), faces),
                [passes]
            );
        }
    }

    #[test]
    fn a_gate_without_a_limit_or_with_a_wrong_one_is_refused() {
        for (settings, words) in [
            (json!({}), "no limit"),
            (json!({"max_turn": -1}), "max_turn is -1"),
        ] {
            let error = ActorDriver::<GateFaces>::new(settings).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
