//! `infer_logits`: computes a teacher's logits for each row, in all given views of its picture. Owns which of a
//! teacher's models is used for a row; `load_views` owns the views and how a picture becomes an input.

use std::path::PathBuf;
use std::sync::Arc;

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use fermata_learn::folds::Learnt;
use fermata_onnx::MOST_THREADS;
use fermata_vision::card::{ModelCard, model_files};
use fermata_vision::face::EXPRESSIONS;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::aligned::asked;
use crate::loaded_model::LoadedModel;
use crate::payload::{Asked, AskedViews, ManifestRow, Scored, Viewed};
use crate::preparation::Preparation;

/// Computes a model's logits for each row, in all views of its picture that `load_views` has made for the model's card.
/// Rows whose image could not be read are passed on as they are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InferLogitsSettings {
    /// Folder of the model: card.yaml and weights, for ONNX Runtime or libtorch.
    pub model: PathBuf,
    /// Further models of the same teacher, each trained without another fold. A row on which some of the models were
    /// trained is given to the others, whose logits are averaged; a row on which all were trained is an error. Default:
    /// none.
    #[serde(default)]
    pub folds: Vec<PathBuf>,
    /// Accepts rows that the model has learnt from, as an evaluation of its training rows does. Otherwise they are
    /// errors. Does not apply to `folds`. Default: false.
    #[serde(default)]
    pub allow_seen: bool,
    /// `cpu` or `cuda:N`. Default: cpu.
    #[serde(default = "cpu")]
    pub device: String,
    /// Scale of an ArcFace head, if its file does not contain it. Default: 30.
    #[serde(default)]
    pub scale: Option<f64>,
    /// Threads that compute the model. Default: 1.
    #[serde(default = "one")]
    pub threads: u32,
    /// Maximum number of pictures computed at once; larger batches are computed in parts. Default: 64.
    #[serde(default = "sixty_four")]
    pub at_once: u32,
}

fn one() -> u32 {
    1
}

fn cpu() -> String {
    "cpu".to_owned()
}

fn sixty_four() -> u32 {
    64
}

/// See `InferLogitsSettings`.
pub struct InferLogits {
    settings: InferLogitsSettings,
    preparation: Preparation,
    models: Vec<LoadedModel>,
    learnt: Vec<Option<Learnt>>,
    /// For the views that came last.
    asked: Option<Arc<Asked>>,
}

/// A row whose logits are to be computed, if it has inputs.
struct Question {
    input: Input,
    viewed: Arc<Viewed>,
    asked: Arc<Asked>,
    /// Indices of the models.
    models: Vec<usize>,
    seen: Option<bool>,
}

impl InferLogits {
    /// Returns the models to use for a row, and whether they were trained on it.
    fn choose(&self, row: &ManifestRow) -> Result<(Vec<usize>, Option<bool>), ActorError> {
        let manifest = &row.manifest().sha256;
        let learnt = self.learnt.iter();
        let saw = learnt.map(|learnt| learnt.as_ref()?.saw(row.row(), manifest));
        let saw: Vec<Option<bool>> = saw.collect();
        if let [only] = saw[..] {
            if only == Some(true) && !self.settings.allow_seen {
                return Err(format!(
                    "{row:?}: the model {} has learnt from it; name several models in `folds`, each trained without another fold, or set `allow_seen: true`",
                    self.settings.model.display()
                )
                .into());
            }
            return Ok((vec![0], only));
        }
        let folders = || {
            [&self.settings.model]
                .into_iter()
                .chain(&self.settings.folds)
        };
        if let Some((folder, _)) = folders().zip(&saw).find(|(_, saw)| saw.is_none()) {
            return Err(format!(
                "the model {} is one of several of a teacher, but its provenance does not say that it was trained on this manifest (sha256 {manifest}): it is unknown which rows it has seen",
                folder.display()
            )
            .into());
        }
        let unseen: Vec<usize> = (0..saw.len())
            .filter(|&model| saw[model] == Some(false))
            .collect();
        if unseen.is_empty() {
            return Err(format!(
                "{row:?}: all models of the teacher were trained on it; each must be trained without another fold"
            )
            .into());
        }
        Ok((unseen, Some(false)))
    }

    /// Describes what computes the logits of these views.
    fn asked(&mut self, views: AskedViews) -> Arc<Asked> {
        match &self.asked {
            Some(asked) if asked.views == views => Arc::clone(asked),
            _ => {
                let new = Arc::new(asked(&self.models, views));
                Arc::clone(self.asked.insert(new))
            }
        }
    }

