//! The columns of the table and how each value is written.

use std::fmt::{Display, Write as _};
use std::io::Write;

use fermata_engine::Envelope;
use fermata_vision::face::EXPRESSIONS;
use fermata_vision::{Expression, Face, GroundTruth, Rect};

use crate::cells::{Milliseconds, write_decimal};
use crate::payload::Faces;

/// The columns.
pub(super) const HEADER: [&str; 21] = [
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
    "latency_ms",
];

/// From this overlap on a drawn face is the one that was found.
const LEAST_IOU: f32 = 0.3;

/// Writes rows.
pub(super) struct Rows<W: Write> {
    writer: csv::Writer<W>,
    /// The cell being written; kept so that a row allocates nothing.
    cell: String,
}

impl<W: Write> Rows<W> {
    pub(super) fn new(to: W) -> Self {
        Self {
            writer: csv::Writer::from_writer(to),
            cell: String::new(),
        }
    }

    /// What it writes to.
    pub(super) fn file(&self) -> &W {
        self.writer.get_ref()
    }

    /// Hands all that is still in memory to the file, and lets the file do so in turn.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }

    /// Gives the file back. All has been flushed before.
    pub(super) fn into_inner(self) -> csv::Result<W> {
        self.writer
            .into_inner()
            .map_err(|error| error.into_error().into())
    }

    pub(super) fn header(&mut self) -> csv::Result<()> {
        self.writer.write_record(HEADER)
    }

    /// One row for each face of a frame, or one for a frame without.
    pub(super) fn frame(
        &mut self,
        envelope: &Envelope,
        faces: &Faces,
        latency_ns: Option<u64>,
    ) -> csv::Result<()> {
        let truth = faces.video.truth.as_deref();
        if faces.faces.is_empty() {
            self.row(envelope, None, None, latency_ns)?;
        }
        for face in &faces.faces {
            let truth = truth.and_then(|truth| truth_of(&face.rect, truth));
            self.row(envelope, Some(face), truth, latency_ns)?;
        }
        Ok(())
    }

    fn row(
        &mut self,
        envelope: &Envelope,
        face: Option<&Face>,
        truth: Option<Expression>,
        latency_ns: Option<u64>,
    ) -> csv::Result<()> {
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
        let smoothed = face.and_then(|face| face.smoothed);
        for index in 0..EXPRESSIONS {
            self.decimal(smoothed.map(|smoothed| smoothed[index]), 6)?;
        }
        self.known(truth)?;
        self.known(latency_ns.map(|ns| Milliseconds(ns.into())))?;
        self.writer.write_record(None::<&[u8]>)
    }

    /// A cell that is empty if the value is not known.
    fn known(&mut self, value: Option<impl Display>) -> csv::Result<()> {
        self.cell.clear();
        if let Some(value) = value {
            write!(self.cell, "{value}").expect("a string takes everything");
        }
        self.writer.write_field(&self.cell)
    }

    /// A number with so many decimals.
    fn decimal(&mut self, value: Option<f32>, decimals: usize) -> csv::Result<()> {
        self.cell.clear();
        if let Some(value) = value {
            write_decimal(&mut self.cell, value, decimals);
        }
        self.writer.write_field(&self.cell)
    }
}

/// What the drawn face expresses that overlaps the box most; the first one of a tie.
fn truth_of(rect: &Rect, truth: &GroundTruth) -> Option<Expression> {
    let sides = [rect.x, rect.y, rect.w, rect.h];
    if !sides.iter().all(|side| side.is_finite()) {
        return None;
    }
    let mut best = None;
    let mut best_iou = LEAST_IOU;
    for face in &truth.faces {
        let iou = face.rect.iou(rect);
        if iou > best_iou || (iou == best_iou && best.is_none()) {
            (best, best_iou) = (Some(face.expression), iou);
        }
    }
    best
}
