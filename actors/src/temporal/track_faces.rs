//! Follows the faces of a stream from frame to frame and fills the frames at which the detector did not look.
//!
//! Owns settings, time and segments; `tracker` owns the tracks, `motion` their prediction, `assignment` the matching.
//! Says which boxes are one face in one stream, never who that is.

mod assignment;
mod motion;
#[cfg(test)]
mod tests;
mod tracker;

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::units::HumanDuration;
use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::payload::Faces;
use tracker::{Rules, Tracker};

/// Gives the faces of a stream ids that stay (1, 2, 3, …; never used again within the stream) and predicts them on the frames
/// that the detector skipped. Tracks by motion and overlap alone, in the manner of SORT and ByteTrack; must stand in
/// a node with `each: stream`.
///
/// On a frame that the detector looked at, the faces are the detector's own, with their scores; a track that none of them
/// continues is lost: it is not put out, but found again under its id if a face turns up where it is expected within `max_lost`.
/// On a skipped frame the faces are predicted boxes without a score, their landmarks moved along with the box; a face whose
/// predicted centre leaves the frame is lost. A new segment (a reconnect) ends all tracks.
///
/// A box that has no area or is not finite cannot be followed and goes on without an id.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackFacesSettings {
    /// Least overlap (intersection over union, 0..1) between a track's predicted box and a detection that continues it.
    /// Default: 0.3.
    #[serde(default = "default_iou")]
    pub iou: f32,
    /// Least score of a detection that may start a track, and of those that are matched first. A detection without a score
    /// counts as 1. Default: 0.5, the least score that any of the detectors gives by default.
    #[serde(default = "default_high")]
    pub high: f32,
    /// Least score of a detection that may continue a track that was there on the detector's previous frame, after those from
    /// `high` on have been matched; if it continues none, it is taken for background and left out, as all below `low` are.
    /// Default: 0.1.
    #[serde(default = "default_low")]
    pub low: f32,
    /// How long a face may go undetected before its track ends, by the time stamps of the stream. Must be longer than the
    /// time between two frames that the detector looks at. Default: 1s.
    #[serde(default = "default_max_lost")]
    pub max_lost: HumanDuration,
    /// Detections in a row that a new track needs before it is put out. Default: 1.
    #[serde(default = "default_min_hits")]
    pub min_hits: u32,
}

fn default_iou() -> f32 {
    0.3
}

fn default_high() -> f32 {
    0.5
}

fn default_low() -> f32 {
    0.1
}

fn default_max_lost() -> HumanDuration {
    HumanDuration(Duration::from_secs(1))
}

fn default_min_hits() -> u32 {
    1
}

/// See [`TrackFacesSettings`].
pub struct TrackFaces {
    node: String,
    tracker: Tracker,
    max_lost: Duration,
    /// Segment and time stamp of the previous frame.
    previous: Option<(u32, i64)>,
    /// Time since the detector's previous frame in this segment.
    since_detection: Option<Duration>,
    warned: bool,
}

impl Actor for TrackFaces {
    const NAME: &'static str = "track_faces";
    type Settings = TrackFacesSettings;

    fn ports(_: &TrackFacesSettings) -> Ports {
        Ports::new()
            .input::<Faces>("in")
            .output::<Faces>("out")
            .per_stream()
    }

    fn check(settings: &TrackFacesSettings) -> Result<(), ActorError> {
        let TrackFacesSettings { iou, high, low, .. } = settings;
        for (name, value) in [("iou", iou), ("high", high), ("low", low)] {
            if !(0.0..=1.0).contains(value) {
                return Err(format!("{name} is {value}, but must be between 0 and 1").into());
            }
        }
        if low > high {
            return Err(
                format!("low is {low}, but must not be above high, which is {high}").into(),
            );
        }
        if settings.max_lost.0.is_zero() {
            return Err(
                "max_lost is 0, but must be longer than the time between detections".into(),
            );
        }
        if settings.min_hits == 0 {
            return Err("min_hits is 0, but must be at least 1".into());
        }
        Ok(())
    }

    fn create(settings: TrackFacesSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        Ok(Self {
            node: setup.node.clone(),
            // After a panic the faces get new ids, which the stream has not seen yet.
            tracker: Tracker::new(
                Rules {
                    iou: settings.iou,
                    high: settings.high,
                    low: settings.low,
                    max_lost: settings.max_lost.0,
                    min_hits: settings.min_hits,
                },
                setup.lasting_number(),
            ),
            max_lost: settings.max_lost.0,
            previous: None,
            since_detection: None,
            warned: false,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let mut faces = Arc::unwrap_or_clone(input.take::<Faces>());
        if !faces.detected && !faces.faces.is_empty() {
            return Err(format!(
                "the frame was not looked at by the detector but has {} faces; track_faces must follow detect_faces",
                faces.faces.len()
            )
            .into());
        }
        self.pass_time(input.envelope.segment, input.envelope.pts_ns);
        if faces.detected {
            self.check_pace();
            faces.faces = self.tracker.detect(faces.faces);
        } else {
            let frame = &faces.video.frame;
            faces.faces = self
                .tracker
                .predict(frame.width() as f32, frame.height() as f32);
        }
        out.emit(input.envelope, faces);
        Ok(())
    }
}

impl TrackFaces {
    /// Moves the tracks on to the time of a frame. A time stamp that does not rise passes no time.
    fn pass_time(&mut self, segment: u32, pts_ns: i64) {
        let dt = match self.previous.replace((segment, pts_ns)) {
            Some((same, before)) if same == segment => {
                let ns = i128::from(pts_ns) - i128::from(before);
                Duration::from_nanos(u64::try_from(ns.max(0)).unwrap_or(u64::MAX))
            }
            _ => {
                self.tracker.clear();
                self.since_detection = None;
                Duration::ZERO
            }
        };
        self.tracker.advance(dt);
        self.since_detection = self.since_detection.map(|since| since.saturating_add(dt));
    }

    /// Says once if no track can live from one detection to the next.
    fn check_pace(&mut self) {
        let gap = self.since_detection.replace(Duration::ZERO);
        if let Some(gap) = gap.filter(|&gap| gap > self.max_lost && !self.warned) {
            self.warned = true;
            tracing::warn!(
                node = self.node,
                "the detector looked at no frame for {gap:?}, longer than max_lost ({:?}): \
                 faces get new ids; raise max_lost, or detect more often",
                self.max_lost
            );
        }
    }
}
