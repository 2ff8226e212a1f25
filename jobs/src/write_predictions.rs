//! `write_predictions`: writes a model's logits to a file that `fermata evaluate` measures, and the rows that could not
//! be read to another one beside it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fermata_engine::{Actor, ActorError, End, Input, Outputs, Ports, Setup, Stream};
use fermata_learn::manifest::Split;
use fermata_learn::predictions::Predictions;
use fermata_learn::row_hash::RowHash;
use fermata_learn::softlabels::FailedLine;
use fermata_vision::Expression;
use fermata_vision::face::EXPRESSIONS;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::Scored;
use crate::unit::Unit;

/// Writes logits (of view 0), labels and hashes of all rows as predictions (.npz), once all units have come through.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WritePredictionsSettings {
    /// The file.
    pub path: PathBuf,
    /// Restrict to the rows of this split: train, validation or test. Default: all incoming rows.
    #[serde(default)]
    pub split: Option<String>,
    /// Number of rows that may be left out because they cannot be read. If there are more, no predictions are written.
    /// All of them are listed, with the reason, in a file beside the predictions: `predictions_failed.jsonl` for
    /// `predictions.npz`. Default: 0.
    #[serde(default)]
    pub max_failures: usize,
}

/// See `WritePredictionsSettings`.
pub struct WritePredictions {
    settings: WritePredictionsSettings,
    split: Option<Split>,
    open: HashMap<u32, (Unit, Rows)>,
    /// By unit number.
    whole: BTreeMap<usize, Rows>,
    /// The number of units, once one has begun.
    units: usize,
}

#[derive(Default)]
struct Rows {
    logits: Vec<f64>,
    labels: Vec<i64>,
    hashes: Vec<RowHash>,
    failed: Vec<FailedLine>,
}

fn split(settings: &WritePredictionsSettings) -> Result<Option<Split>, String> {
    settings.split.as_deref().map(str::parse).transpose()
}

/// Returns the file that lists the rows that could not be read. Several nodes may write predictions into one folder.
fn list_beside(predictions: &Path) -> PathBuf {
    let mut name = predictions.file_stem().unwrap_or_default().to_owned();
    name.push("_failed.jsonl");
    predictions.with_file_name(name)
}

/// Returns the failures as JSON lines.
fn lines(failed: &[FailedLine]) -> Vec<u8> {
    let mut lines = Vec::new();
    for failure in failed {
        let line = serde_json::to_vec(failure).expect("names and numbers are JSON");
        lines.extend(line);
        lines.push(b'\n');
    }
    lines
}

/// Maximum number of failures in a message.
const NAMED: usize = 20;

fn named(failed: &[FailedLine], list: &Path) -> String {
    let list = list.display();
    let mut text = match failed.len() {
        1 => format!("1 image cannot be read (see {list}):"),
        count => format!("{count} images cannot be read (all are listed in {list}):"),
    };
    for FailedLine { image, reason, .. } in failed.iter().take(NAMED) {
        text += &format!("\n  {image}: {reason}");
    }
    if failed.len() > NAMED {
        text += &format!("\n  and {} more", failed.len() - NAMED);
    }
    text
}

impl Actor for WritePredictions {
    const NAME: &'static str = "write_predictions";
    type Settings = WritePredictionsSettings;

    fn ports(settings: &WritePredictionsSettings) -> Ports {
        Ports::new()
            .input::<Scored>("in")
            .writes(&settings.path)
            .writes(list_beside(&settings.path))
            .keeps_streams_apart()
            .irreplaceable()
    }

    fn check(settings: &WritePredictionsSettings) -> Result<(), ActorError> {
        split(settings)?;
        Ok(())
    }

    fn create(settings: WritePredictionsSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            split: split(&settings)?,
            settings,
            open: HashMap::new(),
            whole: BTreeMap::new(),
            units: 0,
        })
    }

    fn stream_started(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError> {
        let unit: Unit = stream.uri.parse()?;
        self.units = unit.units;
        self.open.insert(stream.id, (unit, Rows::default()));
        Ok(())
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let scored = input.take::<Scored>();
        let id = input.envelope.stream.id;
        let (_, rows) = self
            .open
            .get_mut(&id)
            .ok_or("a row of a unit that has not begun")?;
        let row = scored.row.row();
        if self.split.is_some_and(|split| row.split != split) {
            return Ok(());
        }
        match &scored.logits {
            Ok(logits) => {
                let logits = logits.iter().take(EXPRESSIONS);
                rows.logits.extend(logits.copied().map(f64::from));
                rows.labels.push(row.label.index() as i64);
                rows.hashes.push(row.sha256);
            }
            Err(failure) => rows.failed.push(FailedLine {
                sha256: row.sha256,
                image: row.image.to_string_lossy().into_owned(),
                label: row.label,
                split: row.split,
                reason: failure.reason.to_string(),
            }),
        }
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        if let Some((unit, rows)) = self.open.remove(&stream.id)
            && end.is_complete()
        {
            self.whole.insert(unit.number, rows);
        }
        Ok(())
    }

    fn finish(&mut self, _: End) -> Result<(), ActorError> {
        // A run that ended early lacks predictions, and reports it itself.
        if self.units == 0 || self.whole.len() < self.units {
            tracing::warn!(
                "{} of {} units came through: no predictions are written",
                self.whole.len(),
                self.units
            );
            return Ok(());
        }
        let mut all = Rows::default();
        for rows in std::mem::take(&mut self.whole).into_values() {
            all.logits.extend(rows.logits);
            all.labels.extend(rows.labels);
            all.hashes.extend(rows.hashes);
            all.failed.extend(rows.failed);
        }
        let list = list_beside(&self.settings.path);
        if all.failed.is_empty() {
            // The predictions that are written now lack nothing.
            fermata_files::remove_earlier(&list)?;
        } else {
            let named = named(&all.failed, &list);
            fermata_files::write(&list, &lines(&all.failed))
                .map_err(|error| format!("{named}\n{error}"))?;
            if all.failed.len() > self.settings.max_failures {
                return Err(named.into());
            }
            tracing::warn!("{named}");
        }
        let classes = Expression::ALL.map(|class| class.to_string()).to_vec();
        let predictions = Predictions::new(classes, all.logits, &all.labels)?;
        let predictions = predictions.with_hashes(all.hashes);
        Ok(predictions.write_npz(&self.settings.path)?)
    }
}
