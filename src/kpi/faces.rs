//! `faces.csv`: the faces seen in each frame of each stream. Owns which columns are read and what a row means.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;

use super::table::{Row, Table};

/// A label as spelled in the table: other programs have other classes.
pub(super) type Label = Arc<str>;

/// Required columns.
const NEEDED: [&str; 5] = ["stream", "sequence", "pts_ms", "track", "label"];

/// A face in a frame, or a frame without a face.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FaceRow {
    pub(super) segment: u64,
    pub(super) sequence: u64,
    /// Time in the recording, microseconds.
    pub(super) pts_us: i64,
    pub(super) track: Option<u64>,
    /// x, y, w, h in pixels.
    pub(super) rect: Option<[f64; 4]>,
    /// The classifier's label.
    pub(super) raw_label: Option<Label>,
    /// The label after smoothing.
    pub(super) label: Option<Label>,
    /// The true label, if the table has one.
    pub(super) truth: Option<Label>,
    /// Time from capture to this row by the clock, microseconds.
    pub(super) latency_us: Option<i64>,
}

impl FaceRow {
    /// Returns whether the row describes a face.
    pub(super) fn is_face(&self) -> bool {
        self.rect.is_some()
            || self.track.is_some()
            || self.label.is_some()
            || self.raw_label.is_some()
    }
}

/// A frame that reached the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) segment: u64,
    pub(super) pts_us: i64,
    pub(super) has_face: bool,
    pub(super) has_label: bool,
    pub(super) latency_us: Option<i64>,
}

/// The table by stream, with rows ordered by segment and sequence.
#[derive(Clone, Debug, Default)]
pub(super) struct FacesTable {
    pub(super) streams: BTreeMap<String, Vec<FaceRow>>,
    /// Whether there is a column for the classifier's own label.
    pub(super) has_raw: bool,
    pub(super) has_truth: bool,
}

impl FacesTable {
    /// Reads a table, which may consist of several files.
    ///
    /// # Errors
    /// Fails if it cannot be read, lacks columns or rows, or contradicts itself.
    pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut faces = Self::default();
        let mut labels = BTreeSet::<Label>::new();
        let mut seen = BTreeSet::new();
        let mut label = |text: Option<&str>| {
            let text = text?;
            if let Some(known) = labels.get(text) {
                return Some(Arc::clone(known));
            }
            let label: Label = Arc::from(text);
            labels.insert(Arc::clone(&label));
            Some(label)
        };
        let mut take = |row: &Row<'_>| {
            let stream = row.needed("stream", row.text("stream"))?;
            let face = FaceRow {
                segment: row.count("segment")?.unwrap_or(0),
                sequence: row.needed("sequence", row.count("sequence")?)?,
                pts_us: row.needed("pts_ms", row.time_us("pts_ms")?)?,
                track: row.count("track")?,
                rect: row.rect()?,
                raw_label: label(row.text("raw_label")),
                label: label(row.text("label")),
                truth: label(row.text("truth")),
                latency_us: row.time_us("latency_ms")?,
            };
            if let Some(track) = face.track {
                let key = (stream.to_owned(), face.segment, face.sequence, track);
                if !seen.insert(key) {
                    let sequence = face.sequence;
                    return Err(row.error(&format!(
                        "track {track} is twice in frame {sequence} of stream `{stream}`"
                    )));
                }
            }
            match faces.streams.get_mut(stream) {
                Some(rows) => rows.push(face),
                None => {
                    faces.streams.insert(stream.to_owned(), vec![face]);
                }
            }
            Ok(())
        };
        let (mut have_raw, mut have_truth) = (true, true);
        for path in paths {
            let table = Table::open(path, &NEEDED)?;
            have_raw &= table.has("raw_label");
            have_truth &= table.has("truth");
            table.each(&mut take)?;
        }
        (faces.has_raw, faces.has_truth) = (have_raw, have_truth);
        if faces.streams.is_empty() {
            let paths: Vec<String> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            bail!(
                "{} has no rows: no frame reached it, so there is nothing to measure",
                paths.join(", ")
            );
        }
        for rows in faces.streams.values_mut() {
            rows.sort_by_key(|row| (row.segment, row.sequence));
        }
        Ok(faces)
    }
}

/// Returns the frames of a stream's rows.
pub(super) fn frames(rows: &[FaceRow]) -> Vec<Frame> {
    let of_one_frame = rows.chunk_by(|a, b| (a.segment, a.sequence) == (b.segment, b.sequence));
    of_one_frame
        .map(|rows| Frame {
            segment: rows[0].segment,
            pts_us: rows[0].pts_us,
            has_face: rows.iter().any(FaceRow::is_face),
            has_label: rows.iter().any(|row| row.label.is_some()),
            latency_us: rows.iter().find_map(|row| row.latency_us),
        })
        .collect()
}

/// Returns the time of the recording passed at each frame since the first, microseconds. A segment may begin at any
/// time, even at 0 again; if it does not begin after the end of the previous one, no time is assumed to have passed
/// between them.
pub(super) fn passed_us(frames: &[Frame]) -> Vec<i64> {
    let mut passed = Vec::with_capacity(frames.len());
    let mut before_us = 0_i64;
    let mut end_us: Option<i64> = None;
    for segment in frames.chunk_by(|a, b| a.segment == b.segment) {
        let times = segment.iter().map(|frame| frame.pts_us);
        let begin_us = times.clone().min().unwrap_or(0);
        let gap_us = end_us.map_or(0, |end_us| begin_us.saturating_sub(end_us).max(0));
        before_us = before_us.saturating_add(gap_us);
        passed.extend(
            times
                .clone()
                .map(|pts_us| before_us.saturating_add(pts_us - begin_us)),
        );
        let last_us = times.max().unwrap_or(0);
        before_us = before_us.saturating_add(last_us - begin_us);
        end_us = Some(last_us);
    }
    passed
}

/// Returns the indices of the rows of each (segment, track).
pub(super) fn tracks(rows: &[FaceRow]) -> BTreeMap<(u64, u64), Vec<usize>> {
    let mut tracks = BTreeMap::<_, Vec<usize>>::new();
    for (index, row) in rows.iter().enumerate() {
        if let Some(track) = row.track {
            tracks.entry((row.segment, track)).or_default().push(index);
        }
    }
    tracks
}
