//! What a softlabel job computes, regardless of where: its graphs for a single machine, for a worker, and for the
//! coordinator that hands out units. Owns their texts and the alignment of the softlabels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fermata::learn_cli::TeacherArguments;
use fermata_jobs::aligned::{align, asked};
use fermata_jobs::loaded_model::LoadedModel;
use fermata_jobs::payload::AskedViews;
use fermata_learn::augmentation::Augmentation;
use fermata_learn::manifest::Split;
use fermata_learn::softlabels::Alignment;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::teachers::Teachers;

/// A softlabel job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    pub(crate) manifest: PathBuf,
    pub(crate) split: Option<Split>,
    /// Number of rows per unit.
    pub(crate) unit: usize,
    /// Model folders by teacher.
    pub(crate) teachers: BTreeMap<String, Vec<PathBuf>>,
    pub(crate) weights: BTreeMap<String, f64>,
    /// Temperatures of teachers that do not use their card's.
    pub(crate) temperatures: BTreeMap<String, f64>,
    pub(crate) views: u32,
    pub(crate) seed: u64,
    pub(crate) augmentation: Augmentation,
    pub(crate) device: String,
    pub(crate) batch: u32,
    pub(crate) threads: u32,
    /// Whether a teacher may be asked about rows that it has learnt from.
    pub(crate) allow_seen: bool,
}

impl Plan {
    /// Returns the graph that computes everything on this machine.
    pub(crate) fn here(&self, readers: u32, max_failures: usize) -> String {
        let streams = self.units(2, None);
        let write = json!({
            "use": "write_softlabels",
            "in": "fuse",
            "dir": "${run.dir}",
            "max_failures": max_failures,
            "on_error": "stop",
        });
        self.computing(&streams, readers, &write)
    }

    /// Returns the graph of a worker. The coordinator limits how many rows may fail.
    #[cfg_attr(not(feature = "remote"), allow(dead_code))]
    pub(crate) fn at_a_worker(&self, readers: u32) -> String {
        let streams = json!({
            "use": "given_units",
            "manifest": self.manifest,
            "split": self.split.map(|split| split.to_string()),
            "unit": self.unit,
            "dir": "${run.dir}",
            "open": 2,
        });
        let write = json!({
            "use": "write_softlabels",
            "in": "fuse",
            "dir": "${run.dir}",
            "max_failures": u32::MAX,
            "assemble": false,
        });
        self.computing(&streams, readers, &write)
    }

    /// Returns the graph that hands units out and writes their results.
    #[cfg_attr(not(feature = "remote"), allow(dead_code))]
    pub(crate) fn handed_out(&self, open: u32, max_failures: usize) -> String {
        let streams = self.units(open, Some(1));
        format!(
            "fermata: 1
name: softlabels
streams: {streams}
nodes:
  rows: {{use: returned_rows, each: stream, unit: \"${{stream.uri}}\"}}
  write: {{use: write_softlabels, in: rows, dir: \"${{run.dir}}\", max_failures: {max_failures}, on_error: stop}}
run: {{clock: asap, call_deadline: 30m, drain: 30m}}
"
        )
    }

    fn units(&self, open: u32, tries: Option<u32>) -> Value {
        let mut streams = json!({
            "use": "manifest_units",
            "manifest": self.manifest,
            "split": self.split.map(|split| split.to_string()),
            "unit": self.unit,
            "ledger": "${run.dir}/ledger.jsonl",
            "open": open,
        });
        if let Some(tries) = tries {
            streams["tries"] = json!(tries);
        }
        streams
    }

    fn computing(&self, streams: &Value, readers: u32, write: &Value) -> String {
        let views = json!({
            "views": self.views,
            "seed": self.seed,
            "augmentation": self.augmentation,
        });
        let names = self.teachers.keys();
        let inputs: serde_json::Map<_, _> = names.map(|name| (name.clone(), json!(name))).collect();
        let fuse = json!({
            "use": "fuse_logits",
            "in": inputs,
            "weights": self.weights,
            "temperatures": self.temperatures,
        });
        let arguments = TeacherArguments {
            manifest: self.manifest.clone(),
            teachers: Vec::new(),
            device: self.device.clone(),
            batch: self.batch,
            threads: self.threads,
            readers,
            quiet: false,
        };
        let nodes = Teachers(self.teachers.clone()).nodes(&arguments, &views, self.allow_seen);
        format!(
            "fermata: 1
name: softlabels
streams: {streams}
nodes:
  rows: {{use: manifest_rows, each: stream, unit: \"${{stream.uri}}\"}}
{nodes}  fuse: {fuse}
  write: {write}
run: {{clock: asap, call_deadline: 30m, drain: 30m}}
"
        )
    }

    /// Returns the alignment of the softlabels, given the models on this machine.
    #[cfg_attr(not(feature = "remote"), allow(dead_code))]
    pub(crate) fn alignment(&self, manifest_sha256: &str) -> anyhow::Result<Alignment> {
        let views = AskedViews {
            views: self.views,
            seed: self.seed,
            augmentation: self.augmentation,
        };
        let mut all = Vec::new();
        for folders in self.teachers.values() {
            let load =
                |folder: &PathBuf| LoadedModel::load(folder, None, &self.device, self.threads);
            let models: Vec<LoadedModel> = folders.iter().map(load).collect::<Result<_, _>>()?;
            anyhow::ensure!(!models.is_empty(), "a teacher has no model");
            all.push(asked(&models, views));
        }
        let all: Vec<_> = all.iter().collect();
        let aligned = align(&self.weights, &self.temperatures, &all, manifest_sha256);
        aligned.map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Returns the plan with other paths: the longest FROM that a path begins with is replaced by its TO.
    #[cfg_attr(not(feature = "remote"), allow(dead_code))]
    pub(crate) fn moved(mut self, paths: &[(PathBuf, PathBuf)]) -> Self {
        let folders = self.teachers.values_mut().flatten();
        for path in folders.chain([&mut self.manifest]) {
            *path = moved(path, paths);
        }
        self
    }
}

fn moved(path: &Path, paths: &[(PathBuf, PathBuf)]) -> PathBuf {
    let fitting = paths.iter().filter_map(|(from, to)| {
        let rest = path.strip_prefix(from).ok()?;
        // Joining an empty path would append a slash to a file.
        let moved = if rest.as_os_str().is_empty() {
            to.clone()
        } else {
            to.join(rest)
        };
        Some((from.components().count(), moved))
    });
    fitting
        .max_by_key(|(length, _)| *length)
        .map_or_else(|| path.to_owned(), |(_, moved)| moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_that_fits_says_where_something_lies() {
        let pair = |from: &str, to: &str| (PathBuf::from(from), PathBuf::from(to));
        let paths = [
            pair("/home/ada", "/x"),
            pair("/home/ada/data", "/data"),
            pair("/m.csv", "/n.csv"),
        ];
        for (path, expected) in [
            ("/home/ada/data/manifest.csv", "/data/manifest.csv"),
            ("/home/ada/runs/b3", "/x/runs/b3"),
            ("/home/adam/data", "/home/adam/data"),
            ("/m.csv", "/n.csv"),
        ] {
            assert_eq!(moved(Path::new(path), &paths), Path::new(expected));
        }
    }
}
