//! `given_units`: the units of a job that another machine hands out, as streams. Makes sure that a unit's result is
//! returned only once the committing sink has made it durable here.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use fermata_engine::graph::StreamSpec;
use fermata_engine::{ActorError, End, How, ProviderSetup, StreamProvider};
use fermata_learn::manifest::Split;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::elsewhere::{Given, Giver};
use crate::ledger::Ledger;
use crate::manifests::Manifests;
use crate::unit::{Unit, rows_of};
use crate::unit_file::unit_path;

/// Takes units of a job that another machine hands out, each as its own stream, and returns their results: what
/// `fermata work` runs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GivenUnitsSettings {
    /// The manifest (CSV).
    pub manifest: PathBuf,
    /// Number of rows per unit.
    pub unit: usize,
    /// Restrict to the rows of this split: train, validation or test. Default: all rows.
    #[serde(default)]
    pub split: Option<String>,
    /// Folder of `write_softlabels`, which holds the ledger and the units.
    pub dir: PathBuf,
}

/// See `GivenUnitsSettings`.
pub struct GivenUnits {
    giver: Arc<Giver>,
    dir: PathBuf,
    manifest: PathBuf,
    manifest_sha256: String,
    split: Option<Split>,
    units: Vec<Range<usize>>,
    ledger: Ledger,
    /// The unit of each open stream.
    running: HashMap<String, usize>,
    may_have_more: bool,
}

impl StreamProvider for GivenUnits {
    const NAME: &'static str = "given_units";
    type Settings = GivenUnitsSettings;

    fn check(settings: &GivenUnitsSettings) -> Result<(), ActorError> {
        if settings.unit == 0 {
            return Err("unit must be at least 1".into());
        }
        if let Some(split) = &settings.split {
            split.parse::<Split>()?;
        }
        Ok(())
    }

    fn reads(settings: &GivenUnitsSettings) -> Vec<PathBuf> {
        vec![settings.manifest.clone()]
    }

    fn create(settings: GivenUnitsSettings, setup: &ProviderSetup) -> Result<Self, ActorError> {
        let giver = setup.service();
        let giver =
            giver.ok_or("no service gives units here: run such graphs with `fermata work`")?;
        let manifests: Option<Arc<Manifests>> = setup.service();
        let manifest = manifests.unwrap_or_default().get(&settings.manifest)?;
        let split = settings.split.as_deref().map(str::parse).transpose()?;
        let rows = rows_of(&manifest, split).count();
        let starts = (0..rows).step_by(settings.unit);
        Ok(Self {
            giver,
            ledger: Ledger::open(&settings.dir.join(crate::ledger::FILE))?,
            dir: settings.dir,
            manifest: settings.manifest,
            manifest_sha256: manifest.sha256.clone(),
            split,
            units: starts
                .map(|start| start..(start + settings.unit).min(rows))
                .collect(),
            running: HashMap::new(),
            may_have_more: true,
        })
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        let (number, attempt) = match self.giver.0.next()? {
            Given::Unit { unit, attempt } => (unit, attempt),
            Given::NotYet => return Ok(None),
            Given::NoMore => {
                self.may_have_more = false;
                return Ok(None);
            }
        };
        let rows = self.units.get(number).cloned();
        let rows = rows.ok_or_else(|| format!("the job has no unit {number}"))?;
        let unit = Unit {
            number,
            units: self.units.len(),
            rows,
            split: self.split,
            manifest_sha256: self.manifest_sha256.clone(),
            manifest: self.manifest.clone(),
        };
        let name = format!("unit-{number:06}-{attempt}");
        self.running.insert(name.clone(), number);
        let uri = unit.to_string();
        Ok(Some(StreamSpec { name, uri }))
    }

    fn may_have_more(&self) -> bool {
        self.may_have_more
    }

    fn ended(&mut self, stream: &str, end: End) -> Result<(), ActorError> {
        let number = self.running.remove(stream);
        let number = number.ok_or_else(|| format!("`{stream}` is not a unit of this worker"))?;
        let committed = self.ledger.refresh()?.commits.get(&number);
        if let Some(commit) = committed.filter(|_| end.is_complete()) {
            let path = unit_path(&self.dir, number);
            let bytes = fs::read(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            self.giver.0.computed(number, bytes, commit.rows);
            // The machine that hands out the job has the result by now, or has the unit computed again.
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
        } else if matches!(end.how, How::Drained | How::Stopped) {
            self.giver.0.give_back(number);
        } else {
            let reason = "a call failed or panicked; the worker's log and report say where";
            self.giver.0.failed(number, reason);
        }
        Ok(())
    }
}
