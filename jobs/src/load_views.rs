//! `load_views`: reads the image of each row once and makes the inputs of all its views, however many models use them.
//! Owns which models share inputs; `load_images` owns what makes an image unreadable, the models' cards how a picture
//! becomes an input.

use std::path::PathBuf;

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use fermata_learn::augmentation::Augmentation;
use fermata_vision::FramePool;
use fermata_vision::card::{ModelCard, model_files};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::load_images::read_picture;
use crate::payload::{AskedViews, Viewed, Wanted, WantedRow};
use crate::views::Views;

/// Reads and decodes the image of each row, and makes the inputs of V views of it for the given models: view 0 is the
/// unchanged picture, the others are augmented. Models whose cards prepare pictures alike share inputs. A row whose
/// image cannot be read is passed on with the reason.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadViewsSettings {
    /// Folders of the models, whose cards define how pictures are prepared.
    pub models: Vec<PathBuf>,
    /// Number of views per picture. Default: 1.
    #[serde(default = "one")]
    pub views: u32,
    /// Seed of the views' augmentation. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// How pictures are augmented from view 1 on; keys as in a training's settings. Default: as there.
    #[serde(default)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub augmentation: Augmentation,
}

fn one() -> u32 {
    1
}

/// See `LoadViewsSettings`.
pub struct LoadViews {
    asked: AskedViews,
    views: Views,
    pool: FramePool,
}

impl LoadViews {
    fn view(&mut self, wanted: &WantedRow) -> Viewed {
        let row = wanted.row.clone();
        let inputs = read_picture(&row, &self.pool);
        let inputs = inputs.and_then(|picture| self.views.make(&row, &picture));
        Viewed {
            row,
            views: self.asked,
            inputs,
        }
    }
}

impl Actor for LoadViews {
    const NAME: &'static str = "load_views";
    type Settings = LoadViewsSettings;

    fn ports(_: &LoadViewsSettings) -> Ports {
        Ports::new()
            .input::<Wanted>("in")
            .output::<Viewed>("out")
            .stateless()
    }

    fn check(settings: &LoadViewsSettings) -> Result<(), ActorError> {
        let mut problems = settings.augmentation.problems();
        if settings.views == 0 {
            problems.push("views is 0; expected at least 1".to_owned());
        }
        if settings.models.is_empty() {
            problems.push("models is empty; expected the folder of a model".to_owned());
        }
        if !problems.is_empty() {
            return Err(problems.join("; ").into());
        }
        for folder in &settings.models {
            ModelCard::load(folder)?;
        }
        Ok(())
    }

    fn reads(settings: &LoadViewsSettings) -> Vec<PathBuf> {
        let folders = settings.models.iter();
        folders.flat_map(|folder| model_files(folder)).collect()
    }

    fn create(settings: LoadViewsSettings, _: &Setup) -> Result<Self, ActorError> {
        let card = |folder: &PathBuf| ModelCard::load(folder).map(|model| model.card);
        let cards: Vec<ModelCard> = settings.models.iter().map(card).collect::<Result<_, _>>()?;
        let asked = AskedViews {
            views: settings.views,
            seed: settings.seed,
            augmentation: settings.augmentation,
        };
        Ok(Self {
            asked,
            views: Views::new(&cards, asked)?,
            pool: FramePool::new(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        match &*input.take::<Wanted>() {
            Wanted::Row(wanted) => out.emit::<Viewed>(input.envelope, self.view(wanted)),
            Wanted::EpochEnd { .. } => {
                return Err("an epoch's end has no image to make views of".into());
            }
        }
        Ok(())
    }
}
