//! The counts of one stream, and how counts of streams are combined. `measures` turns them into numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::agreement::{Judged, is_right, right_around};
use super::excess::{TrueChanges, true_changes};
use super::faces::{self, FaceRow, Label};
use super::flips::{Flips, pairs};
use super::lag::{Labelled, Lags, lags};
use super::run_data::RunData;
use super::streaming;
use super::truth;

/// Counts of one or several streams.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    pub(super) frames: u64,
    pub(super) frames_with_face: u64,
    /// Time from the first to the last frame, microseconds; the longest of several streams.
    pub(super) span_us: i64,
    /// Latencies of frames, microseconds.
    pub(super) latencies_us: Vec<i64>,
    /// Number of tracks, however short.
    pub(super) tracks: u64,
    pub(super) raw: Vec<Flips>,
    pub(super) smoothed: Vec<Flips>,
    pub(super) lags: Lags,
    /// Time from the first frame to the first one with a label, milliseconds, for each stream that has one.
    pub(super) first_label_ms: Vec<f64>,
    /// Frames per second of the recording, summed over the streams for which it is known.
    pub(super) frames_per_s: Option<f64>,
    pub(super) accuracy: Judged,
    pub(super) accuracy_raw: Judged,
    /// Counts that require the truth of every frame; none without it.
    pub(super) true_parts: Option<TrueParts>,
    pub(super) streaming: Option<Judged>,
}

/// Counts against the truth of every frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TrueParts {
    /// Flips of tracks that show a true face.
    pub(super) flips: u64,
    pub(super) flips_raw: u64,
    pub(super) changes: TrueChanges,
    /// Tracks that show one.
    pub(super) tracks: u64,
    pub(super) around: Judged,
}

impl Parts {
    /// Counts a stream of a run.
    ///
    /// # Errors
    /// Fails if its truth belongs to another run.
    pub(super) fn of(run: &RunData, stream: &str, rows: &[FaceRow]) -> anyhow::Result<Self> {
        let mut parts = Self::default();
        parts.count_frames(rows);
        let tracks = faces::tracks(rows);
        parts.count_tracks(rows, tracks.values());
        match run.truth.get(stream) {
            Some(truth) => {
                let matched = truth::matched(stream, rows, truth)?;
                let labels = matched.iter().map(|face| face.map(|face| &face.label));
                parts.judge(rows, labels);
                let mut true_parts = TrueParts {
                    around: right_around(rows, &matched),
                    ..TrueParts::default()
                };
                for indices in tracks.values() {
                    let track: Vec<_> = indices.iter().map(|&i| (&rows[i], matched[i])).collect();
                    if let Some(changes) = true_changes(&track, truth) {
                        true_parts.add(rows, indices, changes);
                    }
                }
                parts.true_parts = Some(true_parts);
                let moments = run
                    .speed()
                    .and_then(|speed| streaming::moments(rows, &matched, truth, speed));
                parts.streaming = moments.map(|moments| {
                    let mut judged = Judged::default();
                    moments
                        .iter()
                        .for_each(|moment| judged.add(moment.is_right));
                    judged
                });
            }
            None => parts.judge(rows, rows.iter().map(|row| row.truth.as_ref())),
        }
        Ok(parts)
    }

    fn count_frames(&mut self, rows: &[FaceRow]) {
        let frames = faces::frames(rows);
        self.frames = frames.len() as u64;
        self.frames_with_face = frames.iter().filter(|frame| frame.has_face).count() as u64;
        self.latencies_us = frames.iter().filter_map(|frame| frame.latency_us).collect();
        let passed_us = faces::passed_us(&frames);
        let labelled = frames
            .iter()
            .zip(&passed_us)
            .find(|(frame, _)| frame.has_label);
        self.first_label_ms = (labelled.into_iter())
            .map(|(_, passed_us)| *passed_us as f64 / 1e3)
            .collect();
        let span_us = passed_us.into_iter().max().unwrap_or(0);
        self.span_us = span_us;
        // If rows have no latency, time did not pass as in the recording.
        let is_timed = !self.latencies_us.is_empty() && span_us > 0;
        self.frames_per_s = is_timed.then(|| (self.frames - 1) as f64 * 1e6 / span_us as f64);
    }

