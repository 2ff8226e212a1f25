//! Draws what is known about the faces into the video: boxes, labels, bars, latency. Or makes faces unrecognisable.
//!
//! Owns the settings and the drawing order; `placing` finds places for panels, `texts` composes labels, `held_back`
//! holds frames until later ones have shown their faces. A live page shows the same pictures: if the program provides a
//! [`FrameHub`] for this node, each picture is also published there.

mod held_back;
mod placing;
mod texts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::units::HumanDuration;
use fermata_engine::{
    Actor, ActorError, Clock, ClockMode, End, Envelope, Input, Outputs, Ports, Setup, Stream,
};
use fermata_vision::blur::Blur;
use fermata_vision::draw::{BLACK, Bars, ChipLook, Painter, colour_of};
use fermata_vision::{Expression, Face, Frame, FrameHub, FramePool, ShownFace, ShownFrame};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::overlay::hiding::{self, Hidden, Hiding, hide};
use crate::payload::{Faces, VideoFrame};
use crate::sinks::timeline::VideoTime;
use held_back::{HeldBack, HeldFrame, MOST_HELD};
use placing::{Free, Slots};
use texts::Label;

/// The actor's name in graph files.
pub(crate) const NAME: &str = "draw_overlay";

/// Draws boxes, labels and bars into the video, or hides faces.
///
/// A solid box was detected, a dashed one is predicted between two detections. A label on a coloured background is the
/// current expression; one in an outlined chip, with the word `held`, is retained by the smoothing although another
/// expression leads at the moment. The number always belongs to the label shown. Labels and bars never cover a face or
/// each other: where there is no room, bars are left out, and a label shrinks to the track's number.
///
/// With `blur`, the following is hidden: every detection, including doubtful ones, places where a tracker expects a
/// face that was not detected, and places where a face was within the last `blur_hold`; with `blur_delay` also places
/// where one appears within that time. A frame whose faces are unknown (one that the detector skipped and to which no
/// tracker carried faces over, as after a scene cut) is hidden entirely.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrawOverlaySettings {
    /// Draw boxes and labels; without them only `blur` changes the picture. Default: true.
    #[serde(default = "yes")]
    pub labels: bool,
    /// Draw a bar for each expression beside the three largest faces that have been classified. Default: true.
    #[serde(default = "yes")]
    pub bars: bool,
    /// Show the stream's name, the time since it began and the latency from capture (not under `asap`). Default: true.
    #[serde(default = "yes")]
    pub status: bool,
    /// Draw the detector's landmarks. Default: false.
    #[serde(default)]
    pub landmarks: bool,
    /// Make faces unrecognisable. Default: none.
    #[serde(default)]
    pub blur: BlurSetting,
    /// Margin hidden around a face's box, on each side as a fraction of that dimension of the box, 0 to 3. Default:
    /// 0.3.
    #[serde(default = "default_margin")]
    pub blur_margin: f32,
    /// How long a place stays hidden after a face was last seen there, by the time stamps. Default: 500ms.
    #[serde(default = "default_hold")]
    pub blur_hold: HumanDuration,
    /// How long frames are held back, by the time stamps, so that a face found only in a later frame is hidden in them
    /// too: at least the time between two runs of the detector. Everything after this node is delayed by it. At most 48
    /// frames are held. Default: 0s, nothing is held back.
    #[serde(default = "no_delay")]
    pub blur_delay: HumanDuration,
}

fn yes() -> bool {
    true
}

fn default_margin() -> f32 {
    hiding::MARGIN
}

fn no_delay() -> HumanDuration {
    HumanDuration(Duration::ZERO)
}

fn default_hold() -> HumanDuration {
    HumanDuration(hiding::HOLD)
}

/// How faces are made unrecognisable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlurSetting {
    /// Faces stay as they are.
    #[default]
    None,
    /// A gray box.
    Solid,
    /// A coarse mosaic.
    Pixelate,
    /// A strong blur.
    #[serde(alias = "gaussian")]
    Blur,
}

impl BlurSetting {
    /// Returns the blur, if any.
    pub(crate) fn how(self) -> Option<Blur> {
        match self {
            Self::None => None,
            Self::Solid => Some(Blur::Solid),
            Self::Pixelate => Some(Blur::Pixelate),
            Self::Blur => Some(Blur::Soft),
        }
    }
}

