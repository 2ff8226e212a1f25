//! Comparison of two runs of the same streams: how their KPIs differ, and whether that exceeds noise. Owns the pairing
//! by stream, frame and block of time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use serde::Serialize;

use super::bootstrap::{self, LEAST_BLOCKS, Verdict};
use super::faces;
use super::paired_run::{PairedRun, Span};
use super::run_data::RunData;

/// A comparison of two runs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) first: String,
    pub(super) second: String,
    /// Streams that both have.
    pub(super) streams: Vec<String>,
    /// Frames of those streams that both have.
    pub(super) frames: u64,
    pub(super) only_first_frames: u64,
    pub(super) only_second_frames: u64,
    /// Number of blocks, of at least 5 s, that were drawn from.
    pub(super) blocks: u64,
    pub(super) measures: BTreeMap<&'static str, Difference>,
}

impl Comparison {
    /// Formats the differences for the terminal, one line each.
    pub(super) fn lines(&self) -> String {
        let mut lines = String::new();
        for (name, told) in &self.measures {
            let (Some(first), Some(second)) = (told.first, told.second) else {
                continue;
            };
            let verdict = match told.verdict {
                Verdict::More => "more",
                Verdict::Less => "less",
                Verdict::CannotTell => "cannot tell",
            };
            let reason = told.reason.as_ref();
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            lines += &format!("  {name:25} {first:10.4} {second:10.4}  {verdict}{reason}\n");
        }
        lines
    }
}

/// A KPI of two runs, restricted to what they have in common.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Difference {
    pub(super) first: Option<f64>,
    pub(super) second: Option<f64>,
    /// Second minus first.
    pub(super) difference: Option<f64>,
    /// Lower bound of 95 % of the samples.
    pub(super) low: Option<f64>,
    /// Upper bound of 95 % of the samples.
    pub(super) high: Option<f64>,
    pub(super) verdict: Verdict,
    /// Why there is no verdict although there is a difference.
    pub(super) reason: Option<String>,
}

/// Compares two runs.
///
/// Only common streams, from their first to their last common frame, are compared. Latency, detection rate and
/// agreement are computed on the common frames; flips, lags and frames per second on each run's own frames in that
/// time.
///
/// # Errors
/// Fails if they have no stream or no frame in common.
pub(super) fn compare(first: &RunData, second: &RunData) -> anyhow::Result<Comparison> {
    let names = |run: &RunData| -> BTreeSet<String> { run.faces.streams.keys().cloned().collect() };
    let (one, other) = (names(first), names(second));
    let mut streams: Vec<String> = one.intersection(&other).cloned().collect();
    alphanumeric_sort::sort_str_slice(&mut streams);
    let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    if streams.is_empty() {
        bail!(
            "{} and {} have no stream in common: {} and {}",
            first.name,
            second.name,
            list(&one),
            list(&other)
        );
    }
    let mut counts = [0u64; 3];
    let mut spans = Vec::new();
    let mut blocks = 0;
    for stream in &streams {
        let keys = |run: &RunData| -> BTreeSet<(u64, i64)> {
            let rows = &run.faces.streams[stream];
            let frames = faces::frames(rows).into_iter();
            frames.map(|frame| (frame.segment, frame.pts_us)).collect()
        };
        let (one, other) = (keys(first), keys(second));
        let common: BTreeSet<(u64, i64)> = one.intersection(&other).copied().collect();
        counts[0] += common.len() as u64;
        counts[1] += (one.len() - common.len()) as u64;
        counts[2] += (other.len() - common.len()) as u64;
        if let Some(span) = Span::of(stream, common, blocks) {
            blocks += span.blocks;
            spans.push(span);
        }
    }
    if spans.is_empty() {
        bail!(
            "{} and {} have no frame in common: the times of the frames of {} differ; were the same recordings replayed?",
            first.name,
            second.name,
            streams.join(", ")
        );
    }
    let paired = [first, second].map(|run| PairedRun::of(run, &spans, blocks));
    let [Ok(one), Ok(other)] = paired else {
        let errors = paired.into_iter().filter_map(Result::err);
        bail!(
            "{}",
            errors.map(|e| e.to_string()).collect::<Vec<_>>().join("; ")
        );
    };
    Ok(Comparison {
        first: first.name.clone(),
        second: second.name.clone(),
        streams,
        frames: counts[0],
        only_first_frames: counts[1],
        only_second_frames: counts[2],
        blocks: blocks as u64,
        measures: differences(&one, &other, blocks),
    })
}

/// A KPI as a function of how often each block counts.
type Measure = fn(&PairedRun, &[u32]) -> Option<f64>;

const MEASURES: [(&str, Measure); 12] = [
    ("fps_processed_per_stream", |run, counts| {
        run.frames_per_s(counts)
    }),
    ("latency_p50_ms", |run, counts| run.latency_ms(0.5, counts)),
    ("latency_p90_ms", |run, counts| run.latency_ms(0.9, counts)),
    ("flip_rate_raw", |run, counts| run.raw.rate(counts)),
    ("flip_rate", |run, counts| run.smoothed.rate(counts)),
    ("flips_per_minute_raw", |run, counts| {
        run.raw.per_minute(counts)
    }),
    ("flips_per_minute", |run, counts| {
        run.smoothed.per_minute(counts)
    }),
    ("lag_ms", |run, counts| run.lag_ms(counts)),
    ("detection_rate", |run, counts| run.detected.share(counts)),
    ("accuracy", |run, counts| run.accuracy.share(counts)),
    ("accuracy_raw", |run, counts| run.accuracy_raw.share(counts)),
    ("streaming_accuracy", |run, counts| {
        run.streaming.share(counts)
    }),
];

fn differences(
    one: &PairedRun,
    other: &PairedRun,
    blocks: usize,
) -> BTreeMap<&'static str, Difference> {
    let each = MEASURES.iter();
    each.map(|(name, measure)| (*name, difference(*measure, one, other, blocks)))
        .collect()
}

fn difference(measure: Measure, one: &PairedRun, other: &PairedRun, blocks: usize) -> Difference {
    let once = vec![1; blocks];
    let (first, second) = (measure(one, &once), measure(other, &once));
    let mut told = Difference {
        first,
        second,
        difference: None,
        low: None,
        high: None,
        verdict: Verdict::CannotTell,
        reason: None,
    };
    let (Some(first), Some(second)) = (first, second) else {
        told.reason = Some("one of the runs has no such number".to_owned());
        return told;
    };
    told.difference = Some(second - first);
    let drawn = bootstrap::interval(blocks, |counts| {
        Some(measure(other, counts)? - measure(one, counts)?)
    });
    match drawn {
        Some(interval) => {
            (told.low, told.high) = (Some(interval.low), Some(interval.high));
            told.verdict = interval.verdict();
        }
        None if blocks < LEAST_BLOCKS => {
            told.reason = Some(format!(
                "only {blocks} blocks of 5 s in common, {LEAST_BLOCKS} are needed"
            ));
        }
        None => told.reason = Some("too few blocks have such a number".to_owned()),
    }
    told
}
