//! The numbers of `kpi.json`, computed from counts, and why a number is unknown.

use std::collections::BTreeMap;

use serde::Serialize;

use super::books::{Books, Drops, NO_REPORT, NOT_SAID};
use super::flips;
use super::named::{Named, as_object, named};
use super::quantiles::{Quantiles, Told, median};
use super::report::{Clocks, NodeTimes, RunReport};
use super::run_data::RunData;
use super::stream_parts::{self, Parts};

/// The KPIs of a stream or of a whole run. Unknown values are null, and `unknown` says why.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Measures {
    /// Frames in the table.
    pub(crate) frames: u64,
    /// Time from the first to the last frame of the recording, milliseconds; the longest of several streams.
    pub(crate) span_ms: f64,
    /// Frames captured per second of the run (`captured` of the report / `wall_s`).
    pub(crate) fps_captured: Option<f64>,
    /// Frames that reached the table per second of the run; without a report, per second of the recording.
    pub(crate) fps_processed: Option<f64>,
    /// Seconds from the first capture to the last delivery.
    pub(crate) wall_s: Option<f64>,
    /// Packets that did not reach the table, by cause and place.
    pub(crate) drops: Option<Drops>,
    /// Packets that did not reach other sinks only, by cause and place.
    pub(crate) drops_elsewhere: Option<Drops>,
    /// (captured + missed − frames in the table) / (captured + missed).
    pub(crate) drop_rate: Option<f64>,
    /// Time from capture to the row, milliseconds.
    pub(crate) latency_ms: Quantiles,
    /// Mean over tracks of the share of neighbouring labelled rows whose labels differ, for the classifier's labels.
    pub(crate) flip_rate_raw: Option<f64>,
    /// The same for the smoothed labels.
    pub(crate) flip_rate: Option<f64>,
    /// Flips per minute of a track, for the classifier's labels.
    pub(crate) flips_per_minute_raw: Option<f64>,
    /// The same for the smoothed labels.
    pub(crate) flips_per_minute: Option<f64>,
    /// Number of flips of the classifier's labels.
    pub(crate) flips_raw: Option<u64>,
    /// The same for the smoothed labels.
    pub(crate) flips: Option<u64>,
    /// Flips of the classifier's labels beyond the changes of the true one.
    pub(crate) excess_flips_raw: Option<i64>,
    /// The same for the smoothed labels.
    pub(crate) excess_flips: Option<i64>,
    /// Changes of the true label while a track showed it.
    pub(crate) true_changes: Option<u64>,
    /// True changes that the smoothed label never followed.
    pub(crate) true_changes_not_followed: Option<u64>,
    /// Median time from a lasting change (0.5 s) of the raw label to that of the smoothed one.
    pub(crate) lag_ms: Option<f64>,
    /// Lasting changes that were followed.
    pub(crate) lasting_changes_followed: u64,
    /// Lasting changes that the smoothed label never followed.
    pub(crate) lasting_changes_not_followed: u64,
    /// Share of the true faces of all frames for which the newest label emitted by then was correct.
    pub(crate) streaming_accuracy: Option<f64>,
    /// Share of labelled faces whose smoothed label is the true one.
    pub(crate) accuracy: Option<f64>,
    /// The same for the classifier's labels.
    pub(crate) accuracy_raw: Option<f64>,
    /// Share of labelled faces that are correct together with all labels within half a second before and after.
    pub(crate) accuracy_pm_500ms: Option<f64>,
    /// Frames with a face / frames.
    pub(crate) detection_rate: Option<f64>,
    /// Time of the first frame with a label − time of the first frame; the mean over several streams.
    pub(crate) time_to_first_label_ms: Option<f64>,
    pub(crate) tracks: u64,
    /// Why a field is null.
    pub(crate) unknown: BTreeMap<&'static str, String>,
}

/// Times at a node instance.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Stage {
    pub(super) service_ms: Quantiles,
    pub(super) queue_wait_ms: Quantiles,
}

/// The KPIs of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunMeasures {
    pub(super) name: String,
    /// The clock of the run, if it has a report.
    pub(crate) clock: Option<String>,
    /// The clocks, if the run receives packets from other machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clocks: Option<Clocks>,
    #[serde(serialize_with = "as_object")]
    pub(super) streams: Named<Measures>,
    pub(crate) all: Measures,
    /// Times by node instance; null if no report has them.
    pub(super) stages: Option<BTreeMap<String, Stage>>,
}

