//! Writes what is known of every frame and its faces as JSON, a line for each.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use fermata_engine::{Actor, ActorError, Clock, ClockMode, End, How, Input, Outputs, Ports, Setup};
use fermata_files::{PartFile, Unfinished, part_path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::frame_line::FrameLine;
use crate::payload::Faces;

/// Writes a file of JSON lines: one object for each frame, with its faces, so that programs read what happened without a table's
/// empty cells.
///
/// `{"stream":"door","segment":0,"sequence":12,"pts_ms":400.0,"latency_ms":38.2,"detected":true,"faces":[{"track":3,
/// "box":[10.0,20.0,64.0,64.0],"score":0.98,"raw_label":"happy","label":"happy","probabilities":{"angry":0.01,…}}]}`
///
/// `box` is left, top, width and height in pixels. What is not known is not there; `latency_ms` is from capture to this line, and not there
/// under the clock `asap`, where it means nothing. `probabilities` are smoothed where something smooths them.
///
/// Frames come in the order in which they arrive. The lines go to `PATH.part`, which gets its name when everything has arrived. What was
/// written of a run that is stopped or killed stays there: every line but the last is whole. After a failed write (a full disk)
/// every further frame fails.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteJsonlSettings {
    /// The file, in a folder that exists.
    pub path: PathBuf,
}

/// See [`WriteJsonlSettings`].
pub struct WriteJsonl {
    /// Gone once a write has failed, or when the file is finished.
    file: Option<BufWriter<PartFile>>,
    path: PathBuf,
    /// None where latency means nothing.
    clock: Option<Clock>,
}

impl Actor for WriteJsonl {
    const NAME: &'static str = "write_jsonl";
    type Settings = WriteJsonlSettings;

    fn ports(settings: &WriteJsonlSettings) -> Ports {
        Ports::new()
            .input::<Faces>("in")
            .writes(&settings.path)
            .irreplaceable()
    }

    fn check(settings: &WriteJsonlSettings) -> Result<(), ActorError> {
        let path = &settings.path;
        if path.file_name().is_none() || path.is_dir() {
            return Err(format!("path is `{}`, but must name a file", path.display()).into());
        }
        Ok(())
    }

    fn create(settings: WriteJsonlSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        let file = PartFile::create(&settings.path, Unfinished::Kept)?;
        Ok(Self {
            file: Some(BufWriter::new(file)),
            path: settings.path,
            clock: (setup.clock_mode != ClockMode::Asap).then(|| setup.clock.clone()),
        })
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let faces = input.take::<Faces>();
        let envelope = &input.envelope;
        let clock = self.clock.as_ref();
        let latency_ns = clock.map(|clock| clock.now_ns().saturating_sub(envelope.captured_ns));
        let mut line = serde_json::to_vec(&FrameLine::new(envelope, &faces, latency_ns, &[]))?;
        line.push(b'\n');
        let Some(file) = &mut self.file else {
            return Err(self.failed(&"an earlier write failed"));
        };
        let written = file.write_all(&line);
        written.map_err(|error| {
            self.file = None;
            self.failed(&error)
        })
    }

    fn finish(&mut self, end: End) -> Result<(), ActorError> {
        let Some(file) = self.file.take() else {
            return Err(self.failed(&"an earlier write failed"));
        };
        let file = file
            .into_inner()
            .map_err(|error| self.failed(error.error()))?;
        if end.how != How::Stopped {
            file.finish()?;
        }
        Ok(())
    }
}

impl WriteJsonl {
    fn failed(&self, reason: &dyn std::fmt::Display) -> ActorError {
        let (path, part) = (self.path.display(), part_path(&self.path));
        let part = part.display();
        format!("cannot write `{path}`: {reason}; what was written is in `{part}`").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::VideoFrame;
    use fermata_engine::testing::{ActorDriver, capture, input, stream};
    use fermata_vision::{Expression, Face, Frame, Rect};
    use serde_json::{Value, json};

    fn faces(faces: Vec<Face>) -> Faces {
        Faces::found(VideoFrame::of(Frame::from_bgr(1, 1, vec![0; 3])), faces)
    }

    fn happy() -> Face {
        let rect = Rect {
            x: 1.005,
            y: 2.0,
            w: 30.25,
            h: 30.0,
        };
        Face {
            track: Some(3),
            score: Some(0.5),
            raw_label: Some(Expression::Sad),
            label: Some(Expression::Happy),
            smoothed: Some([0.0, 0.0, 0.1, 0.75, 0.0, 0.0, 0.15]),
            rect,
            ..Face::default()
        }
    }

    fn at(sequence: u64) -> fermata_engine::Capture {
        fermata_engine::Capture {
            stream: stream(0, "door"),
            pts_ns: 33_366_667 * sequence as i64,
            ..capture(sequence)
        }
    }

    #[test]
    fn every_frame_is_a_line_and_the_file_gets_its_name_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faces.jsonl");
        let mut actor = ActorDriver::<WriteJsonl>::new(json!({"path": path})).unwrap();
        actor.process(input(at(0), faces(vec![happy()]))).unwrap();
        actor.process(input(at(1), faces(Vec::new()))).unwrap();
        assert!(!path.exists());
        actor.finish(End::of(How::Complete)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        let face = &lines[0]["faces"][0];
        assert_eq!(lines[0]["stream"], "door");
        assert_eq!(face["track"], 3);
        assert_eq!(face["box"], json!([1.0, 2.0, 30.25, 30.0]));
        assert_eq!(
            (&face["label"], &face["raw_label"]),
            (&json!("happy"), &json!("sad"))
        );
        assert_eq!(face["probabilities"]["happy"], 0.75);
        assert_eq!(
            lines[1],
            json!({"stream": "door", "segment": 0, "sequence": 1, "pts_ms": 33.367, "detected": true, "faces": []})
        );
    }

    #[test]
    fn a_run_that_is_stopped_keeps_what_it_wrote_as_a_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faces.jsonl");
        let mut actor = ActorDriver::<WriteJsonl>::new(json!({"path": path})).unwrap();
        actor.process(input(at(0), faces(Vec::new()))).unwrap();
        actor.finish(End::of(How::Stopped)).unwrap();
        assert!(!path.exists());
        let text = std::fs::read_to_string(part_path(&path)).unwrap();
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_full_disk_fails_this_frame_and_all_that_follow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faces.jsonl");
        std::os::unix::fs::symlink("/dev/full", part_path(&path)).unwrap();
        let mut actor = ActorDriver::<WriteJsonl>::new(json!({"path": path})).unwrap();
        let failed: Vec<bool> = (0..1000)
            .map(|sequence| {
                actor
                    .process(input(at(sequence), faces(Vec::new())))
                    .is_err()
            })
            .collect();
        let first = failed.iter().position(|failed| *failed).unwrap();
        assert!(failed[first..].iter().all(|failed| *failed));
        let error = actor
            .finish(End::of(How::Complete))
            .unwrap_err()
            .to_string();
        assert!(error.contains("faces.jsonl.part"), "{error}");
    }
}
