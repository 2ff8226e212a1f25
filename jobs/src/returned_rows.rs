//! `returned_rows`: the rows of a unit that other machines have computed. Validates their results: they must hold the
//! unit's rows with the right number of logits, and no row may have failed that can be read here.

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::{ActorError, Captured, Next, Ports, Setup, Source};
use fermata_learn::manifest::Manifest;
use fermata_learn::softlabels::{Alignment, ExportedRow};
use fermata_vision::FramePool;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::elsewhere::HandingOut;
use crate::load_images::read_picture;
use crate::manifests::Manifests;
use crate::payload::{Failure, Fused, ManifestRow};
use crate::unit::Unit;
use crate::unit_file::rows_of_bytes;

/// How long to wait for a result before returning to the engine.
const WAIT: Duration = Duration::from_millis(100);

/// Hands a unit out to other machines, and emits the rows that they computed, in the manifest's order: what `fermata
/// softlabels --nats` runs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnedRowsSettings {
    /// The unit: `${stream.uri}` of the streams that `manifest_units` provides.
    pub unit: String,
}

/// See `ReturnedRowsSettings`.
pub struct ReturnedRows {
    handing_out: Arc<HandingOut>,
    alignment: Arc<Alignment>,
    unit: Unit,
    manifest: Arc<Manifest>,
    indices: Vec<usize>,
    pool: FramePool,
    /// Set once the result has arrived.
    rows: Option<std::vec::IntoIter<Fused>>,
    setup: Setup,
}

impl Source for ReturnedRows {
    const NAME: &'static str = "returned_rows";
    type Settings = ReturnedRowsSettings;

    fn ports(_: &ReturnedRowsSettings) -> Ports {
        Ports::new()
            .output::<Fused>("out")
            .needs::<Manifests>()
            .needs::<HandingOut>()
            .needs::<Alignment>()
    }

    fn create(settings: ReturnedRowsSettings, setup: &Setup) -> Result<Self, ActorError> {
        let unit: Unit = settings.unit.parse()?;
        let manifest = Manifests::of(setup)?.get(&unit.manifest)?;
        let handing_out: Arc<HandingOut> = setup.service().ok_or(
            "no service hands units out: run such graphs with `fermata softlabels --nats`",
        )?;
        let indices = unit.indices(&manifest)?;
        handing_out.0.hand_out(unit.number);
        Ok(Self {
            handing_out,
            alignment: setup.service().ok_or("no alignment")?,
            unit,
            manifest,
            indices,
            pool: FramePool::new(),
            rows: None,
            setup: setup.clone(),
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        let number = self.unit.number;
        if self.setup.cancelled() {
            self.handing_out.0.withdraw(number);
            return Ok(Next::End);
        }
        if let Some(rows) = &mut self.rows {
            // `manifest_units` confirms the result once it is durable here.
            return Ok(rows.next().map_or(Next::End, |row| {
                Next::Packet(Captured::new(Arc::new(row), 0))
            }));
        }
        let first = self.unit.rows.start;
        let result = self.handing_out.0.result(number, WAIT);
        let result = result.map_err(|reason| {
            format!("unit {number} (rows {first} and following) has no result: {reason}")
        })?;
        if let Some(returned) = result {
            match self.believed(&returned.bytes) {
                Ok(rows) => self.rows = Some(rows.into_iter()),
                Err(reason) => {
                    tracing::warn!(unit = number, worker = %returned.worker, "{reason}");
                    self.handing_out.0.reject(number, &reason);
                }
            }
        }
        Ok(Next::Wait(Duration::ZERO))
    }
}

impl ReturnedRows {
    /// Returns the rows of a result, if it is a valid result of this unit.
    fn believed(&self, bytes: &[u8]) -> Result<Vec<Fused>, String> {
        let mut rows = Vec::with_capacity(self.indices.len());
        let mut indices = self.indices.iter();
        for exported in rows_of_bytes(
            bytes,
            self.alignment.logits_len(),
            self.alignment.teachers_len(),
        ) {
            let exported = exported?;
            let index = indices.next().ok_or("it has more rows than the unit")?;
            let row = ManifestRow::new(&self.manifest, *index).ok_or("the unit names no row")?;
            rows.push(self.row(row, exported)?);
        }
        match indices.next() {
            None => Ok(rows),
            Some(_) => Err(format!(
                "it has {} rows of {}",
                rows.len(),
                self.indices.len()
            )),
        }
    }

    fn row(&self, row: ManifestRow, exported: ExportedRow) -> Result<Fused, String> {
        let ExportedRow {
            sha256,
            image,
            label,
            split,
            scores,
        } = exported;
        let known = row.row();
        let is_it = sha256 == known.sha256
            && image == known.image.to_string_lossy()
            && label == known.label
            && split == known.split;
        if !is_it {
            return Err(format!("it has another row in the place of {row:?}"));
        }
        let scores = match scores {
            Ok(scores) if scores.seen.len() == self.alignment.teachers.len() => Ok(scores),
            Ok(_) => return Err(format!("{row:?} has other teachers")),
            Err(reason) => {
                if read_picture(&row, &self.pool).is_ok() {
                    return Err(format!(
                        "{row:?} could not be read there ({reason}), but it can be read here: the worker's data differ from the job's"
                    ));
                }
                Err(Failure::new(&reason))
            }
        };
        Ok(Fused {
            row,
            alignment: Arc::clone(&self.alignment),
            scores,
        })
    }
}