impl RunMeasures {
    /// Measures a run.
    ///
    /// # Errors
    /// Fails if its files contradict each other.
    pub(super) fn of(run: &RunData) -> anyhow::Result<Self> {
        let parts = stream_parts::of_streams(run)?;
        let mut all = Parts::default();
        parts.values().for_each(|parts| all.join(parts));
        let books = |names: &[&String], is_all, frames| {
            let report = run.report.as_ref()?;
            Some(Books::of(report, names, is_all, frames))
        };
        let streams = parts.iter().map(|(name, parts)| {
            let books = books(&[name], false, parts.frames);
            (name.clone(), Measures::of(run, parts, books.as_ref()))
        });
        let streams = named(streams);
        let names: Vec<&String> = parts.keys().collect();
        let books = books(&names, true, all.frames);
        let nodes = run.report.as_ref().and_then(|report| report.nodes.as_ref());
        let stages = nodes.map(|nodes| {
            // Without the number of packets it is unknown whether they were enough.
            let counted = nodes.iter();
            let counted = counted.filter_map(|(name, node)| Some((name, node, node.processed?)));
            let stage = |(name, node, count): (&String, &NodeTimes, u64)| {
                let of = |told: Option<Told>| Quantiles::of_told(&told.unwrap_or_default(), count);
                let stage = Stage {
                    service_ms: of(node.service_ms),
                    queue_wait_ms: of(node.queue_wait_ms),
                };
                (name.clone(), stage)
            };
            counted.map(stage).collect()
        });
        Ok(Self {
            name: run.name.clone(),
            clock: run.report.as_ref().and_then(|report| report.clock.clone()),
            clocks: run.report.as_ref().and_then(RunReport::clocks),
            streams,
            all: Measures::of(run, &all, books.as_ref()),
            stages,
        })
    }
}

impl Measures {
    fn of(run: &RunData, parts: &Parts, books: Option<&Books>) -> Self {
        let mut measures = Self {
            frames: parts.frames,
            span_ms: parts.span_us as f64 / 1e3,
            latency_ms: Quantiles::of_us(&parts.latencies_us),
            tracks: parts.tracks,
            detection_rate: (parts.frames > 0)
                .then(|| parts.frames_with_face as f64 / parts.frames as f64),
            time_to_first_label_ms: mean(&parts.first_label_ms),
            accuracy: parts.accuracy.share(),
            accuracy_raw: parts.accuracy_raw.share(),
            ..Self::default()
        };
        measures.wall_s = run.report.as_ref().and_then(|report| report.wall_s);
        measures.take_books(parts, books);
        measures.take_flips(parts);
        measures.take_truth(parts);
        measures.explain(run, parts, books);
        measures
    }

    fn take_books(&mut self, parts: &Parts, books: Option<&Books>) {
        let wall_s = self.wall_s;
        let per_s = |count: u64| Some(count as f64 / wall_s.filter(|wall_s| *wall_s > 0.0)?);
        self.fps_processed = match wall_s {
            Some(_) => per_s(parts.frames),
            None => parts.frames_per_s,
        };
        let Some(books) = books else { return };
        self.fps_captured = books.captured.and_then(per_s);
        self.drops.clone_from(&books.drops);
        self.drops_elsewhere.clone_from(&books.drops_elsewhere);
        self.drop_rate = books.drop_rate.ok();
    }

    fn take_flips(&mut self, parts: &Parts) {
        let of = |tracks: &[flips::Flips]| {
            let rate = flips::rate(tracks);
            let count = tracks.iter().map(|track| track.flips).sum::<u64>();
            (rate, flips::per_minute(tracks), rate.map(|_| count))
        };
        (
            self.flip_rate_raw,
            self.flips_per_minute_raw,
            self.flips_raw,
        ) = of(&parts.raw);
        (self.flip_rate, self.flips_per_minute, self.flips) = of(&parts.smoothed);
        let lags = parts.lags.followed.iter().map(|change| change.lag_ms);
        self.lag_ms = median(&lags.collect::<Vec<_>>());
        self.lasting_changes_followed = parts.lags.followed.len() as u64;
        self.lasting_changes_not_followed = parts.lags.not_followed;
    }

    fn take_truth(&mut self, parts: &Parts) {
        self.streaming_accuracy = parts.streaming.and_then(|judged| judged.share());
        let Some(truth) = parts.true_parts else {
            return;
        };
        self.accuracy_pm_500ms = truth.around.share();
        if truth.tracks > 0 {
            let changes = truth.changes.changes;
            let beyond = |flips: u64| flips as i64 - changes as i64;
            self.true_changes = Some(changes);
            self.true_changes_not_followed = Some(truth.changes.not_followed);
            self.excess_flips = Some(beyond(truth.flips));
            self.excess_flips_raw = self.flips_raw.map(|_| beyond(truth.flips_raw));
        }
    }

    /// Records why each null is null.
    fn explain(&mut self, run: &RunData, parts: &Parts, books: Option<&Books>) {
        self.explain_books(parts, books);
        self.explain_labels(run);
        self.explain_truth(run, parts);
    }

