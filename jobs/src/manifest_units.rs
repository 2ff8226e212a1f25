//! `manifest_units`: the units of work of a job over a manifest's rows, one stream each. Owns which unit comes next and
//! which is repeated; the job's committing sink owns the results and their durability.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use fermata_engine::graph::StreamSpec;
use fermata_engine::{ActorError, End, How, ProviderSetup, StreamProvider};
use fermata_files::MOST_TABLE;
use fermata_learn::manifest::Split;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::elsewhere::HandingOut;
use crate::ledger::{Job, Ledger, Line};
use crate::manifests::Manifests;
use crate::unit::{Unit, rows_of};

/// Divides a manifest's rows into units, each a stream of its own that is completed as a whole. With a ledger, an
/// interrupted job continues with the units that are not done, and repeats those with rows that could not be read.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestUnitsSettings {
    /// The manifest (CSV).
    pub manifest: PathBuf,
    /// Number of rows per unit. Default: 512.
    #[serde(default = "unit_rows")]
    pub unit: usize,
    /// Restrict to the rows of this split: train, validation or test; or a list of splits, one after another, if there
    /// is no ledger. Default: all rows.
    #[serde(default)]
    pub split: Splits,
    /// File that records the state of the units; the committing sink appends to it too. Default: none, a unit is done
    /// when all of its rows have come through.
    #[serde(default)]
    pub ledger: Option<PathBuf>,
    /// How often a unit is tried in one run if a call on it fails or panics. Default: 3.
    #[serde(default = "three")]
    pub tries: u32,
}

/// Names of splits: `train`, or `[train, validation]`. None, null or an empty name: all rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Splits(Option<Vec<String>>);

impl<'de> Deserialize<'de> for Splits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Splits;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a split such as `train`, or a list of names")
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<Splits, E> {
                Ok(Splits(None))
            }
            fn visit_none<E: serde::de::Error>(self) -> Result<Splits, E> {
                Ok(Splits(None))
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Splits, E> {
                Ok(Splits((!name.is_empty()).then(|| vec![name.to_owned()])))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<Splits, A::Error> {
                let names = Vec::deserialize(SeqAccessDeserializer::new(names))?;
                Ok(Splits(Some(names)))
            }
        }
        deserializer.deserialize_any(Names)
    }
}

impl JsonSchema for Splits {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Splits".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array", "null"], "items": { "type": "string" } })
    }
}

impl Splits {
    /// Returns each of them, or none for all rows.
    fn each(&self) -> Result<Vec<Option<Split>>, String> {
        let Some(names) = &self.0 else {
            return Ok(vec![None]);
        };
        let mut splits = Vec::new();
        for name in names {
            let split = Some(name.parse()?);
            if splits.contains(&split) {
                return Err(format!("the split {name} is named twice"));
            }
            splits.push(split);
        }
        if splits.is_empty() {
            Err("no split is named".to_owned())
        } else {
            Ok(splits)
        }
    }
}

fn unit_rows() -> usize {
    512
}

fn three() -> u32 {
    3
}

/// See `ManifestUnitsSettings`.
pub struct ManifestUnits {
    /// Split and rows of each unit, by its number.
    units: Vec<(Option<Split>, Range<usize>)>,
    manifest: PathBuf,
    manifest_sha256: String,
    ledger: Option<Ledger>,
    /// Where the units are computed, if that is elsewhere.
    handing_out: Option<Arc<HandingOut>>,
    /// Numbers of the units not yet provided.
    waiting: VecDeque<usize>,
    /// The unit of each open stream.
    running: HashMap<String, usize>,
    /// Tries in this run, by unit.
    tries: HashMap<usize, u32>,
    most_tries: u32,
}

impl StreamProvider for ManifestUnits {
    const NAME: &'static str = "manifest_units";
    type Settings = ManifestUnitsSettings;

    fn check(settings: &ManifestUnitsSettings) -> Result<(), ActorError> {
        let splits = settings.split.each()?;
        if splits.len() > 1 && settings.ledger.is_some() {
            return Err("a job with a ledger is about one split, or all rows".into());
        }
        if settings.unit == 0 || settings.tries == 0 {
            return Err("unit and tries must be at least 1".into());
        }
        if let Err(error) = fermata_files::open(&settings.manifest, MOST_TABLE) {
            let path = settings.manifest.display();
            return Err(format!("cannot read the manifest {path}: {error}").into());
        }
        Ok(())
    }

    fn reads(settings: &ManifestUnitsSettings) -> Vec<PathBuf> {
        vec![settings.manifest.clone()]
    }

