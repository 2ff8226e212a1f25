//! `prepare_inputs`: turns a training's rows into its network's inputs. The augmentation defines the views, the card
//! how a picture becomes an input; this actor combines the two.

use std::path::PathBuf;
use std::sync::Arc;

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use fermata_learn::augmentation::{Augmentation, Variation};
use fermata_learn::training::RunFolder;
use fermata_vision::FramePool;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::{Failure, Loaded, LoadedRow, Prepared, PreparedRow, Purpose, WantedRow};
use crate::view_input::{ViewInput, varied};

/// Shows each row of a training in the view of its epoch, and preprocesses it as the training's card specifies.
/// Validation rows are not augmented.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrepareInputsSettings {
    /// Folder of the training, as created by `fermata train`.
    pub training: PathBuf,
}

/// See `PrepareInputsSettings`.
pub struct PrepareInputs {
    augmentation: Augmentation,
    view_seed: u64,
    input: ViewInput,
    pool: FramePool,
}

impl PrepareInputs {
    fn prepare(&mut self, loaded: &LoadedRow) -> Result<Arc<Vec<f32>>, Failure> {
        let picture = loaded.picture.as_ref().map_err(Clone::clone)?;
        let variation = self.variation(&loaded.wanted)?;
        let mut values = vec![0.0; self.input.len()];
        let picture = varied(picture, variation.as_ref(), &self.pool)?;
        self.input
            .write(&picture, variation.as_ref(), &mut values)?;
        Ok(Arc::new(values))
    }

    /// Returns the variation of a row, or none if the picture stays as it is.
    fn variation(&self, wanted: &WantedRow) -> Result<Option<Variation>, Failure> {
        let Purpose::Train { view, .. } = wanted.purpose else {
            return Ok(None);
        };
        let hash = &wanted.row.row().sha256;
        Ok(self.augmentation.view(self.view_seed, view, hash))
    }
}

impl Actor for PrepareInputs {
    const NAME: &'static str = "prepare_inputs";
    type Settings = PrepareInputsSettings;

    fn ports(_: &PrepareInputsSettings) -> Ports {
        Ports::new()
            .input::<Loaded>("in")
            .output::<Prepared>("out")
            .stateless()
    }

    fn create(settings: PrepareInputsSettings, _: &Setup) -> Result<Self, ActorError> {
        let folder = RunFolder::open(&settings.training)?;
        let training = &folder.config().training;
        Ok(Self {
            augmentation: training.augmentation,
            view_seed: training.view_seed(),
            input: ViewInput::new(folder.card())?,
            pool: FramePool::new(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let prepared = match &*input.take::<Loaded>() {
            Loaded::EpochEnd { epoch } => Prepared::EpochEnd { epoch: *epoch },
            Loaded::Row(loaded) => Prepared::Row(PreparedRow {
                wanted: loaded.wanted.clone(),
                input: self.prepare(loaded),
                teacher: None,
                targets: None,
            }),
        };
        out.emit::<Prepared>(input.envelope, prepared);
        Ok(())
    }
}