/// Maximum number of faces that get bars, so that a crowd stays visible.
const MOST_BARS: usize = 3;
/// Factor by which a face must be larger to take over the bars of another.
const TAKES_BARS: f32 = 1.3;
/// Fraction of the frame's shorter side below which a face is too small for bars.
const LEAST_FOR_BARS: f32 = 0.08;
/// Fraction of the frame's area that a panel with bars may cover.
const MOST_OF_FRAME: f32 = 0.2;

/// See `DrawOverlaySettings`.
pub struct DrawOverlay {
    settings: DrawOverlaySettings,
    pool: FramePool,
    clock: Option<Clock>,
    /// State by stream id.
    streams: BTreeMap<u32, StreamState>,
    /// Hub from which a live page gets its pictures.
    hub: Option<Arc<FrameHub>>,
}

/// State of a stream between frames.
struct StreamState {
    hiding: Hiding,
    held: HeldBack,
    status: Slots,
    labels: Slots,
    bars: Slots,
    time: VideoTime,
    /// Latency as displayed, which changes slowly enough to be readable.
    latency_ms: Option<f64>,
}

impl Actor for DrawOverlay {
    const NAME: &'static str = NAME;
    type Settings = DrawOverlaySettings;

    fn ports(settings: &DrawOverlaySettings) -> Ports {
        let ports = Ports::new().input::<Faces>("in");
        let ports = ports.output::<VideoFrame>("out");
        if settings.blur_delay.0.is_zero() {
            ports
        } else {
            // One for the arriving frame, and one for a frame that has left but is not counted as gone yet.
            let ports = ports.per_stream().finishes_later(MOST_HELD + 2);
            ports.waits_for_packets()
        }
    }

    fn check(settings: &DrawOverlaySettings) -> Result<(), ActorError> {
        let margin = settings.blur_margin;
        if !(0.0..=3.0).contains(&margin) {
            return Err(format!("blur_margin is {margin}, but must be between 0 and 3").into());
        }
        if !settings.blur_delay.0.is_zero() && settings.blur.how().is_none() {
            return Err(
                "`blur_delay` is set, but there is no `blur`: set `blur`, or leave out `blur_delay`".into(),
            );
        }
        Ok(())
    }

