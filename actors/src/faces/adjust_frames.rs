//! Rotates frames and blackens parts of them, for a camera that is mounted sideways or sees what it should not.

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use fermata_vision::frame::CHANNELS;
use fermata_vision::{Frame, FramePool};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::VideoFrame;

/// Rotates frames, then blackens parts of them, so that no later node sees those. Belongs between a source and
/// `detect_faces`; with `${stream.KEY}` each camera has its own values. The ground truth of a synthetic source is kept
/// for frames that are not rotated.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustFramesSettings {
    /// Clockwise rotation in degrees: 0, 90, 180 or 270. Default: 0.
    #[serde(default)]
    pub rotate: u32,
    /// Parts that are blackened after rotating: `LEFT,TOP,WIDTH,HEIGHT` as fractions of the frame (0..1), separated by
    /// `;` if there are several, such as `0,0,1,0.2; 0.8,0,0.2,1`. Default: none; null also means none, such as that of
    /// `mask: "${stream.mask:-null}"` for streams without a mask.
    #[serde(default)]
    pub mask: Option<String>,
}

/// A part of a frame as fractions of it: left, top, right, bottom.
type Part = [f32; 4];

/// See `AdjustFramesSettings`.
pub struct AdjustFrames {
    rotate: u32,
    mask: Vec<Part>,
    pool: FramePool,
}

impl Actor for AdjustFrames {
    const NAME: &'static str = "adjust_frames";
    type Settings = AdjustFramesSettings;

    fn ports(_: &AdjustFramesSettings) -> Ports {
        Ports::new()
            .input::<VideoFrame>("in")
            .output::<VideoFrame>("out")
            .stateless()
    }

    fn check(settings: &AdjustFramesSettings) -> Result<(), ActorError> {
        if !settings.rotate.is_multiple_of(90) || settings.rotate >= 360 {
            let rotate = settings.rotate;
            return Err(format!("rotate is {rotate}, but must be 0, 90, 180 or 270").into());
        }
        parts(settings.mask.as_deref()).map(drop)
    }

