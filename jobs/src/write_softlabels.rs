//! `write_softlabels`: the committing sink of a softlabel job. Makes sure that a unit is completely on disk before the
//! ledger says so, and that the softlabels are assembled once all units are there.
//!
//! A complete unit is written to `units/NUMBER.unit` (temporary file, sync, rename), then its `commit` is appended to
//! the ledger. The files of the softlabel folder are assembled when the last unit is committed, or at once by a run
//! that finds all units there.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fermata_engine::{Actor, ActorError, End, Input, Outputs, Ports, Setup, Stream};
use fermata_files::MOST_TEXT;
use fermata_learn::softlabels::{Alignment, ExportedRow, FAILED, differences, write};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::ledger::{self, Commit, Ledger, Line};
use crate::payload::Fused;
use crate::unit::Unit;
pub use crate::unit_file::UNITS;
use crate::unit_file::{UnitRows, to_bytes, unit_path};

/// Writes softlabels unit by unit, and at the end softlabels.npz and its companion files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteSoftlabelsSettings {
    /// Folder for softlabels.npz, softlabels_index.jsonl, failed.jsonl and the other files.
    pub dir: PathBuf,
    /// The ledger of `manifest_units`. Default: ledger.jsonl in `dir`.
    #[serde(default)]
    pub ledger: Option<PathBuf>,
    /// Maximum number of unreadable rows before the job stops; they are listed in failed.jsonl. Default: 100.
    #[serde(default = "hundred")]
    pub max_failures: usize,
    /// Whether to assemble the softlabels once all units are there. A worker leaves that to the machine that hands out
    /// the units. Default: true.
    #[serde(default = "yes")]
    pub assemble: bool,
}

fn yes() -> bool {
    true
}

fn hundred() -> usize {
    100
}

/// Time between two messages about how far assembling is.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// The alignment of the units, in their folder, unless the program lends it.
const ALIGNMENT: &str = "alignment.json";

/// See `WriteSoftlabelsSettings`.
pub struct WriteSoftlabels {
    dir: PathBuf,
    ledger_path: PathBuf,
    max_failures: usize,
    assembles: bool,
    ledger: Option<Ledger>,
    /// By stream number.
    open: HashMap<u32, Collected>,
    /// The job's alignment, once it is known: before any row if the program lends it.
    aligned: Option<Arc<Alignment>>,
}

/// The rows collected for a unit.
struct Collected {
    unit: Unit,
    rows: Vec<ExportedRow>,
    failed: usize,
}

impl WriteSoftlabels {
    fn ledger(&mut self) -> Result<&mut Ledger, ActorError> {
        match &mut self.ledger {
            Some(ledger) => Ok(ledger),
            empty => Ok(empty.insert(Ledger::join(&self.ledger_path)?)),
        }
    }

    fn units(&self) -> PathBuf {
        self.dir.join(UNITS)
    }

    /// Checks that a row has the alignment of the whole job, including earlier runs.
    fn hold_to_alignment(&mut self, alignment: &Arc<Alignment>) -> Result<(), ActorError> {
        let begun = match &self.aligned {
            Some(begun) => Arc::clone(begun),
            None => self.begun(alignment)?,
        };
        if !Arc::ptr_eq(&begun, alignment) && begun != *alignment {
            let (begun, now) = (begun.to_value(), alignment.to_value());
            let found = differences(("the units that are there", &begun), ("this run", &now));
            if !found.is_empty() {
                return Err(format!(
                    "the softlabels in {} were started with something else: {}; restore that, or start a new job in another folder",
                    self.dir.display(),
                    found.join("; ")
                )
                .into());
            }
        }
        self.aligned = Some(Arc::clone(alignment));
        Ok(())
    }

    /// Returns the alignment of the units in the folder; where there are none yet, it becomes this one.
    fn begun(&self, alignment: &Arc<Alignment>) -> Result<Arc<Alignment>, ActorError> {
        let path = self.units().join(ALIGNMENT);
        if path.is_file() {
            return Ok(Arc::new(read_alignment(&path)?));
        }
        let text = serde_json::to_vec_pretty(&**alignment)?;
        fermata_files::write(&path, &text)?;
        Ok(Arc::clone(alignment))
    }

    fn failures(&mut self) -> Result<usize, ActorError> {
        let open: usize = self.open.values().map(|collected| collected.failed).sum();
        Ok(self.ledger()?.state().failed_rows() + open)
    }

    fn commit(&mut self, collected: Collected) -> Result<(), ActorError> {
        let Collected { unit, rows, failed } = collected;
        if rows.len() != unit.rows.len() {
            let (came, expected) = (rows.len(), unit.rows.len());
            return Err(format!("{came} rows of unit {} came, not {expected}", unit.number).into());
        }
        let commit = |sha256| Commit {
            unit: unit.number,
            rows: unit.rows.len(),
            failed,
            sha256,
        };
        let bytes = to_bytes(rows.into_iter());
        fermata_files::write(&unit_path(&self.dir, unit.number), &bytes)?;
        let line = Line::Commit(commit(fermata_files::sha256(&bytes)));
        Ok(self.ledger()?.append(&line)?)
    }

