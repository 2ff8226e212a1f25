//! `infer_logits`: a teacher's logits of each row, in several views of its picture. Owns which model of a teacher is asked about a row; a
//! view is a function of (seed, view, hash of the image), and what becomes of a picture is the model's card's.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use fermata_engine::{Actor, ActorError, Envelope, Input, Outputs, Ports, Setup};
use fermata_learn::augmentation::Augmentation;
use fermata_vision::Frame;
use fermata_vision::card::ModelCard;
use fermata_vision::face::EXPRESSIONS;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::aligned::{AskedViews, asked};
use crate::loaded_model::LoadedModel;
use crate::payload::{Asked, Failure, Loaded, LoadedRow, ManifestRow, Scored};
use crate::views::Views;

/// Asks a model about each row, in V views of its picture: view 0 is the picture as it is, the others are varied. Rows whose image could
/// not be read go on as they are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InferLogitsSettings {
    /// Folder of the model: card.yaml and weights, for ONNX Runtime or libtorch.
    pub model: PathBuf,
    /// Further models of the same teacher, each trained without another fold. A row that some of the models have learnt from is asked of the
    /// others, and if there are several of these, the answer is their mean; a row that all have learnt from is an error. Default: none.
    #[serde(default)]
    pub folds: Vec<PathBuf>,
    /// Views of each picture. Default: 1.
    #[serde(default = "one")]
    pub views: u32,
    /// Of the views' variations. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// How pictures are varied from view 1 on; keys as in a training's settings. Default: as there.
    #[serde(default)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub augmentation: Augmentation,
    /// `cpu` or `cuda:N`. Default: cpu.
    #[serde(default = "cpu")]
    pub device: String,
    /// Scale of an ArcFace head whose file does not say it. Default: 30.
    #[serde(default)]
    pub scale: Option<f64>,
    /// Threads that compute the model. Default: 1.
    #[serde(default = "one")]
    pub threads: u32,
    /// Most pictures that are computed at once; a batch of more is computed in parts. Default: 64.
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

/// See [`InferLogitsSettings`].
pub struct InferLogits {
    settings: InferLogitsSettings,
    asked: Arc<Asked>,
    models: Vec<LoadedModel>,
    views: Views,
}

/// A row that models are asked about.
struct Question {
    envelope: Envelope,
    row: ManifestRow,
    picture: Frame,
    /// Numbers of the models.
    models: Vec<usize>,
    seen: Option<bool>,
}

/// Rows that are computed at once, with their inputs.
struct Prepared {
    questions: Vec<Question>,
    /// Of all views of all rows, one after another.
    inputs: Vec<f32>,
    /// By row: why it has no inputs.
    failures: Vec<Option<Failure>>,
}

impl Prepared {
    fn of(questions: Vec<Question>, views: &mut Views) -> Self {
        let of_row = views.len();
        let mut inputs = vec![0.0; of_row * questions.len()];
        let rows = questions.iter().zip(inputs.chunks_exact_mut(of_row));
        let failures = rows
            .map(|(question, inputs)| views.write(&question.row, &question.picture, inputs).err())
            .collect();
        Self {
            questions,
            inputs,
            failures,
        }
    }
}

impl InferLogits {
    /// The models that are asked about a row, and whether they have learnt from it.
    fn choose(&self, row: &ManifestRow) -> Result<(Vec<usize>, Option<bool>), ActorError> {
        let manifest = &row.manifest().sha256;
        let learnt = self.asked.learnt.iter();
        let saw = learnt.map(|learnt| learnt.as_ref()?.saw(row.row(), manifest));
        let saw: Vec<Option<bool>> = saw.collect();
        if let [only] = saw[..] {
            return Ok((vec![0], only));
        }
        let folders = || {
            [&self.settings.model]
                .into_iter()
                .chain(&self.settings.folds)
        };
        if let Some((folder, _)) = folders().zip(&saw).find(|(_, saw)| saw.is_none()) {
            return Err(format!(
                "the model {} is one of several of a teacher, but its provenance does not say that it was trained on this manifest (sha256 {manifest}): nobody can tell which rows it has seen",
                folder.display()
            )
            .into());
        }
        let unseen: Vec<usize> = (0..saw.len())
            .filter(|&model| saw[model] == Some(false))
            .collect();
        if unseen.is_empty() {
            return Err(format!(
                "{row:?}: all models of the teacher have learnt from it; each must be trained without another fold"
            )
            .into());
        }
        Ok((unseen, Some(false)))
    }

    /// Takes the rows of a batch apart; those that have no picture go on at once.
    fn questions(
        &self,
        inputs: Vec<Input>,
        out: &mut Outputs,
    ) -> Result<Vec<Question>, ActorError> {
        let mut questions = Vec::with_capacity(inputs.len());
        for mut input in inputs {
            let loaded = input.take::<Loaded>();
            let Loaded::Row(LoadedRow { wanted, picture }) = &*loaded else {
                return Err("an epoch's end is nothing that a teacher can be asked about".into());
            };
            let row = wanted.row.clone();
            let (models, seen) = self.choose(&row)?;
            match picture {
                Ok(picture) => questions.push(Question {
                    envelope: input.envelope,
                    row,
                    picture: picture.clone(),
                    models,
                    seen,
                }),
                Err(failure) => {
                    let scored = Scored {
                        row,
                        asked: Arc::clone(&self.asked),
                        logits: Err(failure.clone()),
                        seen,
                    };
                    out.emit::<Scored>(input.envelope, scored);
                }
            }
        }
        Ok(questions)
    }
}