    fn why(&mut self, field: &'static str, is_null: bool, reason: &str) {
        if is_null {
            self.unknown.insert(field, reason.to_owned());
        }
    }

    fn explain_books(&mut self, parts: &Parts, books: Option<&Books>) {
        let or = |otherwise| match books {
            Some(_) => otherwise,
            None => NO_REPORT,
        };
        self.why("drops", self.drops.is_none(), or(NOT_SAID));
        self.why("wall_s", self.wall_s.is_none(), or(NOT_SAID));
        let elsewhere = match self.drops {
            Some(_) => {
                "report.json does not say which node wrote the table, so what any of them lost is in `drops`"
            }
            None => NOT_SAID,
        };
        self.why(
            "drops_elsewhere",
            self.drops_elsewhere.is_none(),
            or(elsewhere),
        );
        let no_rate = books.and_then(|books| books.drop_rate.err());
        self.why(
            "drop_rate",
            self.drop_rate.is_none(),
            or(no_rate.unwrap_or_default()),
        );
        let is_timed = self.wall_s.is_some();
        let captured = match books {
            Some(books) if books.captured.is_some() && is_timed => "no time passed",
            _ => or(NOT_SAID),
        };
        self.why("fps_captured", self.fps_captured.is_none(), captured);
        let processed = if is_timed {
            "no time passed"
        } else {
            "no report.json says how long the run took, and the rows have no latency that would say that time passed as in the recording"
        };
        self.why("fps_processed", self.fps_processed.is_none(), processed);
        let few = if parts.latencies_us.is_empty() {
            "the rows have no latency: under the clock `asap` it means nothing"
        } else {
            "too few frames: p50 needs 11, p90 64, p99 662, p99.9 6,636"
        };
        self.why("latency_ms", self.latency_ms.p999.is_none(), few);
        let none = "no frame reached the table";
        self.why("detection_rate", self.detection_rate.is_none(), none);
    }

    fn explain_labels(&mut self, run: &RunData) {
        let no_raw = if run.faces.has_raw {
            "no track has two rows with a label of the classifier"
        } else {
            "there is no column `raw_label`"
        };
        self.why("flip_rate_raw", self.flip_rate_raw.is_none(), no_raw);
        self.why("flips_raw", self.flips_raw.is_none(), no_raw);
        let no_label = "no track has two labelled rows";
        self.why("flip_rate", self.flip_rate.is_none(), no_label);
        self.why("flips", self.flips.is_none(), no_label);
        for (field, value, rate, reason) in [
            (
                "flips_per_minute_raw",
                self.flips_per_minute_raw,
                self.flip_rate_raw,
                no_raw,
            ),
            (
                "flips_per_minute",
                self.flips_per_minute,
                self.flip_rate,
                no_label,
            ),
        ] {
            let no_time = "no time passes between the labelled rows of a track";
            let reason = if rate.is_some() { no_time } else { reason };
            self.why(field, value.is_none(), reason);
        }
        let no_lag = "no lasting change (0.5 s) of the classifier's label was followed";
        self.why("lag_ms", self.lag_ms.is_none(), no_lag);
        let no_first = self.time_to_first_label_ms.is_none();
        self.why("time_to_first_label_ms", no_first, "nothing was labelled");
    }

    fn explain_truth(&mut self, run: &RunData, parts: &Parts) {
        let has_truth = parts.true_parts.is_some();
        let or = |otherwise| {
            if has_truth {
                otherwise
            } else {
                "there is no truth.csv with every frame of the stream"
            }
        };
        let stranger = or("no track shows a true face (IoU of 0.5)");
        self.why("excess_flips", self.excess_flips.is_none(), stranger);
        self.why(
            "excess_flips_raw",
            self.excess_flips_raw.is_none(),
            stranger,
        );
        self.why("true_changes", self.true_changes.is_none(), stranger);
        let is_null = self.true_changes_not_followed.is_none();
        self.why("true_changes_not_followed", is_null, stranger);
        let unlabelled = or("no labelled face is a true one (IoU of 0.5)");
        self.why(
            "accuracy_pm_500ms",
            self.accuracy_pm_500ms.is_none(),
            unlabelled,
        );
        let untimed = or(match parts.streaming {
            Some(_) => "the truth has no faces",
            None => {
                "labels have no time of emission: the rows have no latency, or the clock was `asap`"
            }
        });
        self.why(
            "streaming_accuracy",
            self.streaming_accuracy.is_none(),
            untimed,
        );
        let no_pair = if has_truth || run.faces.has_truth {
            "no face has both a label and a truth"
        } else {
            "there is neither a truth.csv nor a column `truth`"
        };
        self.why("accuracy", self.accuracy.is_none(), no_pair);
        self.why("accuracy_raw", self.accuracy_raw.is_none(), no_pair);
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
