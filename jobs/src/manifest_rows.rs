//! `manifest_rows`: emits the rows of a unit of work, one packet each; a packet's sequence number is the row's position
//! in the unit.

use std::sync::Arc;

use fermata_engine::{ActorError, Captured, Next, Ports, Setup, Source};
use fermata_learn::manifest::Manifest;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::manifests::Manifests;
use crate::payload::{ManifestRow, Purpose, Wanted, WantedRow};
use crate::unit::Unit;

/// Emits the rows of a unit of work, in the manifest's order.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestRowsSettings {
    /// The unit: `${stream.uri}` of the streams that `manifest_units` provides.
    pub unit: String,
}

/// See `ManifestRowsSettings`.
pub struct ManifestRows {
    manifest: Arc<Manifest>,
    indices: std::vec::IntoIter<usize>,
    setup: Setup,
}

impl Source for ManifestRows {
    const NAME: &'static str = "manifest_rows";
    type Settings = ManifestRowsSettings;

    fn ports(_: &ManifestRowsSettings) -> Ports {
        Ports::new().output::<Wanted>("out").needs::<Manifests>()
    }

    fn create(settings: ManifestRowsSettings, setup: &Setup) -> Result<Self, ActorError> {
        let unit: Unit = settings.unit.parse()?;
        let manifest = Manifests::of(setup)?.get(&unit.manifest)?;
        Ok(Self {
            indices: unit.indices(&manifest)?.into_iter(),
            manifest,
            setup: setup.clone(),
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        if self.setup.cancelled() {
            return Ok(Next::End);
        }
        let Some(index) = self.indices.next() else {
            return Ok(Next::End);
        };
        let row = ManifestRow::new(&self.manifest, index).ok_or("the unit names no row")?;
        let wanted = Wanted::Row(WantedRow {
            row,
            purpose: Purpose::Unit,
        });
        // All rows have the same time: they come as fast as they are taken, whatever the clock.
        Ok(Next::Packet(Captured::new(Arc::new(wanted), 0)))
    }
}
