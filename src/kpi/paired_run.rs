//! The parts of a run that are compared with another, counted by blocks of time, so that samples of blocks can be
//! measured.

use std::collections::{BTreeMap, BTreeSet};

use super::agreement::{Judged, is_right};
use super::faces::{self, FaceRow, Label};
use super::flips::{self, Flips, Pair};
use super::lag::{Labelled, lags};
use super::run_data::RunData;
use super::{quantiles, streaming, truth};

/// Duration of a block, microseconds; the last one of a stream also holds the remainder.
const BLOCK_US: i64 = 5_000_000;

/// What two runs have in common in a stream.
pub(super) struct Span {
    stream: String,
    /// Segment and time of the frames that both have.
    common: BTreeSet<(u64, i64)>,
    from_us: i64,
    until_us: i64,
    /// Number of its blocks.
    pub(super) blocks: usize,
    /// Index of its first block among those of all streams.
    first_block: usize,
}

impl Span {
    /// Returns the span from the first to the last common frame; none if there is none.
    pub(super) fn of(
        stream: &str,
        common: BTreeSet<(u64, i64)>,
        first_block: usize,
    ) -> Option<Self> {
        let from_us = common.iter().map(|(_, pts_us)| *pts_us).min()?;
        let until_us = common.iter().map(|(_, pts_us)| *pts_us).max()?;
        let blocks = ((until_us - from_us) / BLOCK_US).max(1);
        Some(Self {
            stream: stream.to_owned(),
            common,
            from_us,
            until_us,
            blocks: blocks as usize,
            first_block,
        })
    }

    /// Returns the block of a time; none outside the span.
    fn block(&self, pts_us: i64) -> Option<usize> {
        let is_inside = (self.from_us..=self.until_us).contains(&pts_us);
        let block = ((pts_us - self.from_us) / BLOCK_US) as usize;
        is_inside.then(|| self.first_block + block.min(self.blocks - 1))
    }

    fn seconds(&self, block: usize) -> f64 {
        let is_last = block == self.blocks - 1;
        let before_us = BLOCK_US * block as i64;
        let us = if is_last {
            self.until_us - self.from_us - before_us
        } else {
            BLOCK_US
        };
        us as f64 / 1e6
    }
}

/// Judgements by block.
#[derive(Clone, Debug)]
pub(super) struct JudgedBlocks(Vec<Judged>);

impl JudgedBlocks {
    fn add(&mut self, block: Option<usize>, is_right: Option<bool>) {
        if let (Some(block), Some(is_right)) = (block, is_right) {
            self.0[block].add(is_right);
        }
    }

    /// Returns the share of correct ones when each block counts as often as given.
    pub(super) fn share(&self, counts: &[u32]) -> Option<f64> {
        let mut all = Judged::default();
        for (judged, &count) in self.0.iter().zip(counts) {
            all.right += judged.right * u64::from(count);
            all.all += judged.all * u64::from(count);
        }
        all.share()
    }
}

/// Flips by track and block.
#[derive(Clone, Debug, Default)]
pub(super) struct FlipsBlocks(Vec<Vec<(usize, Flips)>>);

impl FlipsBlocks {
    fn add(&mut self, span: &Span, pairs: impl Iterator<Item = Pair>) {
        let mut blocks = BTreeMap::<usize, Flips>::new();
        for pair in pairs {
            if let Some(block) = span.block(pair.pts_us) {
                blocks.entry(block).or_default().add(pair);
            }
        }
        self.0.push(blocks.into_iter().collect());
    }

    fn tracks(&self, counts: &[u32]) -> Vec<Flips> {
        let weighed = |track: &Vec<(usize, Flips)>| {
            let mut all = Flips::default();
            for (block, flips) in track {
                let count = counts[*block];
                all.flips += flips.flips * u64::from(count);
                all.pairs += flips.pairs * u64::from(count);
                all.time_us += flips.time_us * i64::from(count);
            }
            all
        };
        self.0.iter().map(weighed).collect()
    }

    /// See [`flips::rate`].
    pub(super) fn rate(&self, counts: &[u32]) -> Option<f64> {
        flips::rate(&self.tracks(counts))
    }

    /// See [`flips::per_minute`].
    pub(super) fn per_minute(&self, counts: &[u32]) -> Option<f64> {
        flips::per_minute(&self.tracks(counts))
    }
}

/// A run, restricted to what another has too.
#[derive(Clone, Debug)]
pub(super) struct PairedRun {
    /// Latencies of common frames, microseconds, sorted, with their blocks.
    latencies_us: Vec<(i64, usize)>,
    /// Lags of lasting changes, milliseconds, with the blocks in which the raw label changed.
    lags_ms: Vec<(f64, usize)>,
    pub(super) raw: FlipsBlocks,
    pub(super) smoothed: FlipsBlocks,
    /// Common frames, judged by whether they have a face.
    pub(super) detected: JudgedBlocks,
    /// Labelled faces of common frames.
    pub(super) accuracy: JudgedBlocks,
    pub(super) accuracy_raw: JudgedBlocks,
    /// True faces of all frames in the common time.
    pub(super) streaming: JudgedBlocks,
    /// Frames and seconds by block.
    frames: Vec<(u64, f64)>,
    speed: Option<f64>,
}