    /// Assembles the softlabel folder from the units, if they are all there and it has not been done.
    fn assemble(&mut self) -> Result<(), ActorError> {
        let state = self.ledger()?.refresh()?.clone();
        let Some(job) = &state.job else {
            return Ok(());
        };
        let open = state.open_units().count();
        if open > 0 || state.is_done {
            tracing::info!("{open} of {} units are left to do", job.units());
            return Ok(());
        }
        let files: Vec<PathBuf> = (0..job.units())
            .map(|unit| unit_path(&self.dir, unit))
            .collect();
        for (path, commit) in files.iter().zip(state.commits.values()) {
            check_committed(path, commit)?;
        }
        tracing::info!(rows = job.rows, "assembling the softlabels");
        let mut alignment = match &self.aligned {
            Some(aligned) => Alignment::clone(aligned),
            None => read_alignment(&self.units().join(ALIGNMENT))?,
        };
        alignment.split = job.split;
        let told = Cell::new(Instant::now());
        let passes = Cell::new(0);
        let rows = || {
            let pass = passes.get() + 1;
            passes.set(pass);
            let rows = UnitRows::of(files.clone()).enumerate();
            rows.map({
                let (told, of) = (&told, job.rows);
                move |(row, read)| {
                    if told.get().elapsed() >= TOLD_EVERY {
                        told.set(Instant::now());
                        tracing::info!(pass, "{row} of {of} rows assembled");
                    }
                    read
                }
            })
        };
        let counts = write(&self.dir, &alignment, rows)?;
        for (teacher, seen) in &counts.seen {
            if seen.seen > 0 {
                tracing::warn!(
                    "the teacher {teacher} was trained on {} of the {} rows and may have memorised these rows (see models trained without a fold)",
                    seen.seen,
                    counts.rows_out
                );
            }
        }
        if counts.failed > 0 {
            tracing::warn!(
                "{} of {} rows could not be read ({FAILED} says why): `fermata resume {}` tries their units again",
                counts.failed,
                counts.rows_in,
                self.dir.display()
            );
            return Ok(());
        }
        self.ledger()?.append(&Line::Done)?;
        // The softlabels contain all of it now.
        if let Err(error) = fs::remove_dir_all(self.units()) {
            tracing::warn!("cannot remove {}: {error}", self.units().display());
        }
        Ok(())
    }
}

/// Checks that a unit's file is the one that was committed.
fn check_committed(path: &Path, commit: &Commit) -> Result<(), ActorError> {
    let found = fermata_files::sha256_of_file(path)?;
    if found == commit.sha256 {
        return Ok(());
    }
    Err(format!(
        "{} is not as it was committed (sha256 {found}, not {}): start a new job in another folder",
        path.display(),
        commit.sha256
    )
    .into())
}

fn read_alignment(path: &Path) -> Result<Alignment, ActorError> {
    let text = fermata_files::read_text(path, MOST_TEXT)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let alignment = serde_json::from_str(&text);
    Ok(alignment.map_err(|error| format!("{} is not an alignment: {error}", path.display()))?)
}

impl Actor for WriteSoftlabels {
    const NAME: &'static str = "write_softlabels";
    type Settings = WriteSoftlabelsSettings;

    fn ports(settings: &WriteSoftlabelsSettings) -> Ports {
        Ports::new()
            .input::<Fused>("in")
            .writes(settings.dir.join(fermata_learn::softlabels::SOFTLABELS))
            .keeps_streams_apart()
            .irreplaceable()
    }

    fn create(settings: WriteSoftlabelsSettings, setup: &Setup) -> Result<Self, ActorError> {
        let WriteSoftlabelsSettings {
            dir,
            ledger,
            max_failures,
            assemble,
        } = settings;
        fs::create_dir_all(dir.join(UNITS))
            .map_err(|error| format!("cannot make {}: {error}", dir.join(UNITS).display()))?;
        Ok(Self {
            ledger_path: ledger.unwrap_or_else(|| dir.join(ledger::FILE)),
            dir,
            max_failures,
            assembles: assemble,
            ledger: None,
            open: HashMap::new(),
            aligned: setup.service(),
        })
    }

    fn stream_started(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError> {
        let collected = Collected {
            unit: stream.uri.parse()?,
            rows: Vec::new(),
            failed: 0,
        };
        self.open.insert(stream.id, collected);
        Ok(())
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let fused = input.take::<Fused>();
        self.hold_to_alignment(&fused.alignment)?;
        let id = input.envelope.stream.id;
        let collected = self
            .open
            .get_mut(&id)
            .ok_or("a row of a unit that has not begun")?;
        if collected.rows.len() as u64 != input.envelope.sequence {
            // An earlier row was lost on the way: the unit will be repeated.
            return Ok(());
        }
        let row = fused.row.row();
        collected.failed += usize::from(fused.scores.is_err());
        collected.rows.push(ExportedRow {
            sha256: row.sha256,
            image: row.image.to_string_lossy().into_owned(),
            label: row.label,
            split: row.split,
            scores: fused
                .scores
                .clone()
                .map_err(|failure| failure.reason.to_string()),
        });
        if let Err(failure) = &fused.scores {
            tracing::warn!("{}: {failure}", row.image.display());
            let (failures, most) = (self.failures()?, self.max_failures);
            if failures > most {
                return Err(format!(
                    "{failures} rows could not be read, and max_failures is {most} (repair the images and resume, or allow more with `fermata resume RUN --max-failures N`); the last: {}: {failure}",
                    row.image.display()
                )
                .into());
            }
        }
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        match self.open.remove(&stream.id) {
            Some(collected) if end.is_complete() => self.commit(collected),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, _: End) -> Result<(), ActorError> {
        if self.assembles {
            self.assemble()
        } else {
            Ok(())
        }
    }
}