    fn count_tracks<'a>(&mut self, rows: &[FaceRow], tracks: impl Iterator<Item = &'a Vec<usize>>) {
        for indices in tracks {
            self.tracks += 1;
            self.raw.push(flips(rows, indices, raw_label));
            self.smoothed.push(flips(rows, indices, label));
            let track = indices.iter().map(|&index| Labelled {
                pts_us: rows[index].pts_us,
                raw: rows[index].raw_label.as_ref(),
                smoothed: rows[index].label.as_ref(),
            });
            self.lags.join(lags(&track.collect::<Vec<_>>()));
        }
    }

    fn judge<'a>(&mut self, rows: &[FaceRow], truths: impl Iterator<Item = Option<&'a Label>>) {
        for (row, truth) in rows.iter().zip(truths) {
            if let Some(is_right) = is_right(row.label.as_ref(), truth) {
                self.accuracy.add(is_right);
            }
            if let Some(is_right) = is_right(row.raw_label.as_ref(), truth) {
                self.accuracy_raw.add(is_right);
            }
        }
    }

    /// Adds the counts of another stream.
    pub(super) fn join(&mut self, other: &Self) {
        self.frames += other.frames;
        self.frames_with_face += other.frames_with_face;
        self.span_us = self.span_us.max(other.span_us);
        self.latencies_us.extend(&other.latencies_us);
        self.tracks += other.tracks;
        self.raw.extend(&other.raw);
        self.smoothed.extend(&other.smoothed);
        self.lags.join(other.lags.clone());
        self.first_label_ms.extend(&other.first_label_ms);
        self.frames_per_s = sum(self.frames_per_s, other.frames_per_s);
        self.accuracy.join(other.accuracy);
        self.accuracy_raw.join(other.accuracy_raw);
        if let Some(other) = &other.true_parts {
            self.true_parts.get_or_insert_default().join(other);
        }
        if let Some(other) = other.streaming {
            self.streaming.get_or_insert_default().join(other);
        }
    }
}

impl TrueParts {
    fn add(&mut self, rows: &[FaceRow], indices: &[usize], changes: TrueChanges) {
        self.tracks += 1;
        self.flips += flips(rows, indices, label).flips;
        self.flips_raw += flips(rows, indices, raw_label).flips;
        self.changes.changes += changes.changes;
        self.changes.not_followed += changes.not_followed;
    }

    fn join(&mut self, other: &Self) {
        self.tracks += other.tracks;
        self.flips += other.flips;
        self.flips_raw += other.flips_raw;
        self.changes.changes += other.changes.changes;
        self.changes.not_followed += other.changes.not_followed;
        self.around.join(other.around);
    }
}

impl Lags {
    fn join(&mut self, other: Self) {
        self.followed.extend(other.followed);
        self.not_followed += other.not_followed;
    }
}

/// Returns the counts of each stream that appears in the table, the truth or the report of a run. A stream of which no
/// frame reached the table has no counts, and is wrong in every frame of its truth.
///
/// # Errors
/// See [`Parts::of`].
pub(super) fn of_streams(run: &RunData) -> anyhow::Result<BTreeMap<String, Parts>> {
    let reported = run
        .report
        .iter()
        .filter_map(|report| report.streams.as_ref());
    let reported = reported.flat_map(BTreeMap::keys);
    let seen = run.faces.streams.keys().chain(run.truth.keys());
    let names: BTreeSet<&String> = seen.chain(reported).collect();
    let rows = |name| run.faces.streams.get(name).map_or(&[][..], Vec::as_slice);
    let each = names.into_iter();
    each.map(|name| Ok((name.clone(), Parts::of(run, name, rows(name))?)))
        .collect()
}

fn label(row: &FaceRow) -> Option<&Label> {
    row.label.as_ref()
}

fn raw_label(row: &FaceRow) -> Option<&Label> {
    row.raw_label.as_ref()
}

fn flips(rows: &[FaceRow], indices: &[usize], label: fn(&FaceRow) -> Option<&Label>) -> Flips {
    let track = indices.iter().map(|&index| &rows[index]);
    Flips::of(pairs(track.map(|row| (row.pts_us, label(row)))))
}

fn sum(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}
