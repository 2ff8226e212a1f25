//! Asks an ONNX model for the expressions of faces, many faces at a time. What the model takes and says is its card's; crops
//! are `crop_faces`'s; smoothing in time comes later.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use fermata_engine::{Actor, ActorError, Envelope, Input, Outputs, Ports, Setup};
use fermata_vision::card::{CARD_FILE, Model};
use fermata_vision::face::EXPRESSIONS;
use fermata_vision::scores::{ScoreError, to_probabilities};
use fermata_vision::{Expression, Face, ModelCard, Weights};
use schemars::JsonSchema;
use serde::Deserialize;

use super::session::{Device, ElementType, Session, SessionSpec, TensorIn, TensorInfo};
use crate::payload::Faces;

#[cfg(test)]
mod tests;

/// Faces of one run of a model that leaves its batch dimension open; more are run in turn, so that memory stays bounded.
const MOST_AT_ONCE: usize = 64;

/// Classifies each face that has a crop. Takes `Faces`, emits `Faces` with `probabilities` in the canonical order and
/// `raw_label`; keeps nothing between packets. With `batch:` the faces of many packets go through the model together.
///
/// A face without a crop goes on without probabilities. A face for which the model says NaN fails its packet.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassifyExpressionSettings {
    /// Folder with `model.onnx` and `card.yaml`: the same as that of `crop_faces`.
    pub model: PathBuf,
    /// Where the model runs: `cpu`, `cuda` or `cuda:N`. A device that is not there is an error. Default: `cpu`.
    #[serde(default)]
    pub device: Device,
    /// Threads inside an operator of the model; for more throughput prefer `batch` and `replicas`. Default: 1.
    #[serde(default = "one_thread")]
    pub threads: NonZeroUsize,
}

fn one_thread() -> NonZeroUsize {
    NonZeroUsize::MIN
}

/// Why faces cannot be classified.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ClassifyExpressionError {
    /// Weights for another backend.
    #[error(
        "{} holds the parameters of {architecture}, which ONNX Runtime cannot run; export it to model.onnx and drop `architecture` from its card",
        path.display()
    )]
    NotOnnx { path: PathBuf, architecture: String },
    /// Card and model disagree.
    #[error(
        "the card contradicts the model: {} says {card}, but {} has {model}",
        folder.join(CARD_FILE).display(), path.display()
    )]
    Contradiction {
        folder: PathBuf,
        path: PathBuf,
        card: String,
        model: String,
    },
    /// A crop for another model.
    #[error(
        "a face has a crop of {given} values, but the model takes {expected}; `crop_faces` must name the same model"
    )]
    Crop { given: usize, expected: usize },
    /// The model computed another number of values than its faces need.
    #[error("the model said {given} values for {faces} faces, not {EXPRESSIONS} for each")]
    Count { given: usize, faces: usize },
}

/// See [`ClassifyExpressionSettings`].
pub struct ClassifyExpression {
    node: String,
    card: ModelCard,
    session: Session,
    output: usize,
    /// Faces of a run, if the model insists on a number.
    fixed_batch: Option<usize>,
    /// Inputs of a run; kept for its memory.
    values: Vec<f32>,
    /// What the model said, seven values for each face; kept for its memory.
    said: Vec<f32>,
    /// Packets of a batch; empty between calls, kept for its memory.
    packets: Vec<(Envelope, Faces)>,
    classified: u64,
    without_crop: u64,
}

impl Actor for ClassifyExpression {
    const NAME: &'static str = "classify_expression";
    type Settings = ClassifyExpressionSettings;

    fn ports(_: &ClassifyExpressionSettings) -> Ports {
        Ports::new()
            .input::<Faces>("in")
            .output::<Faces>("out")
            .stateless()
    }

    fn check(settings: &ClassifyExpressionSettings) -> Result<(), ActorError> {
        load(settings)?;
        Ok(())
    }

