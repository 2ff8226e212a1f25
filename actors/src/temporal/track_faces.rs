//! Tracks the faces of a stream from frame to frame and predicts them on the frames that the detector skipped.
//!
//! Owns settings, time and segments; `tracker` owns the tracks, `motion` their prediction, `assignment` the matching,
//! `scene` the detection of cuts. Tells which boxes are the same face within a stream, never whose face it is.

mod assignment;
mod motion;
mod scene;
#[cfg(test)]
mod tests;
mod tracker;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fermata_engine::units::HumanDuration;
use fermata_engine::{Actor, ActorError, End, Input, Outputs, Ports, Setup};
use fermata_vision::Frame;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::payload::Faces;
use crate::stream_time::StreamTime;
use scene::SmallCopy;
use tracker::{Rules, Tracker};

/// Gives the faces of a stream stable ids (1, 2, 3, …; never reused within the stream) and predicts them on the frames
/// that the detector skipped. Tracks by motion and overlap alone, in the manner of SORT and ByteTrack; must be in a
/// node with `each: stream`.
///
/// On a frame that the detector ran on, the faces are the detector's own, with their scores; a track that none of them
/// continues is lost: it is not emitted (but `lost` contains its expected position), and is found again under its id if
/// a face appears nearby within `max_lost`. Doubtful detections continue tracks that would otherwise be lost, and start
/// none. On a skipped frame the faces are predicted boxes without a score, and their landmarks move with the box; a
/// face whose predicted centre leaves the frame is lost. A new segment (a reconnect) and a scene cut end all tracks.
///
/// A box that has no area or is not finite cannot be tracked and passes without an id.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackFacesSettings {
    /// Minimum overlap (intersection over union, 0..1) between a track's predicted box and a detection that continues
    /// it. Default: 0.3.
    #[serde(default = "default_iou")]
    pub iou: f32,
    /// Search range for lost tracks: before their overlap is computed, the predicted box and any unmatched detection
    /// are enlarged on each side by this fraction of their sides, as in C-BIoU (Yang 2023). 0 searches no further than
    /// `iou`. Default: 0.5.
    #[serde(default = "default_search")]
    pub search: f32,
    /// Minimum score of a detection that may start a track, and that is matched in the first round. A detection without
    /// a score counts as 1. Default: 0, every face of the detector: doubtful detections never start a track.
    #[serde(default)]
    pub high: f32,
    /// Minimum score of a detection, doubtful or not, that may continue a track which was present on the detector's
    /// previous frame, after the good detections have been matched; a face below `high` that continues none is treated
    /// as background: it is left out, but hidden where faces are blurred. Default: 0.1.
    #[serde(default = "default_low")]
    pub low: f32,
    /// How long a face may go undetected before its track ends, by the time stamps of the stream. Must be longer than
    /// the time between two frames that the detector runs on. Default: 1s.
    #[serde(default = "default_max_lost")]
    pub max_lost: HumanDuration,
    /// Number of consecutive detections after which a face gets its id; until then it is emitted and smoothed, but
    /// `track` is empty. Default: 2.
    #[serde(default = "default_min_hits")]
    pub min_hits: u32,
    /// Difference to the previous frame above which a frame counts as a scene cut: 1 − correlation of small copies of
    /// both, 0..2. In the clips used to choose it, consecutive frames stay below 0.15 and cuts are above 0.57. 2
    /// disables cut detection. Default: 0.4.
    #[serde(default = "default_cut")]
    pub cut: f32,
}

fn default_iou() -> f32 {
    0.3
}

fn default_search() -> f32 {
    0.5
}

fn default_cut() -> f32 {
    0.4
}

fn default_low() -> f32 {
    0.1
}

fn default_max_lost() -> HumanDuration {
    HumanDuration(Duration::from_secs(1))
}

fn default_min_hits() -> u32 {
    2
}