    fn create(settings: DrawOverlaySettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        fermata_vision::opencv_threads::use_one_thread()?;
        let timed = setup.clock_mode != ClockMode::Asap;
        Ok(Self {
            settings,
            pool: FramePool::new(),
            clock: timed.then(|| setup.clock.clone()),
            streams: BTreeMap::new(),
            hub: setup
                .service::<FrameHub>()
                .filter(|hub| hub.is_of(&setup.node)),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let faces = input.take::<Faces>();
        let envelope = input.envelope;
        let settings = &self.settings;
        let state = self
            .streams
            .entry(envelope.stream.id)
            .or_insert_with(|| StreamState::new(settings));
        if settings.blur.how().is_none() {
            let video = self.picture(&envelope, &faces, None)?;
            out.emit(envelope, video);
            return Ok(());
        }
        let hidden = state.hiding.pass(&envelope, &faces);
        let delay = settings.blur_delay.0;
        if delay.is_zero() {
            let video = self.picture(&envelope, &faces, Some(&hidden))?;
            out.emit(envelope, video);
            return Ok(());
        }
        let stream = envelope.stream.id;
        let found = state.hiding.found(&faces);
        let frame = HeldFrame {
            ticket: out.finish_later()?,
            envelope,
            faces,
            hidden,
            found,
        };
        state.held.push(frame, delay);
        self.let_go(stream, |held| held.pop_due(delay));
        Ok(())
    }

    fn stream_ending(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError> {
        self.let_go(stream.id, HeldBack::pop);
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, _: End) -> Result<(), ActorError> {
        let state = self.streams.remove(&stream.id);
        let hurried = state.map_or(0, |state| state.held.hurried);
        if hurried > 0 {
            let stream = &stream.name;
            tracing::warn!(
                stream,
                hurried,
                "frames were held back for less than `blur_delay`: more than {MOST_HELD} were waiting"
            );
        }
        if let Some(hub) = &self.hub {
            hub.end(&stream.name);
        }
        Ok(())
    }
}

impl DrawOverlay {
    /// Draws and emits held frames of a stream as long as `next` returns one.
    fn let_go(&mut self, stream: u32, next: impl Fn(&mut HeldBack) -> Option<HeldFrame>) {
        while let Some(frame) = self
            .streams
            .get_mut(&stream)
            .and_then(|state| next(&mut state.held))
        {
            let HeldFrame {
                ticket,
                envelope,
                faces,
                hidden,
                ..
            } = frame;
            ticket.settle(|out| {
                let video = self.picture(&envelope, &faces, Some(&hidden))?;
                out.emit(envelope, video);
                Ok(())
            });
        }
    }

    /// Returns a frame of a known stream with everything drawn into it.
    fn picture(
        &mut self,
        envelope: &Envelope,
        faces: &Faces,
        hidden: Option<&Hidden>,
    ) -> Result<VideoFrame, ActorError> {
        let settings = &self.settings;
        let state = self
            .streams
            .entry(envelope.stream.id)
            .or_insert_with(|| StreamState::new(settings));
        let mut frame = self.pool.copy(&faces.video.frame);
        if let (Some(how), Some(hidden)) = (settings.blur.how(), hidden) {
            hide(&mut frame, hidden, how)?;
        }
        let latency_ns = self.clock.as_ref().map(|clock| clock.now_ns());
        let status = settings.status.then(|| state.status(envelope, latency_ns));
        let mut drawing = Drawing {
            free: Free::new(&frame, faces.faces.iter().map(|face| &face.rect)),
            size: (frame.width() as f32, frame.height() as f32),
            painter: Painter::new(&mut frame),
            settings,
            state,
        };
        drawing.all(&faces.faces, status.as_deref())?;
        let frame = frame.freeze();
        if let Some(hub) = &self.hub {
            show(hub, envelope, &frame, &faces.faces);
        }
        Ok(VideoFrame {
            frame,
            truth: faces.video.truth.clone(),
            file: faces.video.file.clone(),
        })
    }
}

fn show(hub: &FrameHub, envelope: &Envelope, frame: &Frame, faces: &[Face]) {
    let faces = faces.iter().map(|face| ShownFace {
        track: face.track,
        rect: face.rect,
        label: face.label.or(face.raw_label),
        probabilities: face.smoothed.or(face.probabilities),
    });
    let shown = ShownFrame {
        frame: frame.clone(),
        faces: faces.collect(),
        sequence: envelope.sequence,
        pts_ns: envelope.pts_ns,
    };
    hub.publish(&envelope.stream.name, shown);
}

impl StreamState {
    fn new(settings: &DrawOverlaySettings) -> Self {
        Self {
            hiding: Hiding::new(settings.blur_margin, settings.blur_hold.0),
            held: HeldBack::default(),
            status: Slots::default(),
            labels: Slots::default(),
            bars: Slots::default(),
            time: VideoTime::default(),
            latency_ms: None,
        }
    }

    /// Returns `door 12.3 s  38 ms`, where the time is that of the written video.
    fn status(&mut self, envelope: &Envelope, now_ns: Option<u64>) -> String {
        let time = self.time.pass(envelope.segment, envelope.pts_ns);
        let mut status = format!("{} {time:.1} s", envelope.stream.name);
        if let Some(now_ns) = now_ns {
            let now = now_ns.saturating_sub(envelope.captured_ns) as f64 / 1e6;
            let shown = self.latency_ms.get_or_insert(now);
            *shown += 0.1 * (now - *shown);
            status.push_str(&format!("  {shown:.0} ms"));
        }
        status
    }
}

/// One frame that is being drawn on.
struct Drawing<'a> {
    painter: Painter<'a>,
    /// Width and height of the frame.
    size: (f32, f32),
    free: Free,
    settings: &'a DrawOverlaySettings,
    state: &'a mut StreamState,
}

impl Drawing<'_> {
    fn all(&mut self, faces: &[Face], status: Option<&str>) -> opencv::Result<()> {
        if let Some(status) = status {
            self.status(status)?;
        }
        if self.settings.labels {
            for face in faces {
                self.outline(face)?;
            }
            // Always in the same order, so that panels do not swap places from frame to frame.
            let mut faces: Vec<&Face> = faces.iter().collect();
            faces.sort_by_key(|face| face.tracklet.or(face.track));
            for face in &faces {
                self.label(face)?;
            }
            if self.settings.bars {
                for face in self.with_bars(&faces) {
                    self.bars(face)?;
                }
            }
        }
        for slots in [
            &mut self.state.status,
            &mut self.state.labels,
            &mut self.state.bars,
        ] {
            slots.next_frame();
        }
        Ok(())
    }

    fn status(&mut self, status: &str) -> opencv::Result<()> {
        let status = self.painter.fitting(status, self.size.0 as i32)?;
        let size = self.painter.chip_size(&status)?;
        let places = self.free.corners(size);
        let found = self.free.take(&places, size, self.state.status.of(Some(0)));
        if let Some(slot) = found {
            self.state.status.keep(Some(0), slot);
            self.painter
                .chip(places[slot], &status, BLACK, ChipLook::Filled)?;
        }
        Ok(())
    }

    fn outline(&mut self, face: &Face) -> opencv::Result<()> {
        let colour = colour_of(face.track);
        match face.score {
            Some(_) => self.painter.corners(&face.rect, colour)?,
            None => self.painter.dashed(&face.rect, colour)?,
        }
        if self.settings.landmarks {
            for point in face.landmarks.iter().flatten() {
                self.painter.dot(point.x, point.y, colour)?;
            }
        }
        Ok(())
    }

    /// Draws the label, or only the track's number if there is no room for more.
    fn label(&mut self, face: &Face) -> opencv::Result<()> {
        let label = Label::of(face);
        let key = face.tracklet.or(face.track);
        for text in [&label.text, &label.tag] {
            if text.is_empty() {
                continue;
            }
            let size = self.painter.chip_size(text)?;
            let gap = self.painter.pixels(3.0);
            let places = self.free.around(&face.rect, size, gap);
            if let Some(slot) = self.free.take(&places, size, self.state.labels.of(key)) {
                self.state.labels.keep(key, slot);
                let colour = colour_of(face.track);
                return self.painter.chip(places[slot], text, colour, label.look);
            }
        }
        Ok(())
    }

    /// Returns the largest classified faces; those that had bars before keep them unless another face is much larger.
    fn with_bars<'f>(&self, faces: &[&'f Face]) -> Vec<&'f Face> {
        let least = LEAST_FOR_BARS * self.size.0.min(self.size.1);
        let size = |face: &Face| {
            let had = self.state.bars.of(face.tracklet.or(face.track)).is_some();
            face.rect.area() * if had { TAKES_BARS } else { 1.0 }
        };
        let mut classified: Vec<&Face> = faces
            .iter()
            .filter(|face| face.smoothed.is_some() || face.probabilities.is_some())
            .filter(|face| face.rect.h >= least)
            .copied()
            .collect();
        classified.sort_by(|a, b| size(b).total_cmp(&size(a)));
        classified.truncate(MOST_BARS);
        classified.sort_by_key(|face| face.tracklet.or(face.track));
        classified
    }

    fn bars(&mut self, face: &Face) -> opencv::Result<()> {
        let Some(said) = face.smoothed.or(face.probabilities) else {
            return Ok(());
        };
        let rows = Expression::ALL.map(|expression| (expression.name(), said[expression.index()]));
        let marked = face.label.or(face.raw_label).map(Expression::index);
        let bars = Bars {
            rows: &rows,
            marked,
        };
        let size = self.painter.bars_size(&bars)?;
        if (size.0 * size.1) as f32 > MOST_OF_FRAME * self.size.0 * self.size.1 {
            return Ok(());
        }
        let gap = self.painter.pixels(5.0);
        let places = self.free.beside(&face.rect, size, gap);
        let key = face.tracklet.or(face.track);
        if let Some(slot) = self.free.take(&places, size, self.state.bars.of(key)) {
            self.state.bars.keep(key, slot);
            self.painter
                .bars(places[slot], &bars, colour_of(face.track))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