    fn create(settings: ClassifyExpressionSettings, setup: &Setup) -> Result<Self, ActorError> {
        let model = load(&settings)?;
        let spec = SessionSpec {
            device: settings.device,
            threads: settings.threads.get(),
        };
        let session = Session::load(model.weights.path(), &spec)?;
        let fit = fit(&model.card, session.inputs(), session.outputs());
        let fit = fit.map_err(|(card, found)| ClassifyExpressionError::Contradiction {
            folder: model.folder,
            path: model.weights.path().to_owned(),
            card,
            model: found,
        })?;
        Ok(Self {
            node: setup.node.clone(),
            card: model.card,
            session,
            output: fit.output,
            fixed_batch: fit.batch,
            values: Vec::new(),
            said: Vec::new(),
            packets: Vec::new(),
            classified: 0,
            without_crop: 0,
        })
    }

    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.process_batch(vec![input], out)
    }

    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        let mut packets = std::mem::take(&mut self.packets);
        for mut input in inputs {
            let faces = Arc::unwrap_or_clone(input.take::<Faces>());
            match self.strange_crop(&faces) {
                None => packets.push((input.envelope, faces)),
                Some(error) => out.fail(&input.envelope, error),
            }
        }
        self.ask(packets.iter().flat_map(|(_, faces)| &faces.faces))?;
        let mut from = 0;
        for (envelope, mut faces) in packets.drain(..) {
            let asked = faces
                .faces
                .iter()
                .filter(|face| face.crop.is_some())
                .count();
            let said = &self.said[from * EXPRESSIONS..(from + asked) * EXPRESSIONS];
            from += asked;
            match tell(&self.card, &mut faces.faces, said) {
                Ok(()) => {
                    self.classified += asked as u64;
                    self.without_crop += (faces.faces.len() - asked) as u64;
                    out.emit(envelope, faces);
                }
                Err(error) => out.fail(&envelope, error),
            }
        }
        self.packets = packets;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ActorError> {
        let Self {
            node,
            classified,
            without_crop,
            ..
        } = self;
        if *without_crop > 0 && *classified == 0 {
            tracing::warn!(%node, without_crop, "no face had a crop; is there a `crop_faces` before this node?");
        } else if *without_crop > 0 {
            tracing::info!(%node, without_crop, "faces without a crop were not classified");
        }
        Ok(())
    }
}

fn load(settings: &ClassifyExpressionSettings) -> Result<Model, ActorError> {
    let model = ModelCard::load(&settings.model)?;
    match &model.weights {
        Weights::Onnx { .. } => Ok(model),
        Weights::Safetensors { path, architecture } => Err(ClassifyExpressionError::NotOnnx {
            path: path.clone(),
            architecture: architecture.clone(),
        }
        .into()),
    }
}

/// Fills in what the model said about the faces that have a crop, in their order.
fn tell(card: &ModelCard, faces: &mut [Face], said: &[f32]) -> Result<(), ScoreError> {
    let mut said = said.chunks_exact(EXPRESSIONS);
    for face in faces {
        let answer = face.crop.as_ref().and_then(|_| said.next());
        let scores = answer.map(|raw| to_probabilities(card, raw)).transpose()?;
        face.probabilities = scores;
        face.raw_label = scores.as_ref().map(Expression::most_probable);
    }
    Ok(())
}

impl ClassifyExpression {
    /// The error of a packet with a crop that is not for this model.
    fn strange_crop(&self, faces: &Faces) -> Option<ClassifyExpressionError> {
        let expected = self.card.input.len();
        let crops = faces.faces.iter().filter_map(|face| face.crop.as_ref());
        let mut lengths = crops.map(|crop| crop.values.len());
        lengths
            .find(|&given| given != expected)
            .map(|given| ClassifyExpressionError::Crop { given, expected })
    }