    fn question(&mut self, mut input: Input) -> Result<Question, ActorError> {
        let viewed = input.take::<Viewed>();
        let (models, seen) = self.choose(&viewed.row)?;
        Ok(Question {
            input,
            asked: self.asked(viewed.views),
            viewed,
            models,
            seen,
        })
    }

    /// Returns the inputs of a row that were made for these models; none if its image could not be read.
    fn inputs<'a>(&self, viewed: &'a Viewed) -> Result<Option<&'a [f32]>, ActorError> {
        let Ok(inputs) = &viewed.inputs else {
            return Ok(None);
        };
        let fitting = inputs
            .iter()
            .find(|inputs| *inputs.preparation == self.preparation);
        match fitting {
            Some(inputs) => Ok(Some(&inputs.values)),
            None => Err(format!(
                "no inputs were made for the card of {}: `models` of load_views must name its folder too",
                self.settings.model.display()
            )
            .into()),
        }
    }

    /// Returns the logits of rows, averaged over the models of each: [V, 7] per row; zeros for a row without inputs.
    fn ask(&mut self, questions: &[Question]) -> Result<Vec<Vec<f32>>, ActorError> {
        let mut sums: Vec<Vec<f64>> = questions
            .iter()
            .map(|question| vec![0.0; question.asked.views.views as usize * EXPRESSIONS])
            .collect();
        for number in 0..self.models.len() {
            let (mut inputs, mut rows) = (Vec::new(), Vec::new());
            for (question, sums) in questions.iter().zip(&mut sums) {
                if let Some(values) = self.inputs(&question.viewed)?
                    && question.models.contains(&number)
                {
                    inputs.extend_from_slice(values);
                    rows.push(sums);
                }
            }
            let mut logits = Vec::new();
            let at_once = self.settings.at_once as usize;
            self.models[number].logits(&inputs, at_once, &mut logits)?;
            let sums = rows.into_iter().flatten();
            sums.zip(logits)
                .for_each(|(sum, logit)| *sum += f64::from(logit));
        }
        let rows = questions.iter().zip(sums);
        let mean = |(question, sums): (&Question, Vec<f64>)| {
            let count = question.models.len() as f64;
            sums.iter().map(|sum| (sum / count) as f32).collect()
        };
        Ok(rows.map(mean).collect())
    }
}

impl Actor for InferLogits {
    const NAME: &'static str = "infer_logits";
    type Settings = InferLogitsSettings;

    fn ports(_: &InferLogitsSettings) -> Ports {
        Ports::new()
            .input::<Viewed>("in")
            .output::<Scored>("out")
            .stateless()
    }

    fn check(settings: &InferLogitsSettings) -> Result<(), ActorError> {
        let threads = settings.threads as usize;
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(format!("threads is {threads}; expected 1 to {MOST_THREADS}").into());
        }
        if settings.at_once == 0 {
            return Err("at_once is 0; expected at least 1".into());
        }
        let first = ModelCard::load(&settings.model)?;
        for folder in &settings.folds {
            let other = ModelCard::load(folder)?;
            if Preparation::of(&first.card) != Preparation::of(&other.card) {
                return Err(format!(
                    "{} and {} prepare pictures differently, so they are not models of one teacher",
                    settings.model.display(),
                    folder.display()
                )
                .into());
            }
        }
        Ok(())
    }

    fn reads(settings: &InferLogitsSettings) -> Vec<PathBuf> {
        let folders = std::iter::once(&settings.model).chain(&settings.folds);
        folders.flat_map(|folder| model_files(folder)).collect()
    }

    fn create(settings: InferLogitsSettings, _: &Setup) -> Result<Self, ActorError> {
        let folders = [&settings.model].into_iter().chain(&settings.folds);
        let models: Vec<LoadedModel> = folders
            .map(|folder| {
                LoadedModel::load(folder, settings.scale, &settings.device, settings.threads)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            preparation: Preparation::of(models[0].card()),
            learnt: models.iter().map(LoadedModel::learnt).collect(),
            asked: None,
            models,
            settings,
        })
    }

    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.process_batch(vec![input], out)
    }

    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        let questions = inputs.into_iter().map(|input| self.question(input));
        let questions: Vec<Question> = questions.collect::<Result<_, _>>()?;
        let said = self.ask(&questions)?;
        for (question, logits) in questions.into_iter().zip(said) {
            let Question {
                input,
                viewed,
                asked,
                seen,
                ..
            } = question;
            let scored = Scored {
                row: viewed.row.clone(),
                asked,
                logits: viewed.inputs.as_ref().map(|_| logits).map_err(Clone::clone),
                seen,
            };
            out.emit::<Scored>(input.envelope, scored);
        }
        Ok(())
    }
}