    fn create(settings: AdjustFramesSettings, _: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        Ok(Self {
            rotate: settings.rotate,
            mask: parts(settings.mask.as_deref())?,
            pool: FramePool::new(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let video = input.take::<VideoFrame>();
        let adjusted = VideoFrame {
            frame: self.adjusted(&video.frame),
            truth: video.truth.clone().filter(|_| self.rotate == 0),
            file: video.file.clone(),
        };
        out.emit(input.envelope, adjusted);
        Ok(())
    }
}

impl AdjustFrames {
    fn adjusted(&self, frame: &Frame) -> Frame {
        if self.rotate == 0 && self.mask.is_empty() {
            return frame.clone();
        }
        let (width, height) = (frame.width(), frame.height());
        let sideways = matches!(self.rotate, 90 | 270);
        let (columns, rows) = if sideways {
            (height, width)
        } else {
            (width, height)
        };
        let mut turned = self.pool.take(columns, rows);
        let pixels = frame.bgr();
        for (at, target) in turned.bgr_mut().chunks_exact_mut(CHANNELS).enumerate() {
            let (x, y) = (at % columns, at / columns);
            let (from_x, from_y) = match self.rotate {
                90 => (y, height - 1 - x),
                180 => (width - 1 - x, height - 1 - y),
                270 => (width - 1 - y, x),
                _ => (x, y),
            };
            let from = (from_y * width + from_x) * CHANNELS;
            target.copy_from_slice(&pixels[from..from + CHANNELS]);
        }
        for &[left, top, right, bottom] in &self.mask {
            // Rounded outwards, so that no row of a masked part stays visible.
            let first = |share: f32, side: usize| (share * side as f32).floor() as usize;
            let last = |share: f32, side: usize| ((share * side as f32).ceil() as usize).min(side);
            for row in first(top, rows)..last(bottom, rows) {
                let (from, to) = (first(left, columns), last(right, columns));
                let start = row * columns;
                turned.bgr_mut()[(start + from) * CHANNELS..(start + to) * CHANNELS].fill(0);
            }
        }
        turned.freeze()
    }
}

fn parts(mask: Option<&str>) -> Result<Vec<Part>, ActorError> {
    let parts = mask
        .unwrap_or_default()
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts.map(part).collect()
}

fn part(text: &str) -> Result<Part, ActorError> {
    let wrong = || {
        format!(
            "mask has `{text}`, but a part is LEFT,TOP,WIDTH,HEIGHT in fractions of the frame, such as `0,0,1,0.2`"
        )
    };
    let numbers: Result<Vec<f32>, _> = text
        .split(',')
        .map(|number| number.trim().parse())
        .collect();
    let [left, top, width, height] = numbers.map_err(|_| wrong())?[..] else {
        return Err(wrong().into());
    };
    let (right, bottom) = (left + width, top + height);
    // Sums of fractions may round.
    let is_inside = |low: f32, high: f32| low >= 0.0 && high > low && high <= 1.0 + 1e-4;
    if !(is_inside(left, right) && is_inside(top, bottom)) {
        return Err(format!("{}; this one is not inside the frame", wrong()).into());
    }
    Ok([left, top, right.min(1.0), bottom.min(1.0)])
}

#[cfg(test)]
mod tests {
    use fermata_engine::testing::ActorDriver;
    use fermata_engine::{Graph, LoadOptions, Registry};
    use serde_json::json;

    use super::*;
    use crate::sources::video_source::VideoSource;

    /// Returns the width and the first channel of an adjusted frame of 2 rows of 3 pixels, 1 to 6.
    fn adjusted(settings: serde_json::Value) -> (usize, Vec<u8>) {
        let pixels = (1..=6).flat_map(|value| [value; 3]).collect();
        let mut actor = ActorDriver::<AdjustFrames>::new(settings).unwrap();
        let outcome = actor
            .feed(VideoFrame::of(Frame::from_bgr(3, 2, pixels)))
            .unwrap();
        let frame = outcome.only::<VideoFrame>().frame.clone();
        (
            frame.width(),
            frame.bgr().iter().step_by(3).copied().collect(),
        )
    }

    #[test]
    fn frames_are_turned_clockwise() {
        for (rotate, width, expected) in [
            (0, 3, [1, 2, 3, 4, 5, 6]),
            (90, 2, [4, 1, 5, 2, 6, 3]),
            (180, 3, [6, 5, 4, 3, 2, 1]),
            (270, 2, [3, 6, 2, 5, 1, 4]),
        ] {
            let turned = adjusted(json!({"rotate": rotate}));
            assert_eq!(turned, (width, expected.to_vec()), "{rotate}");
        }
    }

    #[test]
    fn a_mask_blackens_after_turning_and_rounds_outwards() {
        let (_, masked) = adjusted(json!({"mask": "0,0,0.4,1; 0.9,0.5,0.1,0.5"}));
        assert_eq!(masked, [0, 0, 3, 0, 0, 0]);
        let (_, masked) = adjusted(json!({"rotate": 90, "mask": "0,0,1,0.3"}));
        assert_eq!(masked, [0, 0, 5, 2, 6, 3]);
    }

    #[test]
    fn one_stream_has_a_mask_and_another_none() {
        for default in ["null", ""] {
            let text = format!(
                "
fermata: 1
streams: {{door: {{uri: a, mask: '0,0,0.5,1'}}, hall: {{uri: b, mask: null}}, yard: c}}
nodes:
  source: {{use: video_source, each: stream, uri: \"${{stream.uri}}\"}}
  adjust: {{use: adjust_frames, each: stream, in: source, mask: \"${{stream.mask:-{default}}}\"}}
  end:    {{use: discard, in: adjust}}
"
            );
            let mut registry = Registry::builtin();
            registry.register_source::<VideoSource>();
            registry.register::<AdjustFrames>();
            let options = LoadOptions::new("out");
            let graph = Graph::parse("t.yaml", &text, &registry, &options);
            let graph = graph.unwrap_or_else(|problems| panic!("{problems}"));
            let adjust = graph.nodes.iter().find(|node| node.name == "adjust");
            let masks = graph.streams.iter().map(|stream| {
                let settings = adjust.unwrap().settings(Some(stream)).unwrap();
                let settings: AdjustFramesSettings = settings.parse().unwrap();
                parts(settings.mask.as_deref()).unwrap().len()
            });
            assert_eq!(masks.collect::<Vec<_>>(), [1, 0, 0], "{default:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (settings, words) in [
            (json!({"rotate": 45}), "rotate is 45"),
            (json!({"mask": "1,2,3"}), "LEFT,TOP,WIDTH,HEIGHT"),
            (json!({"mask": "0.5,0,0.6,1"}), "not inside"),
            (json!({"mask": "a,0,1,1"}), "LEFT,TOP"),
        ] {
            let error = ActorDriver::<AdjustFrames>::new(settings).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
