//! Columns of the table and formats of its values.

use std::fmt::{Display, Write as _};
use std::io::Write;

use fermata_engine::Envelope;
use fermata_vision::face::EXPRESSIONS;
use fermata_vision::{Face, GroundTruth, Rect, TrueFace};

use crate::cells::{Milliseconds, write_decimal};
use crate::payload::Faces;

/// The columns.
pub(super) const HEADER: [&str; 23] = [
    "stream",
    "segment",
    "sequence",
    "pts_ms",
    "track",
    "x",
    "y",
    "w",
    "h",
    "score",
    "raw_label",
    "label",
    "p_angry",
    "p_disgust",
    "p_fear",
    "p_happy",
    "p_sad",
    "p_surprise",
    "p_neutral",
    "truth",
    "true_face",
    "latency_ms",
    "file",
];

/// Minimum overlap at which a detected face counts as a drawn one.
const LEAST_IOU: f32 = 0.5;

/// Writes rows.
pub(super) struct Rows<W: Write> {
    writer: csv::Writer<W>,
    /// The cell being written; kept so that a row does not allocate.
    cell: String,
}

impl<W: Write> Rows<W> {
    pub(super) fn new(to: W) -> Self {
        Self {
            writer: csv::Writer::from_writer(to),
            cell: String::new(),
        }
    }

    /// Returns the underlying writer.
    pub(super) fn file(&self) -> &W {
        self.writer.get_ref()
    }

    /// Flushes buffered data to the file, and the file itself.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }

    /// Returns the file. Everything has been flushed before.
    pub(super) fn into_inner(self) -> csv::Result<W> {
        self.writer
            .into_inner()
            .map_err(|error| error.into_error().into())
    }

    pub(super) fn header(&mut self) -> csv::Result<()> {
        self.writer.write_record(HEADER)
    }

    /// Writes one row for each face of a frame, or one row for a frame without faces.
    pub(super) fn frame(
        &mut self,
        envelope: &Envelope,
        faces: &Faces,
        latency_ns: Option<u64>,
    ) -> csv::Result<()> {
        let of = FrameCells {
            envelope,
            latency_ns,
            file: faces.video.file.as_deref(),
        };
        if faces.faces.is_empty() {
            self.row(&of, None, None)?;
        }
        let truth = faces.video.truth.as_deref();
        let matched = truth.map(|truth| matched(&faces.faces, truth));
        for (index, face) in faces.faces.iter().enumerate() {
            let truth = matched.as_ref().and_then(|matched| matched[index]);
            self.row(&of, Some(face), truth)?;
        }
        Ok(())
    }

    fn row(
        &mut self,
        of: &FrameCells<'_>,
        face: Option<&Face>,
        truth: Option<&TrueFace>,
    ) -> csv::Result<()> {
        let envelope = of.envelope;
        self.writer.write_field(&envelope.stream.name)?;
        self.known(Some(envelope.segment))?;
        self.known(Some(envelope.sequence))?;
        self.known(Some(Milliseconds(envelope.pts_ns.into())))?;
        self.known(face.and_then(|face| face.track))?;
        let rect = face.map(|face| face.rect);
        let sides: [fn(Rect) -> f32; 4] = [|r| r.x, |r| r.y, |r| r.w, |r| r.h];
        for side in sides {
            self.decimal(rect.map(side), 2)?;
        }
        self.decimal(face.and_then(|face| face.score), 4)?;
        self.known(face.and_then(|face| face.raw_label))?;
        self.known(face.and_then(|face| face.label))?;
        let said = face.and_then(|face| face.smoothed.or(face.probabilities));
        for index in 0..EXPRESSIONS {
            self.decimal(said.map(|said| said[index]), 6)?;
        }
        self.known(truth.map(|truth| truth.expression))?;
        self.known(truth.map(|truth| truth.identity))?;
        self.known(of.latency_ns.map(|ns| Milliseconds(ns.into())))?;
        self.known(of.file)?;
        self.writer.write_record(None::<&[u8]>)
    }

    /// Writes a cell that is empty if the value is not known.
    fn known(&mut self, value: Option<impl Display>) -> csv::Result<()> {
        self.cell.clear();
        if let Some(value) = value {
            write!(self.cell, "{value}").expect("writing to a string never fails");
        }
        self.writer.write_field(&self.cell)
    }

    /// Writes a number with a fixed number of decimals.
    fn decimal(&mut self, value: Option<f32>, decimals: usize) -> csv::Result<()> {
        self.cell.clear();
        if let Some(value) = value {
            write_decimal(&mut self.cell, value, decimals);
        }
        self.writer.write_field(&self.cell)
    }
}

/// Cells that the rows of a frame share.
struct FrameCells<'a> {
    envelope: &'a Envelope,
    latency_ns: Option<u64>,
    file: Option<&'a str>,
}

/// Matches each face to the drawn face that it shows, if any: greedily by overlap (on a tie, the face that comes
/// first), down to an IoU of 0.5. `fermata kpi` matches in the same way.
fn matched<'a>(faces: &[Face], truth: &'a GroundTruth) -> Vec<Option<&'a TrueFace>> {
    let mut pairs = Vec::new();
    for (row, face) in faces.iter().enumerate() {
        for (index, drawn) in truth.faces.iter().enumerate() {
            let iou = drawn.rect.iou(&face.rect);
            if iou >= LEAST_IOU {
                pairs.push((iou, row, index));
            }
        }
    }
    // Stable: ties stay in the order of the faces.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut matched = vec![None; faces.len()];
    let mut taken = vec![false; truth.faces.len()];
    for (_, row, index) in pairs {
        if matched[row].is_none() && !taken[index] {
            matched[row] = Some(&truth.faces[index]);
            taken[index] = true;
        }
    }
    matched
}
