//! Draws what is known of the faces into the video: boxes, labels, bars, the time it took. Or makes faces unrecognisable.

use std::collections::BTreeMap;

use fermata_engine::{Actor, ActorError, Clock, ClockMode, Envelope, Input, Outputs, Ports, Setup};
use fermata_vision::draw::{BLACK, Blur, Painter, colour_of};
use fermata_vision::{Expression, Face, FramePool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::payload::{Faces, VideoFrame};

/// Draws boxes, labels and bars into the video.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrawOverlaySettings {
    /// Draw boxes and labels; without them only `blur` changes the picture. Default: true.
    #[serde(default = "yes")]
    pub labels: bool,
    /// Draw a bar for each expression beside the three largest faces that have been classified. Default: true.
    #[serde(default = "yes")]
    pub bars: bool,
    /// Show the stream, its time and the latency from capture (not under `asap`). Default: true.
    #[serde(default = "yes")]
    pub status: bool,
    /// Draw the detector's landmarks. Default: false.
    #[serde(default)]
    pub landmarks: bool,
    /// Make faces unrecognisable. Default: none.
    #[serde(default)]
    pub blur: BlurSetting,
}

fn yes() -> bool {
    true
}

/// How faces are made unrecognisable.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlurSetting {
    /// Faces stay as they are.
    #[default]
    None,
    /// A strong blur.
    Gaussian,
    /// A coarse mosaic.
    Pixelate,
}

impl BlurSetting {
    /// How, if at all.
    pub(crate) fn how(self) -> Option<Blur> {
        match self {
            Self::None => None,
            Self::Gaussian => Some(Blur::Gaussian),
            Self::Pixelate => Some(Blur::Pixelate),
        }
    }
}

/// Faces that get bars, so that a crowd stays visible.
const MOST_BARS: usize = 3;
/// Shares of the frame's height below which a face is too small for bars beside it.
const LEAST_FOR_BARS: f32 = 0.08;

/// See `DrawOverlaySettings`.
pub struct DrawOverlay {
    settings: DrawOverlaySettings,
    pool: FramePool,
    clock: Option<Clock>,
    /// By stream: the latency as shown, which changes slowly enough to be read.
    latency_ms: BTreeMap<u32, f64>,
}

impl Actor for DrawOverlay {
    const NAME: &'static str = "draw_overlay";
    type Settings = DrawOverlaySettings;

    fn ports(_: &DrawOverlaySettings) -> Ports {
        Ports::new()
            .input::<Faces>("in")
            .output::<VideoFrame>("out")
    }

    fn create(settings: DrawOverlaySettings, setup: &Setup) -> Result<Self, ActorError> {
        fermata_vision::opencv_threads::use_one_thread()?;
        let timed = setup.clock_mode != ClockMode::Asap;
        Ok(Self {
            settings,
            pool: FramePool::new(),
            clock: timed.then(|| setup.clock.clone()),
            latency_ms: BTreeMap::new(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let faces = input.take::<Faces>();
        let mut frame = self.pool.copy(&faces.video.frame);
        let height = frame.height() as f32;
        let mut painter = Painter::new(&mut frame);
        if let Some(blur) = self.settings.blur.how() {
            for face in &faces.faces {
                painter.blur(&face.rect, blur)?;
            }
        }
        if self.settings.labels {
            for face in &faces.faces {
                self.face(&mut painter, face)?;
            }
            if self.settings.bars {
                bars(&mut painter, &faces.faces, height)?;
            }
        }
        if self.settings.status {
            let status = self.status(&input.envelope);
            painter.chip(0, 0, &status, BLACK)?;
        }
        let video = VideoFrame {
            frame: frame.freeze(),
            truth: faces.video.truth.clone(),
            file: faces.video.file.clone(),
        };
        out.emit(input.envelope, video);
        Ok(())
    }

    fn stream_ended(
        &mut self,
        stream: &std::sync::Arc<fermata_engine::Stream>,
        _: fermata_engine::End,
    ) -> Result<(), ActorError> {
        self.latency_ms.remove(&stream.id);
        Ok(())
    }
}

impl DrawOverlay {
    fn face(&self, painter: &mut Painter<'_>, face: &Face) -> Result<(), ActorError> {
        let colour = colour_of(face.track);
        match face.score {
            Some(_) => painter.corners(&face.rect, colour)?,
            None => painter.dashed(&face.rect, colour)?,
        }
        if self.settings.landmarks {
            for point in face.landmarks.iter().flatten() {
                painter.dot(point.x, point.y, colour)?;
            }
        }
        let label = label(face);
        if !label.is_empty() {
            let (_, chip) = painter.chip_size(&label)?;
            let above = face.rect.y as i32 - chip - painter.pixels(3.0);
            painter.chip(face.rect.x as i32, above, &label, colour)?;
        }
        Ok(())
    }

    /// `door 12.3 s  38 ms`
    fn status(&mut self, envelope: &Envelope) -> String {
        let mut status = format!(
            "{} {:.1} s",
            envelope.stream.name,
            envelope.pts_ns as f64 / 1e9
        );
        if let Some(clock) = &self.clock {
            let now = clock.now_ns().saturating_sub(envelope.captured_ns) as f64 / 1e6;
            let shown = self.latency_ms.entry(envelope.stream.id).or_insert(now);
            *shown += 0.1 * (now - *shown);
            status.push_str(&format!("  {shown:.0} ms"));
        }
        status
    }
}

/// `#3 happy 0.87`, as far as it is known.
fn label(face: &Face) -> String {
    let mut parts = Vec::new();
    if let Some(track) = face.track {
        parts.push(format!("#{track}"));
    }
    if let Some(label) = face.label.or(face.raw_label) {
        parts.push(label.name().to_owned());
        if let Some(probabilities) = face.smoothed.or(face.probabilities) {
            parts.push(format!("{:.2}", probabilities[label.index()]));
        }
    }
    parts.join(" ")
}

fn bars(painter: &mut Painter<'_>, faces: &[Face], height: f32) -> Result<(), ActorError> {
    let mut classified: Vec<&Face> = faces
        .iter()
        .filter(|face| face.smoothed.is_some() || face.probabilities.is_some())
        .filter(|face| face.rect.h >= height * LEAST_FOR_BARS)
        .collect();
    classified.sort_by(|a, b| b.rect.area().total_cmp(&a.rect.area()));
    for face in classified.into_iter().take(MOST_BARS) {
        let Some(probabilities) = face.smoothed.or(face.probabilities) else {
            continue;
        };
        let bars: Vec<(&str, f32)> = Expression::ALL
            .into_iter()
            .map(|expression| (expression.name(), probabilities[expression.index()]))
            .collect();
        painter.bars(&face.rect, &bars, colour_of(face.track))?;
    }
    Ok(())
}
