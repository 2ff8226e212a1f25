//! `truth.csv`: the position and label of every face in every frame of a stream, seen or not. Owns its columns and how
//! seen faces are matched with true ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;

use super::faces::{FaceRow, Label};
use super::table::Table;
use crate::overlap::iou;

const NEEDED: [&str; 9] = [
    "stream", "sequence", "pts_ms", "face", "x", "y", "w", "h", "label",
];

/// Minimum overlap of a seen face with its true one.
const LEAST_IOU: f64 = 0.5;

/// Maximum difference of a frame's times in two tables, microseconds.
const SAME_TIME_US: i64 = 1_000;

/// A true face.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TrueFace {
    /// Identity of the face.
    pub(super) face: u64,
    /// x, y, w, h in pixels.
    pub(super) rect: [f64; 4],
    pub(super) label: Label,
}

/// A frame and all faces in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TrueFrame {
    pub(super) pts_us: i64,
    pub(super) faces: Vec<TrueFace>,
}

/// The truth of one stream, by sequence number.
pub(super) type StreamTruth = BTreeMap<u64, TrueFrame>;

/// Adds a table to the truth of the streams.
///
/// # Errors
/// Fails if it cannot be read, lacks columns, or contradicts itself or an earlier table.
pub(super) fn read_into(
    truth: &mut BTreeMap<String, StreamTruth>,
    path: &Path,
) -> anyhow::Result<()> {
    let table = Table::open(path, &NEEDED)?;
    let mut labels = BTreeSet::<Label>::new();
    table.each(|row| {
        let stream = row.needed("stream", row.text("stream"))?;
        let sequence = row.needed("sequence", row.count("sequence")?)?;
        let pts_us = row.needed("pts_ms", row.time_us("pts_ms")?)?;
        let frames = truth.entry(stream.to_owned()).or_default();
        let frame = frames.entry(sequence).or_insert_with(|| TrueFrame {
            pts_us,
            faces: Vec::new(),
        });
        if frame.pts_us != pts_us {
            return Err(row.error(&format!("frame {sequence} has two times")));
        }
        // A row without a face marks an empty frame.
        let Some(face) = row.count("face")? else {
            return Ok(());
        };
        let text = row.needed("label", row.text("label"))?;
        if !labels.contains(text) {
            labels.insert(Arc::from(text));
        }
        if frame.faces.iter().any(|known| known.face == face) {
            return Err(row.error(&format!("face {face} is twice in frame {sequence}")));
        }
        frame.faces.push(TrueFace {
            face,
            rect: row.needed("x, y, w or h", row.rect()?)?,
            label: labels.get(text).cloned().unwrap_or_else(|| text.into()),
        });
        Ok(())
    })?;
    if truth.is_empty() {
        bail!("{} has no rows", path.display());
    }
    Ok(())
}

/// Returns the matching true face of each row, if any.
///
/// In each frame, pairs are matched greedily by decreasing overlap (ties: by order of rows); pairs with an IoU below
/// 0.5 do not match.
///
/// # Errors
/// Fails if a frame's times in the table and the truth differ: they belong to different runs.
pub(super) fn matched<'a>(
    stream: &str,
    rows: &[FaceRow],
    truth: &'a StreamTruth,
) -> anyhow::Result<Vec<Option<&'a TrueFace>>> {
    let mut matched = vec![None; rows.len()];
    let mut start = 0;
    for rows in rows.chunk_by(|a, b| (a.segment, a.sequence) == (b.segment, b.sequence)) {
        let first = start;
        start += rows.len();
        let sequence = rows[0].sequence;
        let Some(frame) = truth.get(&sequence) else {
            continue;
        };
        if (frame.pts_us - rows[0].pts_us).abs() > SAME_TIME_US {
            bail!(
                "frame {sequence} of stream `{stream}` is at {} ms in faces.csv and at {} ms in the truth: they are not of one run",
                rows[0].pts_us as f64 / 1e3,
                frame.pts_us as f64 / 1e3
            );
        }
        let mut pairs = Vec::new();
        for (row, rect) in (rows.iter().enumerate()).filter_map(|(i, row)| Some((i, row.rect?))) {
            for (index, face) in frame.faces.iter().enumerate() {
                let iou = iou(rect, face.rect);
                if iou >= LEAST_IOU {
                    pairs.push((iou, row, index));
                }
            }
        }
        // Stable: ties stay in the order of rows.
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut taken = BTreeSet::new();
        for (_, row, index) in pairs {
            if matched[first + row].is_none() && taken.insert(index) {
                matched[first + row] = Some(&frame.faces[index]);
            }
        }
    }
    Ok(matched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sequence: u64, x: f64) -> FaceRow {
        FaceRow {
            sequence,
            rect: Some([x, 0.0, 10.0, 10.0]),
            ..FaceRow::default()
        }
    }

    fn face(face: u64, x: f64) -> TrueFace {
        TrueFace {
            face,
            rect: [x, 0.0, 10.0, 10.0],
            label: "happy".into(),
        }
    }

    fn truth(faces: Vec<TrueFace>) -> StreamTruth {
        BTreeMap::from([(7, TrueFrame { pts_us: 0, faces })])
    }

    fn identities(rows: &[FaceRow], truth: &StreamTruth) -> Vec<Option<u64>> {
        let matched = matched("a", rows, truth).unwrap();
        matched.iter().map(|face| face.map(|f| f.face)).collect()
    }

    #[test]
    fn the_pair_that_overlaps_most_comes_first() {
        // The first row overlaps both faces enough, but the second row is the second face.
        let truth = truth(vec![face(0, 0.0), face(1, 4.0)]);
        let rows = [row(7, 3.0), row(7, 4.0)];
        assert_eq!(identities(&rows, &truth), [Some(0), Some(1)]);
        assert_eq!(identities(&rows[1..], &truth), [Some(1)]);
    }

    #[test]
    fn less_than_half_is_no_match_and_half_is_one() {
        // Moved by d of 10, the IoU is (10 − d) / (10 + d): a half at 10 / 3.
        let truth = truth(vec![face(0, 0.0)]);
        assert_eq!(identities(&[row(7, 3.4)], &truth), [None]);
        assert_eq!(identities(&[row(7, 3.3)], &truth), [Some(0)]);
        assert_eq!(identities(&[row(8, 0.0)], &truth), [None]);
        assert_eq!(identities(&[row(7, f64::NAN)], &truth), [None]);
    }

    #[test]
    fn one_face_is_found_once() {
        let truth = truth(vec![face(0, 0.0)]);
        let rows = [row(7, 1.0), row(7, 0.5)];
        assert_eq!(identities(&rows, &truth), [None, Some(0)]);
    }

    #[test]
    fn another_runs_truth_is_refused() {
        let mut late = row(7, 0.0);
        late.pts_us = 40_000;
        let error = matched("a", &[late], &truth(vec![face(0, 0.0)])).unwrap_err();
        assert!(error.to_string().contains("not of one run"), "{error}");
    }
}