/// Asks the models about rows and emits what they say.
fn answer(
    prepared: Prepared,
    models: &mut [LoadedModel],
    asked: &Arc<Asked>,
    at_once: usize,
    out: &mut Outputs,
) -> Result<(), ActorError> {
    let Prepared {
        questions,
        inputs,
        failures,
    } = prepared;
    let of_row = inputs.len() / questions.len();
    let values = asked.views as usize * EXPRESSIONS;
    let mut sums = vec![0f64; questions.len() * values];
    for (number, model) in models.iter_mut().enumerate() {
        let rows: Vec<usize> = (0..questions.len())
            .filter(|&row| failures[row].is_none() && questions[row].models.contains(&number))
            .collect();
        let mut own = Vec::new();
        let inputs = if rows.len() == questions.len() {
            &inputs
        } else {
            let of_rows = rows.iter().map(|row| &inputs[row * of_row..][..of_row]);
            own.extend(of_rows.flatten());
            &own
        };
        let mut logits = Vec::with_capacity(rows.len() * values);
        model.logits(inputs, at_once, &mut logits)?;
        for (row, said) in rows.into_iter().zip(logits.chunks_exact(values)) {
            let sums = sums[row * values..].iter_mut();
            sums.zip(said)
                .for_each(|(sum, &logit)| *sum += f64::from(logit));
        }
    }
    let rows = questions.into_iter().zip(failures);
    for ((question, failure), sums) in rows.zip(sums.chunks_exact(values)) {
        let count = question.models.len() as f64;
        let mean = || sums.iter().map(|sum| (sum / count) as f32).collect();
        let scored = Scored {
            row: question.row,
            asked: Arc::clone(asked),
            logits: failure.map_or_else(|| Ok(mean()), Err),
            seen: question.seen,
        };
        out.emit::<Scored>(question.envelope, scored);
    }
    Ok(())
}

/// Whether two cards make the same input of a picture, and name the same classes.
fn prepare_alike(one: &ModelCard, other: &ModelCard) -> bool {
    let comparable = |card: &ModelCard| {
        let (input, clahe) = (card.input.clone(), card.clahe);
        (input, clahe, card.interpolation, card.scaling.clone())
    };
    comparable(one) == comparable(other)
}

impl Actor for InferLogits {
    const NAME: &'static str = "infer_logits";
    type Settings = InferLogitsSettings;

    fn ports(_: &InferLogitsSettings) -> Ports {
        Ports::new()
            .input::<Loaded>("in")
            .output::<Scored>("out")
            .stateless()
    }

    fn check(settings: &InferLogitsSettings) -> Result<(), ActorError> {
        let mut problems = settings.augmentation.problems();
        for (name, value) in [
            ("views", settings.views),
            ("threads", settings.threads),
            ("at_once", settings.at_once),
        ] {
            if value == 0 {
                problems.push(format!("{name} is 0; expected at least 1"));
            }
        }
        if !problems.is_empty() {
            return Err(problems.join("; ").into());
        }
        let first = ModelCard::load(&settings.model)?;
        for folder in &settings.folds {
            let other = ModelCard::load(folder)?;
            if !prepare_alike(&first.card, &other.card) {
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

    fn create(settings: InferLogitsSettings, _: &Setup) -> Result<Self, ActorError> {
        let folders = [&settings.model].into_iter().chain(&settings.folds);
        let models: Vec<LoadedModel> = folders
            .map(|folder| {
                LoadedModel::load(folder, settings.scale, &settings.device, settings.threads)
            })
            .collect::<Result<_, _>>()?;
        let views = AskedViews {
            views: settings.views,
            seed: settings.seed,
            augmentation: settings.augmentation,
        };
        let asked = asked(&models, views);
        Ok(Self {
            views: Views::new(
                &asked.models[0],
                asked.views,
                asked.seed,
                asked.augmentation,
            )?,
            asked: Arc::new(asked),
            models,
            settings,
        })
    }

    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.process_batch(vec![input], out)
    }

    /// Pictures are prepared on a thread beside the one that computes.
    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        let mut questions = self.questions(inputs, out)?;
        let Self {
            settings,
            asked,
            models,
            views,
        } = self;
        let at_once = settings.at_once as usize;
        let rows_at_once = (at_once / settings.views as usize).max(1);
        let (to, from) = sync_channel(1);
        let prepare = move || {
            while !questions.is_empty() {
                let rest = questions.split_off(rows_at_once.min(questions.len()));
                let some = std::mem::replace(&mut questions, rest);
                // Nobody waits for more after an error.
                if to.send(Prepared::of(some, views)).is_err() {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            scope.spawn(prepare);
            from.into_iter()
                .try_for_each(|prepared| answer(prepared, models, asked, at_once, out))
        })
    }
}