    /// Runs the model on the crops of all faces; `said` has its answers in their order then.
    fn ask<'a>(&mut self, faces: impl Iterator<Item = &'a Face>) -> Result<(), ActorError> {
        self.said.clear();
        self.values.clear();
        let most = self.fixed_batch.unwrap_or(MOST_AT_ONCE);
        let mut gathered = 0;
        for crop in faces.filter_map(|face| face.crop.as_ref()) {
            self.values.extend_from_slice(&crop.values);
            gathered += 1;
            if gathered == most {
                self.run(gathered)?;
                gathered = 0;
            }
        }
        if gathered > 0 {
            self.run(gathered)?;
        }
        Ok(())
    }

    /// Runs the model once on the inputs gathered in `values` and empties them. A model with a batch dimension of its own
    /// gets zeros in the place of faces that are not there; what it says of them is left out.
    fn run(&mut self, faces: usize) -> Result<(), ActorError> {
        let [a, b, c] = self.card.input.shape();
        let batch = self.fixed_batch.unwrap_or(faces);
        self.values.resize(batch * self.card.input.len(), 0.0);
        let outputs = self.session.run([TensorIn {
            shape: &[batch, a, b, c],
            values: &self.values,
        }])?;
        let answer = outputs.get(self.output)?.values;
        if answer.len() != batch * EXPRESSIONS {
            return Err(ClassifyExpressionError::Count {
                given: answer.len(),
                faces: batch,
            }
            .into());
        }
        self.said.extend_from_slice(&answer[..faces * EXPRESSIONS]);
        self.values.clear();
        Ok(())
    }
}

/// Where a model and its card meet.
#[derive(Debug, PartialEq, Eq)]
struct Fit {
    output: usize,
    /// The model's batch dimension, unless it leaves it open.
    batch: Option<usize>,
}

/// What the card says and what the model has instead, both in words.
type Disagreement = (String, String);

fn fit(
    card: &ModelCard,
    inputs: &[TensorInfo],
    outputs: &[TensorInfo],
) -> Result<Fit, Disagreement> {
    Ok(Fit {
        batch: fit_input(card, inputs)?,
        output: fit_output(card, outputs)?,
    })
}

fn fit_input(card: &ModelCard, inputs: &[TensorInfo]) -> Result<Option<usize>, Disagreement> {
    let [a, b, c] = card.input.shape();
    let said = format!("input {}[N,{a},{b},{c}] F32", card.input.name);
    let disagreement = || {
        let (s, list) = listed(inputs);
        (said.clone(), format!("input{s} {list}"))
    };
    let [input] = inputs else {
        return Err(disagreement());
    };
    let [batch, sides @ ..] = input.shape.as_slice() else {
        return Err(disagreement());
    };
    let agrees = input.name == card.input.name
        && input.element == ElementType::F32
        && sides.len() == 3
        && sides
            .iter()
            .zip([a, b, c])
            .all(|(side, said)| side.is_none_or(|side| side == said))
        && *batch != Some(0);
    if agrees {
        Ok(*batch)
    } else {
        Err(disagreement())
    }
}

fn fit_output(card: &ModelCard, outputs: &[TensorInfo]) -> Result<usize, Disagreement> {
    let disagreement = || {
        let (s, list) = listed(outputs);
        let said = format!("output {}[N,{EXPRESSIONS}] F32", card.output.name);
        (said, format!("output{s} {list}"))
    };
    let named = outputs
        .iter()
        .position(|output| output.name == card.output.name);
    let at = named.ok_or_else(disagreement)?;
    let output = &outputs[at];
    // [N, 7], or with sides of 1 behind it ([N, 7, 1, 1]).
    let agrees = output.element == ElementType::F32
        && match output.shape.as_slice() {
            [_, classes, ones @ ..] => {
                classes.is_none_or(|classes| classes == EXPRESSIONS)
                    && ones.iter().all(|side| side.is_none_or(|side| side == 1))
            }
            _ => false,
        };
    if agrees { Ok(at) } else { Err(disagreement()) }
}

fn listed(tensors: &[TensorInfo]) -> (&'static str, String) {
    let names: Vec<_> = tensors.iter().map(ToString::to_string).collect();
    (if tensors.len() == 1 { "" } else { "s" }, names.join(", "))
}
