//! Writes every frame and its faces as JSON, one line per frame.

use std::io::Write;
use std::path::PathBuf;

use fermata_engine::{
    Actor, ActorError, Clock, ClockMode, End, FileBook, How, Input, Outputs, Ports, Setup,
};
use fermata_files::{RecordFile, SyncGroup, Synced};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::earlier::{self, Form, GoesOn};
use super::frame_line::FrameLine;
use super::segments::Segments;
use crate::finished::note_finished;
use crate::payload::Faces;

/// Writes a file of JSON lines: one object for each frame, with its faces, so that programs can read the results
/// without the empty cells of a table.
///
/// `{"stream":"door","segment":0,"sequence":12,"pts_ms":400.0,"latency_ms":38.2,"detected":true,"faces":[{"track":3,
/// "box":[10.0,20.0,64.0,64.0],"score":0.98,"raw_label":"happy","label":"happy","probabilities":{"angry":0.01,…}}]}`
///
/// `box` is left, top, width and height in pixels. Unknown values are absent; `latency_ms` is from capture to this
/// line, and absent under the clock `asap`, where it is meaningless. `probabilities` are smoothed if something smooths
/// them.
///
/// Frames are written in the order of arrival. The lines go to `PATH.part`, which is renamed when everything has
/// arrived. The line of a frame is in the file once the frame has been processed: a run that is stopped, killed or out
/// of disk space leaves `PATH.part` with all lines until then. A frame whose line cannot be written fails; the next one
/// is tried again, and the file stays a `.part`. If part of a site was killed and is started again with the same
/// `--out`, the file is continued as a table of `write_csv` is.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteJsonlSettings {
    /// The file, in an existing folder.
    pub path: PathBuf,
}

/// See `WriteJsonlSettings`.
pub struct WriteJsonl {
    /// `None` once the file is finished.
    file: Option<(RecordFile, FileBook)>,
    path: PathBuf,
    _synced: Option<Synced>,
    /// Number of lines in it.
    count: u64,
    /// Number of missing lines, and why they are missing.
    missing: Option<(u64, String)>,
    /// `None` where latency is meaningless.
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
            .confirms_flushes()
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
        let mut files = Segments::new(&settings.path, None, None).going_on(setup)?;
        let life = files.life();
        if let Some(life) = &life {
            earlier::take_up(&settings.path, life, Form::Lines)?;
        }
        let path = files.next();
        let earlier = match life {
            Some(life) => earlier::go_on(&path, &life, Form::Lines)?,
            None => None,
        };
        let GoesOn { file, rows } = match earlier {
            Some(earlier) => earlier,
            None => GoesOn {
                file: RecordFile::create(&path)?,
                rows: 0,
            },
        };
        let group = setup.service::<SyncGroup>();
        let synced = group.map(|group| group.add(file.part())).transpose()?;
        let book = setup.file(file.part(), "lines");
        book.give(rows);
        book.hold(rows);
        Ok(Self {
            file: Some((file, book)),
            path,
            _synced: synced,
            count: rows,
            missing: None,
            clock: (setup.clock_mode != ClockMode::Asap).then(|| setup.clock.clone()),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let faces = input.take::<Faces>();
        let envelope = &input.envelope;
        let clock = self.clock.as_ref();
        let latency_ns = clock.map(|clock| clock.now_ns().saturating_sub(envelope.captured_ns));
        let mut line = serde_json::to_vec(&FrameLine::new(envelope, &faces, latency_ns, &[]))?;
        line.push(b'\n');
        let path = self.path.display();
        let Some((file, book)) = &mut self.file else {
            return Err(format!("`{path}` is finished").into());
        };
        book.give(1);
        let written = file.write_all(&line).and_then(|()| file.flush());
        if let Err(error) = written {
            let (lines, reason) = self.missing.get_or_insert((0, error.to_string()));
            *lines += 1;
            let part = file.part().display();
            let before = match self.count {
                0 => "",
                _ => "; earlier lines are in it",
            };
            return Err(format!("cannot write to `{part}`: {reason}{before}").into());
        }
        book.hold(1);
        self.count += 1;
        out.confirm_flushed(&envelope.stream, envelope.sequence.saturating_add(1));
        Ok(())
    }

    fn finish(&mut self, end: End) -> Result<(), ActorError> {
        let Some((file, book)) = self.file.take() else {
            return Ok(());
        };
        if let Some((lines, reason)) = &self.missing {
            let part = file.part().display();
            return Err(format!("{lines} lines are missing in `{part}`: {reason}").into());
        }
        if end.how != How::Stopped {
            note_finished(file.finish(), &book, &self.path)?;
        } else if self.count == 0 {
            file.remove()?;
            book.removed();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::VideoFrame;
    use fermata_engine::testing::{ActorDriver, capture, input, stream};
    use fermata_files::part_path;
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
        // As if the process were killed here.
        let part = std::fs::read_to_string(part_path(&path)).unwrap();
        assert!(part.lines().count() == 2 && part.ends_with('\n') && !path.exists());
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
    fn a_full_disk_fails_the_frames_and_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faces.jsonl");
        std::os::unix::fs::symlink("/dev/full", part_path(&path)).unwrap();
        let mut actor = ActorDriver::<WriteJsonl>::new(json!({"path": path})).unwrap();
        for sequence in 0..3 {
            let failed = actor.process(input(at(sequence), faces(Vec::new())));
            assert!(failed.is_err(), "{sequence}");
        }
        let error = actor
            .finish(End::of(How::Complete))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("3 lines are missing") && error.contains("faces.jsonl.part"),
            "{error}"
        );
    }
}
