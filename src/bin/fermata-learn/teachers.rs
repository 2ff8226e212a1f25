//! Teachers as command-line arguments, and as nodes of a graph.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fermata::learn_cli::TeacherArguments;
use fermata_learn::softlabels::ENSEMBLE;
use fermata_vision::ModelCard;
use serde_json::json;

/// Names of the graphs' other nodes, and of the ensemble among the metrics of its teachers.
const TAKEN: [&str; 5] = ["rows", "images", "fuse", "write", ENSEMBLE];

/// Inputs prepared in advance, as a multiple of those computed at once.
const AHEAD: u64 = 2;

/// Teachers by name, each with its model folders.
pub(crate) struct Teachers(pub(crate) BTreeMap<String, Vec<PathBuf>>);

impl Teachers {
    /// Parses `NAME=FOLDER[,FOLDER]`. Paths become absolute, so that the graph can be run from anywhere.
    pub(crate) fn read(arguments: &TeacherArguments) -> anyhow::Result<Self> {
        let mut teachers = BTreeMap::new();
        for text in &arguments.teachers {
            let (name, folders) = pair("--teacher", text, "NAME=FOLDER[,FOLDER]")?;
            if TAKEN.contains(&name) {
                bail!("--teacher {text}: a teacher cannot be called {name}");
            }
            let mut found = Vec::new();
            for folder in folders.split(',') {
                ModelCard::load(folder).with_context(|| format!("--teacher {text}"))?;
                found.push(absolute(Path::new(folder))?);
            }
            if teachers.insert(name.to_owned(), found).is_some() {
                bail!("--teacher: {name} is given twice");
            }
        }
        Ok(Self(teachers))
    }

    /// Parses numbers of teachers given as `NAME=NUMBER`: finite, at least 0.
    pub(crate) fn numbers(
        &self,
        option: &str,
        texts: &[String],
    ) -> anyhow::Result<BTreeMap<String, f64>> {
        let mut numbers = BTreeMap::new();
        for text in texts {
            let (name, number) = pair(option, text, "NAME=NUMBER")?;
            if !self.0.contains_key(name) {
                let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
                bail!(
                    "{option} {text}: there is no teacher {name}; there are {}",
                    names.join(", ")
                );
            }
            let number: f64 = number
                .parse()
                .with_context(|| format!("{option} {text}: `{number}` is not a number"))?;
            if !(number.is_finite() && number >= 0.0) {
                bail!("{option} {text}: expected 0 or more");
            }
            if numbers.insert(name.to_owned(), number).is_some() {
                bail!("{option}: {name} is given twice");
            }
        }
        Ok(numbers)
    }

    /// Fails, before anything is computed, if a teacher's models have different temperatures, as models of folds do,
    /// and `given` has none for it.
    pub(crate) fn look_at_temperatures(&self, given: &BTreeMap<String, f64>) -> anyhow::Result<()> {
        let open = self.0.iter().filter(|(name, _)| !given.contains_key(*name));
        for (name, folders) in open {
            let of_card = |folder: &PathBuf| ModelCard::load(folder).map(|m| m.card.temperature);
            let all: Vec<f64> = folders.iter().map(of_card).collect::<Result<_, _>>()?;
            if all.iter().any(|temperature| *temperature != all[0]) {
                let all: Vec<String> = all.iter().map(|value| format!("{value:.4}")).collect();
                bail!(
                    "--teacher {name}: the cards of its models have the temperatures {}; give the teacher one with --temperature {name}=T (`fermata ensemble search` fits it)",
                    all.join(", ")
                );
            }
        }
        Ok(())
    }

    /// Returns the graph's nodes that read images and compute the teachers, one line each. `views` are further settings
    /// of the first; `allow_seen` accepts rows that a teacher was trained on.
    pub(crate) fn nodes(
        &self,
        arguments: &TeacherArguments,
        views: &serde_json::Value,
        allow_seen: bool,
    ) -> String {
        let TeacherArguments {
            device,
            batch,
            threads,
            readers,
            ..
        } = arguments;
        // Models of one teacher prepare pictures alike.
        let models: Vec<&PathBuf> = self.0.values().map(|folders| &folders[0]).collect();
        let mut images = json!({
            "use": "load_views",
            "in": "rows",
            "models": models,
            "replicas": readers,
        });
        if let (Some(images), Some(views)) = (images.as_object_mut(), views.as_object()) {
            images.extend(views.clone());
        }
        let rows = rows_at_once(*batch, views["views"].as_u64().unwrap_or(1));
        let node = |(name, folders): (&String, &Vec<PathBuf>)| {
            let node = json!({
                "use": "infer_logits",
                "in": "images",
                "model": folders[0],
                "folds": folders[1..],
                "allow_seen": allow_seen,
                "device": device,
                "threads": threads,
                "at_once": batch,
                "batch": {"max": rows, "each": "stream"},
                "queue": {"capacity": AHEAD * rows},
            });
            // JSON is YAML.
            format!("  {name}: {node}\n")
        };
        let teachers: String = self.0.iter().map(node).collect();
        format!("  images: {images}\n{teachers}")
    }
}

/// Returns the number of rows whose views are computed at once.
fn rows_at_once(batch: u32, views: u64) -> u64 {
    (u64::from(batch) / views).max(1)
}

/// Splits `NAME=VALUE`.
fn pair<'a>(option: &str, text: &'a str, form: &str) -> anyhow::Result<(&'a str, &'a str)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name, value)),
        _ => bail!("{option} {text}: expected {form}"),
    }
}

pub(crate) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("cannot find {}", path.display()))
}
