//! `training_rows`: the rows of a training from its last checkpoint on, in one sequence: an epoch's steps, its end, its
//! validation rows, the next epoch. `fermata-learn` plans their order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fermata_engine::{ActorError, Captured, Next, Ports, Setup, Source};
use fermata_learn::manifest::Manifest;
use fermata_learn::training::{Plan, Planned, RunFolder};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::manifests::Manifests;
use crate::payload::{ManifestRow, Purpose, Wanted, WantedRow};

/// Emits the rows of a training from its last checkpoint to its planned end.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingRowsSettings {
    /// Folder of the training, as created by `fermata train`.
    pub training: PathBuf,
}

/// See `TrainingRowsSettings`.
pub struct TrainingRows {
    manifest: Arc<Manifest>,
    plan: Plan,
    /// Number of packets emitted, including those of an earlier instance.
    given: Arc<AtomicU64>,
    setup: Setup,
}

impl Source for TrainingRows {
    const NAME: &'static str = "training_rows";
    type Settings = TrainingRowsSettings;

    fn ports(_: &TrainingRowsSettings) -> Ports {
        Ports::new().output::<Wanted>("out").needs::<Manifests>()
    }

    fn check(settings: &TrainingRowsSettings) -> Result<(), ActorError> {
        RunFolder::open(&settings.training)?;
        Ok(())
    }

    fn create(settings: TrainingRowsSettings, setup: &Setup) -> Result<Self, ActorError> {
        let folder = RunFolder::open(&settings.training)?;
        let config = folder.config();
        let manifest = Manifests::of(setup)?.get(&config.manifest)?;
        let rows = config.rows(&manifest)?;
        let mut plan = Plan::new(&config.training, &rows, &folder.progress()?);
        let given = setup.lasting_number();
        // The trainer continues after the last row it received, whatever the last checkpoint contains.
        for _ in 0..given.load(Ordering::Relaxed) {
            plan.next();
        }
        Ok(Self {
            manifest,
            plan,
            given,
            setup: setup.clone(),
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        if self.setup.cancelled() {
            return Ok(Next::End);
        }
        let Some(planned) = self.plan.next() else {
            return Ok(Next::End);
        };
        let row = |index, purpose| {
            let row = ManifestRow::new(&self.manifest, index).ok_or("the plan names no row")?;
            Ok::<_, ActorError>(Wanted::Row(WantedRow { row, purpose }))
        };
        let wanted = match planned {
            Planned::EpochEnd { epoch } => Wanted::EpochEnd { epoch },
            Planned::Validation { epoch, row: index } => row(index, Purpose::Validation { epoch })?,
            Planned::Train {
                epoch,
                step,
                view,
                row: index,
            } => row(index, Purpose::Train { epoch, step, view })?,
        };
        self.given.fetch_add(1, Ordering::Relaxed);
        // All rows have the same time: they come as fast as they are taken, whatever the clock.
        Ok(Next::Packet(Captured::new(Arc::new(wanted), 0)))
    }
}
