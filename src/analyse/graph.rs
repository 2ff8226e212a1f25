//! The graph that `fermata analyse` runs: that of graphs/live.yaml for videos, and the same without tracking or
//! smoothing for photos.

use std::fmt::Write as _;
use std::path::Path;

use super::inputs::Inputs;
use crate::cli::BlurMode;

/// Longer side at which faces are detected: at larger sizes, one face in a phone's photo becomes several.
const MAX_SIDE: usize = 1280;

/// The node that writes the table.
pub(super) const LOG: &str = "log";

/// Number of frames on which a face must be found to get an id.
pub(super) const MIN_HITS: u32 = 2;

/// What the graph is made from.
pub(super) struct Plan<'a> {
    pub(super) inputs: &'a Inputs,
    pub(super) model: &'a Path,
    pub(super) detector: &'a Path,
    pub(super) every: u64,
    pub(super) blur: Option<BlurMode>,
    /// Whether annotated copies are written.
    pub(super) annotate: bool,
}

impl Plan<'_> {
    /// Returns the text of the graph file.
    pub(super) fn text(&self) -> String {
        let mut text = "fermata: 1\nname: analyse\n".to_owned();
        let mut logged = Vec::new();
        if !self.inputs.videos.is_empty() {
            let videos = self.inputs.videos.iter();
            let streams: Vec<String> = videos
                .map(|video| format!("  {}: {}\n", video.name, quoted(&video.uri)))
                .collect();
            let _ = writeln!(text, "streams:\n{}", streams.concat().trim_end());
        }
        text.push_str("nodes:\n");
        if !self.inputs.videos.is_empty() {
            text.push_str(&self.videos());
            logged.push("smooth");
        }
        if !self.inputs.photos.is_empty() {
            text.push_str(&self.photos());
            logged.push("photo_emotion");
        }
        let _ = writeln!(
            text,
            "  {LOG}: {{use: write_csv, in: [{}], path: \"${{run.dir}}/faces.csv\"}}",
            logged.join(", ")
        );
        let clock = if self.inputs.live { "live" } else { "asap" };
        let _ = writeln!(text, "run: {{clock: {clock}, drain: 30s}}");
        text
    }

    fn videos(&self) -> String {
        let model = quoted(&self.model.to_string_lossy());
        let (detect, every) = (self.detector(), self.every);
        // No queue drops anything: a live camera misses frames at its source, and a recording misses none.
        let mut text = format!(
            "  capture: {{use: video_source, each: stream, uri: \"${{stream.uri}}\"}}
  detect: {{use: detect_faces, in: capture, {detect}, every: {every}, replicas: 2}}
  track: {{use: track_faces, each: stream, in: detect, min_hits: {MIN_HITS}}}
  crop: {{use: crop_faces, each: stream, in: track, model: {model}}}
  emotion: {{use: classify_expression, in: crop, model: {model}, batch: {{max: 4, wait: 8ms}}}}
  smooth: {{use: smooth_labels, each: stream, in: emotion, ema: 250ms, vote: 7, hysteresis: {{margin: 0.1, hold: 3}}}}
"
        );
        if self.annotate {
            // A recording need not be shown at once, so faces can be hidden even before they are found.
            let delay = if self.blur.is_some() && !self.inputs.live {
                ", blur_delay: 500ms"
            } else {
                ""
            };
            let _ = write!(
                text,
                "  draw: {{use: draw_overlay, each: stream, in: smooth{}{delay}}}
  video: {{use: write_video, each: stream, in: draw, path: \"${{run.dir}}/${{stream.name}}.mp4\"}}
",
                self.blur()
            );
        }
        text
    }

    fn photos(&self) -> String {
        let model = quoted(&self.model.to_string_lossy());
        let detect = self.detector();
        let files = self.inputs.photos.iter();
        let files: Vec<String> = files.map(|path| quoted(&path.to_string_lossy())).collect();
        let mut text = format!(
            "  photos: {{use: image_source, files: [{}], fps: 1000, skip_unreadable: true}}
  photo_detect: {{use: detect_faces, in: photos, {detect}, replicas: 2}}
  photo_crop: {{use: crop_faces, in: photo_detect, model: {model}}}
  photo_emotion: {{use: classify_expression, in: photo_crop, model: {model}}}
",
            files.join(", ")
        );
        if self.annotate {
            // Where a face was in one photo says nothing about the next.
            let hold = match self.blur {
                Some(_) => ", blur_hold: 0s",
                None => "",
            };
            let _ = write!(
                text,
                "  photo_draw: {{use: draw_overlay, in: photo_emotion, status: false{}{hold}}}
  stills: {{use: write_images, in: photo_draw, dir: \"${{run.dir}}\"}}
",
                self.blur()
            );
        }
        text
    }

    fn detector(&self) -> String {
        let name = self.detector.to_string_lossy();
        // UltraFace has a fixed size and refuses another one.
        let lower = name.to_lowercase();
        let has_own = ["ultraface", "rfb", "slim"]
            .iter()
            .any(|part| lower.contains(part));
        let side = if has_own {
            String::new()
        } else {
            format!(", max_side: {MAX_SIDE}")
        };
        format!("model: {}{side}", quoted(&name))
    }

    fn blur(&self) -> String {
        let mode = self.blur.map(BlurMode::name);
        mode.map_or_else(String::new, |mode| format!(", blur: {mode}"))
    }
}

/// Quotes a text for YAML, escaping `${…}`.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace("${", "$${")
}