    fn create(settings: ManifestUnitsSettings, setup: &ProviderSetup) -> Result<Self, ActorError> {
        // The same manifest that the sources of rows use.
        let manifests: Option<Arc<Manifests>> = setup.service();
        let manifest = manifests.unwrap_or_default().get(&settings.manifest)?;
        let splits = settings.split.each()?;
        let mut units = Vec::new();
        for split in &splits {
            let rows = rows_of(&manifest, *split).count();
            if rows == 0 {
                return Err(match split {
                    Some(split) => format!("the manifest has no rows of the split {split}").into(),
                    None => ActorError::from("the manifest has no rows"),
                });
            }
            let starts = (0..rows).step_by(settings.unit);
            units.extend(starts.map(|start| (*split, start..(start + settings.unit).min(rows))));
        }
        let handing_out: Option<Arc<HandingOut>> = setup.service();
        if let Some(handing_out) = &handing_out {
            handing_out.0.begin()?;
        }
        let (ledger, waiting) = match &settings.ledger {
            None => (None, (0..units.len()).collect()),
            Some(path) => {
                let job = Job {
                    rows: units.iter().map(|(_, rows)| rows.len()).sum(),
                    manifest_sha256: manifest.sha256.clone(),
                    split: splits[0],
                    unit: settings.unit,
                };
                let mut ledger = Ledger::open(path)?;
                match &ledger.state().job {
                    None => ledger.append(&Line::Job(job.clone()))?,
                    Some(begun) if *begun == job => {}
                    Some(begun) => {
                        return Err(format!(
                            "the job in {} was started with something else: {}; restore that, or start a new job in another folder",
                            path.display(),
                            differences(begun, &job)
                        )
                        .into());
                    }
                }
                if ledger.state().is_done {
                    return Err(format!(
                        "there is nothing left to do: the job in {} is done",
                        path.display()
                    )
                    .into());
                }
                // Their images may have been repaired.
                for unit in ledger.state().units_with_failed_rows() {
                    ledger.append(&Line::Reopen { unit })?;
                }
                let open = ledger.state().open_units().collect();
                (Some(ledger), open)
            }
        };
        Ok(Self {
            units,
            manifest: settings.manifest,
            manifest_sha256: manifest.sha256.clone(),
            ledger,
            handing_out,
            waiting,
            running: HashMap::new(),
            tries: HashMap::new(),
            most_tries: settings.tries,
        })
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        let Some(number) = self.waiting.pop_front() else {
            return Ok(None);
        };
        let tries = self.tries.entry(number).or_default();
        *tries += 1;
        let mut name = format!("unit-{number:06}");
        if *tries > 1 {
            name += &format!("-again-{tries}");
        }
        if let Some(ledger) = &mut self.ledger {
            let claims = ledger.state().claims.get(&number);
            let attempt = claims.copied().unwrap_or(0) + 1;
            ledger.append(&Line::Claim {
                unit: number,
                attempt,
            })?;
        }
        let (split, rows) = self.units[number].clone();
        let unit = Unit {
            number,
            units: self.units.len(),
            rows,
            split,
            manifest_sha256: self.manifest_sha256.clone(),
            manifest: self.manifest.clone(),
        };
        self.running.insert(name.clone(), number);
        let uri = unit.to_string();
        Ok(Some(StreamSpec { name, uri }))
    }

    fn ended(&mut self, stream: &str, end: End) -> Result<(), ActorError> {
        let number = self.running.remove(stream);
        let number = number.ok_or_else(|| format!("`{stream}` is not a unit of this job"))?;
        let is_done = match &mut self.ledger {
            Some(ledger) => ledger.refresh()?.commits.contains_key(&number),
            None => end.is_complete(),
        };
        if is_done && let Some(handing_out) = &self.handing_out {
            // Not before: whoever goes on with this job after a crash fetches the result again.
            handing_out.0.taken(number, self.units[number].1.len());
        }
        if is_done || matches!(end.how, How::Drained | How::Stopped) {
            return Ok(());
        }
        let tries = self.tries.get(&number).copied().unwrap_or(0);
        if tries >= self.most_tries {
            return Err(format!(
                "unit {number} (rows {} and following) was lost {tries} times; the log and the report say where",
                self.units[number].1.start
            )
            .into());
        }
        tracing::warn!(
            unit = number,
            tries,
            "a part of the unit was lost; it is repeated"
        );
        self.waiting.push_front(number);
        Ok(())
    }
}

fn differences(begun: &Job, now: &Job) -> String {
    let json = |job: &Job| serde_json::to_value(job).expect("numbers and names are JSON");
    let (begun, now) = (json(begun), json(now));
    fermata_learn::softlabels::differences(("the ledger", &begun), ("this run", &now)).join("; ")
}
