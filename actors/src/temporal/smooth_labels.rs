//! Keeps a face's expression from flickering: smooths probabilities and chooses a stable label for each track.
//!
//! Owns time and the assignment of state to tracks; `filter` smooths, `choice` does voting and hysteresis, `settings`
//! reads the graph file.

mod choice;
mod filter;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::{Actor, ActorError, End, Envelope, Input, Outputs, Ports, Setup, Stream};
use fermata_vision::face::Probabilities;
use fermata_vision::{Expression, Face};

use crate::payload::Faces;
use crate::stream_time::StreamTime;
use choice::Choice;
use filter::{Filter, Values, normalised};
use settings::Stages;
pub use settings::{HysteresisSettings, OneEuroSettings, SmoothLabelsSettings, VoteWindow};

/// Maximum deviation from 1 of the sum of a classifier's probabilities; beyond it they are rejected.
const TOLERANCE: f64 = 0.01;

/// See `SmoothLabelsSettings`.
pub struct SmoothLabels {
    stages: Stages,
    forget: Duration,
    /// State by [`Stream::id`].
    streams: BTreeMap<u32, StreamState>,
}

/// The tracks of a stream, and its time.
#[derive(Debug, Default)]
struct StreamState {
    time: StreamTime,
    /// Time of the current frame since the segment began; never decreases.
    now: Duration,
    /// State by the tracker's key.
    tracks: BTreeMap<u64, TrackState>,
}

/// State of a track that has been observed.
#[derive(Debug)]
struct TrackState {
    filter: Filter,
    choice: Choice,
    observed_at: Duration,
    seen_at: Duration,
    latest: (Probabilities, Expression),
}

impl Actor for SmoothLabels {
    const NAME: &'static str = "smooth_labels";
    type Settings = SmoothLabelsSettings;

    fn ports(_: &SmoothLabelsSettings) -> Ports {
        Ports::new().input::<Faces>("in").output::<Faces>("out")
    }

    fn check(settings: &SmoothLabelsSettings) -> Result<(), ActorError> {
        settings.stages()?;
        Ok(())
    }

    fn create(settings: SmoothLabelsSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            stages: settings.stages()?,
            forget: settings.forget.0,
            streams: BTreeMap::new(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let mut faces = Arc::unwrap_or_clone(input.take::<Faces>());
        // All are read before any state changes, so that a rejected frame has no effect.
        let observed = (faces.faces.iter().enumerate())
            .map(|(index, face)| read(index, face))
            .collect::<Result<Vec<_>, _>>()?;
        let stream = self.streams.entry(input.envelope.stream.id).or_default();
        stream.pass_time(&input.envelope, self.forget);
        for (face, observed) in faces.faces.iter_mut().zip(observed) {
            // A face is smoothed from its first detection on, even before it has a track.
            let result = match face.tracklet.or(face.track) {
                Some(track) => stream.observe(track, observed, &self.stages),
                None => observed.map(|values| alone(&values)),
            };
            (face.smoothed, face.label) = result.unzip();
        }
        out.emit(input.envelope, faces);
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, _: End) -> Result<(), ActorError> {
        self.streams.remove(&stream.id);
        Ok(())
    }
}

impl StreamState {
    /// Advances to the time of a frame and forgets tracks that have been absent for too long.
    fn pass_time(&mut self, envelope: &Envelope, forget: Duration) {
        match self.time.pass(envelope) {
            Some(dt) => {
                self.now = self.now.saturating_add(dt);
                let now = self.now;
                self.tracks
                    .retain(|_, track| now.saturating_sub(track.seen_at) <= forget);
            }
            None => {
                self.now = Duration::ZERO;
                self.tracks.clear();
            }
        }
    }

    /// Returns the smoothed probabilities and the label of a track that is in the current frame.
    fn observe(
        &mut self,
        track: u64,
        observed: Option<Values>,
        stages: &Stages,
    ) -> Option<(Probabilities, Expression)> {
        let now = self.now;
        let Some(observed) = observed else {
            let known = self.tracks.get_mut(&track)?;
            known.seen_at = now;
            return Some(known.latest);
        };
        let state = self.tracks.entry(track).or_insert_with(|| TrackState {
            filter: Filter::new(stages.filter),
            choice: Choice::new(stages.choice),
            observed_at: now,
            seen_at: now,
            latest: alone(&observed),
        });
        let dt = now.saturating_sub(state.observed_at);
        let smoothed = single(&state.filter.apply(&observed, dt));
        let label = state.choice.observe(&smoothed, now);
        (state.observed_at, state.seen_at) = (now, now);
        state.latest = (smoothed, label);
        Some(state.latest)
    }
}

/// Returns the result for a face without any history.
fn alone(values: &Values) -> (Probabilities, Expression) {
    let probabilities = single(values);
    (probabilities, Expression::most_probable(&probabilities))
}

fn single(values: &Values) -> Probabilities {
    values.map(|value| value as f32)
}

/// Returns a face's probabilities, normalised to a sum of exactly 1, if it has any.
fn read(index: usize, face: &Face) -> Result<Option<Values>, String> {
    let Some(probabilities) = face.probabilities else {
        return Ok(None);
    };
    let values = probabilities.map(f64::from);
    let sum: f64 = values.iter().sum();
    // Written so that NaN is rejected.
    let valid = values.iter().all(|&value| value >= 0.0) && (sum - 1.0).abs() <= TOLERANCE;
    if !valid {
        return Err(format!(
            "face {index} has the probabilities {probabilities:?}, which are not all 0 or more with a sum of 1; \
             check `output.kind` (logits or probabilities) in the model's card"
        ));
    }
    Ok(Some(normalised(&values)))
}