impl PairedRun {
    /// Counts the blocks of a run.
    ///
    /// # Errors
    /// See [`truth::matched`].
    pub(super) fn of(run: &RunData, spans: &[Span], blocks: usize) -> anyhow::Result<Self> {
        let judged = || JudgedBlocks(vec![Judged::default(); blocks]);
        let mut paired = Self {
            latencies_us: Vec::new(),
            lags_ms: Vec::new(),
            raw: FlipsBlocks::default(),
            smoothed: FlipsBlocks::default(),
            detected: judged(),
            accuracy: judged(),
            accuracy_raw: judged(),
            streaming: judged(),
            frames: vec![(0, 0.0); blocks],
            speed: run.speed(),
        };
        for span in spans {
            let rows = &run.faces.streams[&span.stream];
            paired.count_frames(span, rows);
            for indices in faces::tracks(rows).values() {
                let of = |label: fn(&FaceRow) -> Option<&Label>| {
                    let track = indices.iter().map(|&index| &rows[index]);
                    flips::pairs(track.map(move |row| (row.pts_us, label(row))))
                };
                paired.raw.add(span, of(|row| row.raw_label.as_ref()));
                paired.smoothed.add(span, of(|row| row.label.as_ref()));
                let labelled = indices.iter().map(|&index| Labelled {
                    pts_us: rows[index].pts_us,
                    raw: rows[index].raw_label.as_ref(),
                    smoothed: rows[index].label.as_ref(),
                });
                for change in lags(&labelled.collect::<Vec<_>>()).followed {
                    let block = span.block(change.at_us);
                    paired
                        .lags_ms
                        .extend(block.map(|block| (change.lag_ms, block)));
                }
            }
            paired.judge(run, span, rows)?;
        }
        paired.latencies_us.sort_unstable();
        Ok(paired)
    }

    fn count_frames(&mut self, span: &Span, rows: &[FaceRow]) {
        for block in 0..span.blocks {
            self.frames[span.first_block + block].1 = span.seconds(block);
        }
        for frame in faces::frames(rows) {
            let Some(block) = span.block(frame.pts_us) else {
                continue;
            };
            self.frames[block].0 += 1;
            if !span.common.contains(&(frame.segment, frame.pts_us)) {
                continue;
            }
            self.detected.add(Some(block), Some(frame.has_face));
            if let Some(latency_us) = frame.latency_us {
                self.latencies_us.push((latency_us, block));
            }
        }
    }

    fn judge(&mut self, run: &RunData, span: &Span, rows: &[FaceRow]) -> anyhow::Result<()> {
        let truth = run.truth.get(&span.stream);
        let matched = truth.map(|truth| truth::matched(&span.stream, rows, truth));
        let matched = matched.transpose()?;
        for (index, row) in rows.iter().enumerate() {
            let true_label = match &matched {
                Some(matched) => matched[index].map(|face| &face.label),
                None => row.truth.as_ref(),
            };
            let is_common = span.common.contains(&(row.segment, row.pts_us));
            let block = span.block(row.pts_us).filter(|_| is_common);
            let right = is_right(row.label.as_ref(), true_label);
            self.accuracy.add(block, right);
            let right = is_right(row.raw_label.as_ref(), true_label);
            self.accuracy_raw.add(block, right);
        }
        if let (Some(truth), Some(matched), Some(speed)) = (truth, &matched, self.speed) {
            let moments = streaming::moments(rows, matched, truth, speed);
            for moment in moments.into_iter().flatten() {
                let block = span.block(moment.pts_us);
                self.streaming.add(block, Some(moment.is_right));
            }
        }
        Ok(())
    }

    /// Returns a quantile of the latencies, milliseconds.
    pub(super) fn latency_ms(&self, quantile: f64, counts: &[u32]) -> Option<f64> {
        let weight = |block: usize| counts[block] as usize;
        let all: usize = self
            .latencies_us
            .iter()
            .map(|(_, block)| weight(*block))
            .sum();
        let mut left = quantiles::rank(quantile, all);
        for (latency_us, block) in &self.latencies_us {
            match left.checked_sub(weight(*block)) {
                Some(rest) => left = rest,
                None => return Some(*latency_us as f64 / 1e3),
            }
        }
        None
    }

    /// Returns the median lag of smoothing, milliseconds.
    pub(super) fn lag_ms(&self, counts: &[u32]) -> Option<f64> {
        let lags = self.lags_ms.iter();
        let drawn = lags.flat_map(|(lag, block)| (0..counts[*block]).map(|_| *lag));
        quantiles::median(&drawn.collect::<Vec<_>>())
    }

    /// Returns the frames of a stream that reached the table per second of the clock.
    pub(super) fn frames_per_s(&self, counts: &[u32]) -> Option<f64> {
        let (mut frames, mut seconds) = (0, 0.0);
        for ((count, length), &times) in self.frames.iter().zip(counts) {
            frames += count * u64::from(times);
            seconds += length * f64::from(times);
        }
        let per_s = frames as f64 / seconds * self.speed?;
        (seconds > 0.0).then_some(per_s)
    }
}
