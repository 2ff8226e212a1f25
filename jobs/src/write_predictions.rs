//! `write_predictions`: what a model says of rows, as a file that `fermata evaluate` measures.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use fermata_engine::{Actor, ActorError, End, Input, Outputs, Ports, Setup, Stream};
use fermata_learn::predictions::{Predictions, RowHash, row_hash};
use fermata_vision::Expression;
use fermata_vision::face::EXPRESSIONS;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::Scored;
use crate::unit::Unit;

/// Writes logits (of view 0), labels and hashes of all rows as predictions (.npz), when all units have come through.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WritePredictionsSettings {
    /// The file.
    pub path: PathBuf,
    /// Rows that could not be read, beyond which the job stops; they are left out. Default: 0.
    #[serde(default)]
    pub max_failures: usize,
}

/// See [`WritePredictionsSettings`].
pub struct WritePredictions {
    settings: WritePredictionsSettings,
    open: HashMap<u32, (Unit, Rows)>,
    /// By number of the unit.
    whole: BTreeMap<usize, Rows>,
    /// How many units there are, once one has begun.
    units: usize,
}

#[derive(Default)]
struct Rows {
    logits: Vec<f64>,
    labels: Vec<i64>,
    hashes: Vec<RowHash>,
    failed: Vec<String>,
}

impl Actor for WritePredictions {
    const NAME: &'static str = "write_predictions";
    type Settings = WritePredictionsSettings;

    fn ports(settings: &WritePredictionsSettings) -> Ports {
        Ports::new()
            .input::<Scored>("in")
            .writes(&settings.path)
            .keeps_streams_apart()
            .irreplaceable()
    }

    fn create(settings: WritePredictionsSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
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
        match &scored.logits {
            Ok(logits) => {
                let logits = logits.iter().take(EXPRESSIONS);
                rows.logits.extend(logits.copied().map(f64::from));
                rows.labels.push(row.label.index() as i64);
                rows.hashes.extend(row_hash(&row.sha256));
            }
            Err(failure) => {
                rows.failed
                    .push(format!("{}: {failure}", row.image.display()));
                tracing::warn!("{}: {failure}", row.image.display());
            }
        }
        let open = self.open.values().map(|(_, rows)| rows);
        let failed: usize = open
            .chain(self.whole.values())
            .map(|rows| rows.failed.len())
            .sum();
        if failed > self.settings.max_failures {
            let last = self.open[&id].1.failed.last();
            return Err(format!(
                "{failed} rows could not be read, and max_failures is {}; the last: {}",
                self.settings.max_failures,
                last.map_or("", String::as_str)
            )
            .into());
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
        // A run that ended early has no predictions of all rows, and says so itself.
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
        }
        let classes = Expression::ALL.map(|class| class.to_string()).to_vec();
        let predictions = Predictions::new(classes, all.logits, &all.labels)?;
        let predictions = predictions.with_hashes(all.hashes);
        Ok(predictions.write_npz(&self.settings.path)?)
    }
}
