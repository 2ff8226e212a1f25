//! The parts of a run's `report.json` that are measured. Every field may be missing, since reports of old runs are read
//! too; missing values are none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::quantiles::Told;
use super::segments;
use crate::documents::read_json;

/// How a report is named in errors.
const KIND: &str = "report of a run";

/// A run's report.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunReport {
    /// Seconds from the first capture to the last delivery.
    pub(super) wall_s: Option<f64>,
    /// `live`, `replay 2` or `asap`.
    pub(super) clock: Option<String>,
    pub(super) streams: Option<BTreeMap<String, StreamBooks>>,
    /// Ended streams that were units of work, combined.
    pub(super) units: Option<StreamBooks>,
    pub(super) nodes: Option<BTreeMap<String, NodeTimes>>,
    pub(super) files: Vec<WrittenFile>,
    /// The site, if the run was a part of one.
    site: Option<Site>,
    site_edges: Vec<SiteEdge>,
}

/// What a part knows of its site's clocks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Site {
    latency_error_ms: Option<f64>,
}

/// An end of an edge to another machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SiteEdge {
    receives: bool,
}

/// The accuracy of latencies in a run that receives packets from other machines.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Clocks {
    /// Their possible error, milliseconds; null if unknown.
    pub(super) latency_error_ms: Option<f64>,
}

/// A file that the run wrote.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WrittenFile {
    /// The node instance that wrote it.
    node: String,
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
    pub(super) captured: Option<u64>,
    pub(super) missed: Option<u64>,
    pub(super) sinks: Option<BTreeMap<String, SinkBooks>>,
}

/// A stream at a sink.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SinkBooks {
    pub(super) losses: Option<BTreeMap<String, u64>>,
}

/// Times of a node instance.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeTimes {
    pub(super) processed: Option<u64>,
    pub(super) service_ms: Option<Told>,
    pub(super) queue_wait_ms: Option<Told>,
}

impl RunReport {
    /// Reads a report.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is not a report.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let value: Value = read_json(path, KIND)?;
        let shown = path.display();
        // A list would be read as the fields of an object, in order.
        if !value.is_object() {
            bail!("{shown} is not a {KIND}: it is not a JSON object");
        }
        serde_json::from_value(value).with_context(|| format!("{shown} is not a {KIND}"))
    }

    /// Returns the time of the recording that passes per second of the clock; none under `asap`, where the two are
    /// unrelated. A report without a clock is assumed to have run at the recording's own speed.
    pub(super) fn speed(&self) -> Option<f64> {
        let clock = self.clock.as_deref().unwrap_or_default();
        match clock.split_once(' ') {
            Some(("replay", speed)) => speed.parse().ok(),
            _ => (clock != "asap").then_some(1.0),
        }
    }

    /// Returns the accuracy of latencies from other machines, if there are any.
    pub(super) fn clocks(&self) -> Option<Clocks> {
        let receives = self.site_edges.iter().any(|edge| edge.receives);
        let latency_error_ms = self.site.as_ref()?.latency_error_ms;
        (receives && self.speed().is_some()).then_some(Clocks { latency_error_ms })
    }

    /// Returns the node instances that wrote the table, as far as the report names files. The folder may have been
    /// moved since.
    pub(super) fn writers_of_table(&self) -> BTreeSet<&str> {
        let is_table = |file: &&WrittenFile| {
            let name = file.path.file_name();
            name.is_some_and(|name| segments::is_of(&name.to_string_lossy(), "faces", "csv"))
        };
        let tables = self.files.iter().filter(is_table);
        tables.map(|file| file.node.as_str()).collect()
    }
}

impl StreamBooks {
    /// Returns whether it leads to any of these sinks.
    pub(super) fn leads_to(&self, sinks: &BTreeSet<&str>) -> bool {
        let own = self.sinks.iter().flatten();
        own.into_iter()
            .any(|(name, _)| sinks.contains(name.as_str()))
    }
}
