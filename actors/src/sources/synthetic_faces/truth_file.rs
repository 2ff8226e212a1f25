//! The table of the ground truth. Owns the file until it is complete, and its columns.

use std::mem;
use std::path::{Path, PathBuf};

use fermata_engine::{ActorError, FileBook, Setup};
use fermata_files::RecordFile;
use fermata_vision::GroundTruth;

use crate::cells::{Milliseconds, write_decimal};
use crate::finished::note_finished;

/// The columns.
pub(super) const HEADER: [&str; 9] = [
    "stream", "sequence", "pts_ms", "face", "x", "y", "w", "h", "label",
];

/// A ground-truth file in progress. A frame is written when the next one is drawn or the source ends: a source that is
/// ended from outside never learns whether the frame that it drew ahead was taken. Everything written before is true
/// either way, so the file gets its name in that case, too.
pub(super) struct TruthFile {
    /// `None` once a write has failed or the file is finished.
    rows: Option<csv::Writer<RecordFile>>,
    book: FileBook,
    path: PathBuf,
    stream: String,
    /// Number of rows written.
    count: usize,
    /// The rows of the last frame.
    held: Vec<[String; HEADER.len()]>,
}

impl TruthFile {
    pub(super) fn create(path: &Path, stream: &str, setup: &Setup) -> Result<Self, ActorError> {
        let file = RecordFile::create(path)?;
        let book = setup.file(file.part(), "rows");
        let mut truth = Self {
            rows: Some(csv::Writer::from_writer(file)),
            book,
            path: path.to_owned(),
            stream: stream.to_owned(),
            count: 0,
            held: Vec::new(),
        };
        truth.write(|rows| {
            rows.write_record(HEADER)?;
            Ok(rows.flush()?)
        })?;
        Ok(truth)
    }

    /// Records a frame.
    pub(super) fn frame(
        &mut self,
        sequence: u64,
        pts_ns: i64,
        truth: &GroundTruth,
    ) -> Result<(), ActorError> {
        self.write_held()?;
        let time = Milliseconds(pts_ns.into()).to_string();
        self.held = (truth.faces.iter())
            .map(|face| {
                let rect = face.rect;
                let [x, y, w, h] = [rect.x, rect.y, rect.w, rect.h].map(side);
                let [sequence, identity] = [sequence, face.identity.into()].map(number);
                let (stream, label) = (self.stream.clone(), face.expression.to_string());
                [stream, sequence, time.clone(), identity, x, y, w, h, label]
            })
            .collect();
        Ok(())
    }

    /// Writes the last frame and gives the file its name, once the source has ended.
    pub(super) fn finish(mut self) -> Result<(), ActorError> {
        self.write_held()?;
        self.name()
    }

    fn write_held(&mut self) -> Result<(), ActorError> {
        let held = mem::take(&mut self.held);
        self.book.give(held.len() as u64);
        self.write(|rows| {
            for row in &held {
                rows.write_record(row)?;
            }
            Ok(rows.flush()?)
        })?;
        self.book.hold(held.len() as u64);
        self.count += held.len();
        Ok(())
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut csv::Writer<RecordFile>) -> csv::Result<()>,
    ) -> Result<(), ActorError> {
        let path = self.path.display();
        let Some(rows) = &mut self.rows else {
            return Err(format!("`{path}` was given up after an earlier write failed").into());
        };
        let written = write(rows);
        written.map_err(|error| {
            self.rows = None;
            let before = match self.count {
                0 => "",
                _ => "; rows before are in the incomplete file",
            };
            format!("cannot write `{path}`: {error}{before}").into()
        })
    }

    /// Gives the file its name, with what was written so far.
    fn name(&mut self) -> Result<(), ActorError> {
        let Some(rows) = self.rows.take() else {
            return Ok(());
        };
        let path = self.path.display();
        let file = rows.into_inner().map_err(|error| {
            let error = error.error();
            format!("cannot write `{path}`: {error}; rows before are in the incomplete file")
        })?;
        Ok(note_finished(file.finish(), &self.book, &self.path)?)
    }
}

impl Drop for TruthFile {
    fn drop(&mut self) {
        if let Err(error) = self.name() {
            tracing::error!("{error}");
        }
    }
}

fn number(value: u64) -> String {
    value.to_string()
}

fn side(value: f32) -> String {
    let mut cell = String::new();
    write_decimal(&mut cell, value, 2);
    cell
}

#[cfg(test)]
mod tests {
    use std::fs;

    use fermata_engine::testing::SourceDriver;
    use serde_json::json;

    use crate::payload::VideoFrame;
    use crate::sources::synthetic_faces::SyntheticFaces;

    #[test]
    fn every_drawn_frame_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.csv");
        let json =
            json!({"width": 64, "height": 64, "faces": 2, "fps": 30, "count": 4, "truth": path});
        let source = SourceDriver::<SyntheticFaces>::new(json).unwrap();
        let mut expected = String::from("stream,sequence,pts_ms,face,x,y,w,h,label\n");
        for (frame, time) in source.zip(["0.000", "33.333", "66.667", "100.000"]) {
            let mut frame = frame.unwrap();
            assert!(!path.exists());
            let sequence = frame.envelope.sequence;
            for face in &frame.take::<VideoFrame>().truth.as_ref().unwrap().faces {
                let r = face.rect;
                let (identity, label) = (face.identity, face.expression);
                expected += &format!(
                    "test,{sequence},{time},{identity},{:.2},{:.2},{:.2},{:.2},{label}\n",
                    r.x, r.y, r.w, r.h
                );
            }
        }
        assert_eq!(expected.lines().count(), 9);
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn a_source_that_is_ended_from_outside_leaves_what_is_certain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.csv");
        let json = json!({"width": 64, "height": 64, "truth": path});
        let mut source = SourceDriver::<SyntheticFaces>::new(json).unwrap();
        for _ in 0..3 {
            source.next().unwrap().unwrap();
        }
        drop(source);
        let rows = fs::read_to_string(&path).unwrap();
        let last = rows.lines().last().unwrap();
        assert!(last.starts_with("test,1,40.000,0,"), "{rows}");
        assert_eq!(rows.lines().count(), 3);
    }

    #[test]
    fn a_truth_without_a_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let json = json!({"truth": folder.path()});
        let error = SourceDriver::<SyntheticFaces>::new(json).err().unwrap();
        assert!(error.to_string().contains("must name a file"), "{error}");
        let json = json!({"truth": folder.path().join("nowhere/truth.csv")});
        let error = SourceDriver::<SyntheticFaces>::new(json).err().unwrap();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}
