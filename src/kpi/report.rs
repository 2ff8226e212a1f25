//! What of a run's `report.json` is measured. Every field may be missing: reports of old runs are read too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::quantiles::Told;
use crate::documents::read_json;

/// A run's report.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunReport {
    /// Seconds from the first capture to the last delivery.
    pub(super) wall_s: f64,
    /// `live`, `replay 2` or `asap`.
    pub(super) clock: String,
    pub(super) streams: BTreeMap<String, StreamBooks>,
    pub(super) nodes: BTreeMap<String, NodeTimes>,
    pub(super) files: Vec<WrittenFile>,
}

/// A file that the run wrote.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WrittenFile {
    pub(super) path: PathBuf,
    /// Where the stream's segments begin in a video.
    pub(super) segments: Vec<SegmentBegin>,
}

/// Where a segment of a stream begins in a video.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SegmentBegin {
    pub(super) segment: u64,
    /// Time in the recording.
    pub(super) pts_ms: f64,
    /// Time in the video.
    pub(super) at_ms: f64,
}

/// Books of a stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamBooks {
    pub(super) captured: u64,
    pub(super) missed: u64,
    pub(super) sinks: BTreeMap<String, SinkBooks>,
}

/// A stream at a sink.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SinkBooks {
    pub(super) losses: BTreeMap<String, u64>,
}

/// Times of a node instance.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeTimes {
    pub(super) processed: u64,
    pub(super) service_ms: Told,
    pub(super) queue_wait_ms: Told,
}

impl RunReport {
    /// Reads a report.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        read_json(path, "report of a run")
    }

    /// Time of the recording that passes in a second of the clock; none as fast as possible, where the two have nothing to do
    /// with each other.
    pub(super) fn speed(&self) -> Option<f64> {
        match self.clock.split_once(' ') {
            Some(("replay", speed)) => speed.parse().ok(),
            _ => (self.clock != "asap").then_some(1.0),
        }
    }
}

impl StreamBooks {
    /// What did not arrive, by cause and place. What is lost before the ways of two sinks part is in the books of both, with the same
    /// number, so the larger one counts.
    pub(super) fn drops(&self) -> BTreeMap<String, u64> {
        let mut drops = BTreeMap::new();
        for sink in self.sinks.values() {
            for (cause, count) in sink.losses.iter().filter(|(_, count)| **count > 0) {
                let most = drops.entry(cause.clone()).or_default();
                *most = (*count).max(*most);
            }
        }
        if self.missed > 0 {
            drops.insert("missed at the source".to_owned(), self.missed);
        }
        drops
    }
}