/// See `TrackFacesSettings`.
pub struct TrackFaces {
    node: String,
    tracker: Tracker,
    max_lost: Duration,
    cut: f32,
    time: StreamTime,
    /// Small copy of the previous frame.
    previous: Option<SmallCopy>,
    /// Time since the detector's previous frame in this segment and scene.
    since_detection: Option<Duration>,
    warned: bool,
    cuts: u64,
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
        if *high > 0.0 && low > high {
            return Err(
                format!("low is {low}, but must not be above high, which is {high}").into(),
            );
        }
        for (name, value) in [("search", settings.search), ("cut", settings.cut)] {
            if !(0.0..=2.0).contains(&value) {
                return Err(format!("{name} is {value}, but must be between 0 and 2").into());
            }
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
        // After a panic, faces get new ids that the stream has not used yet; likewise after this part of a site was
        // killed.
        let ids = setup.lasting_number();
        ids.fetch_max(setup.numbers_from(), Ordering::Relaxed);
        Ok(Self {
            node: setup.node.clone(),
            tracker: Tracker::new(
                Rules {
                    iou: settings.iou,
                    search: settings.search,
                    high: settings.high,
                    low: settings.low,
                    max_lost: settings.max_lost.0,
                    min_hits: settings.min_hits,
                },
                ids,
            ),
            max_lost: settings.max_lost.0,
            cut: settings.cut,
            time: StreamTime::default(),
            previous: None,
            since_detection: None,
            warned: false,
            cuts: 0,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let mut faces = Arc::unwrap_or_clone(input.take::<Faces>());
        if !faces.detected && !faces.faces.is_empty() {
            return Err(format!(
                "the detector skipped the frame, but it has {} faces; track_faces must follow detect_faces",
                faces.faces.len()
            )
            .into());
        }
        match self.time.pass(&input.envelope) {
            Some(dt) => self.pass_time(dt),
            None => self.start_anew(),
        }
        self.look_for_a_cut(&faces.video.frame);
        if faces.detected {
            self.check_pace();
            self.tracker.detect(input.envelope.sequence, &mut faces);
        } else {
            self.tracker.predict(&mut faces);
        }
        faces.known = self
            .since_detection
            .is_some_and(|since| since <= self.max_lost);
        out.emit(input.envelope, faces);
        Ok(())
    }

    fn finish(&mut self, _: End) -> Result<(), ActorError> {
        if self.cuts > 0 {
            tracing::info!(
                node = self.node,
                cuts = self.cuts,
                "scene cuts, each of which ended all tracks"
            );
        }
        Ok(())
    }
}

impl TrackFaces {
    /// Advances the tracks by `dt`.
    fn pass_time(&mut self, dt: Duration) {
        self.tracker.advance(dt);
        self.since_detection = self.since_detection.map(|since| since.saturating_add(dt));
    }

    /// Forgets all faces.
    fn start_anew(&mut self) {
        self.tracker.clear();
        self.since_detection = None;
        self.previous = None;
    }

    /// Ends all tracks at a scene cut; the faces are then unknown until the detector runs again.
    fn look_for_a_cut(&mut self, frame: &Frame) {
        if self.cut >= 2.0 {
            return;
        }
        let now = SmallCopy::of(frame);
        let unlike = self.previous.as_ref().map(|before| before.unlike(&now));
        if unlike.is_some_and(|unlike| unlike > self.cut) {
            self.cuts += 1;
            self.start_anew();
        }
        self.previous = Some(now);
    }

    /// Warns once if no track can survive from one detection to the next.
    fn check_pace(&mut self) {
        let gap = self.since_detection.replace(Duration::ZERO);
        if let Some(gap) = gap.filter(|&gap| gap > self.max_lost && !self.warned) {
            self.warned = true;
            tracing::warn!(
                node = self.node,
                "the detector ran on no frame for {gap:?}, longer than max_lost ({:?}): \
                 faces get new ids; raise max_lost, or detect more often",
                self.max_lost
            );
        }
    }
}
