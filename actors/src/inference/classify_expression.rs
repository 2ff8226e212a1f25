//! Classifies facial expressions with an ONNX model, many faces at a time. The model card defines inputs and outputs;
//! crops come from `crop_faces`; temporal smoothing comes later.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use fermata_engine::{Actor, ActorError, End, Envelope, Input, Outputs, Ports, Setup};
use fermata_onnx::{CardModel, Device, Precision, SessionSpec};
use fermata_vision::card::model_files;
use fermata_vision::face::EXPRESSIONS;
use fermata_vision::scores::{ScoreError, to_probabilities};
use fermata_vision::{Expression, Face, ModelCard};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::Faces;

#[cfg(test)]
mod tests;

/// Maximum faces per run of a model with a dynamic batch dimension; more take several runs, so that memory stays
/// bounded.
const MOST_AT_ONCE: usize = 64;

/// Classifies each face that has a crop. Takes `Faces`, emits `Faces` with `probabilities` in the canonical order and
/// `raw_label`; stateless between packets. With `batch:` the faces of many packets go through the model together.
///
/// A face without a crop passes without probabilities. A face for which the model returns NaN fails its packet.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassifyExpressionSettings {
    /// Folder with `model.onnx` and `card.yaml`: the same as that of `crop_faces`.
    pub model: PathBuf,
    /// Device that the model runs on: `cpu`, `openvino` (the processor, through OpenVINO; `make setup-openvino`),
    /// `cuda` or `cuda:N`. A device that is not available is an error. Default: `cpu`.
    #[serde(default)]
    pub device: Device,
    /// Number format that the model computes in: `f32`, or `bf16` with `device: openvino` on a processor that supports
    /// it. Default: `f32`.
    #[serde(default)]
    pub precision: Precision,
    /// Threads within an operator of the model; for more throughput prefer `batch` and `replicas`. Default: 1.
    #[serde(default = "one_thread")]
    pub threads: NonZeroUsize,
}

fn one_thread() -> NonZeroUsize {
    NonZeroUsize::MIN
}

impl ClassifyExpressionSettings {
    fn session(&self) -> SessionSpec {
        SessionSpec {
            device: self.device,
            precision: self.precision,
            threads: self.threads.get(),
        }
    }
}

/// Why faces cannot be classified.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ClassifyExpressionError {
    /// A crop made for another model.
    #[error(
        "a face has a crop of {given} values, but the model takes {expected}; `crop_faces` must name the same model"
    )]
    Crop { given: usize, expected: usize },
}

/// See `ClassifyExpressionSettings`.
pub struct ClassifyExpression {
    node: String,
    model: CardModel,
    /// Inputs of a run; kept to reuse its allocation.
    values: Vec<f32>,
    /// Outputs of the model, seven values for each face; kept to reuse its allocation.
    said: Vec<f32>,
    /// Packets of a batch; empty between calls, kept to reuse its allocation.
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
        settings.device.computes_in(settings.precision)?;
        CardModel::find(&settings.model)?;
        Ok(())
    }

    fn reads(settings: &ClassifyExpressionSettings) -> Vec<PathBuf> {
        model_files(&settings.model).to_vec()
    }

    fn try_out(settings: &ClassifyExpressionSettings) -> Result<(), ActorError> {
        CardModel::load(CardModel::read(&settings.model)?, &settings.session())?;
        Ok(())
    }

    fn create(settings: ClassifyExpressionSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            node: setup.node.clone(),
            model: CardModel::load(CardModel::read(&settings.model)?, &settings.session())?,
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
            match tell(self.model.card(), &mut faces.faces, said) {
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

    fn finish(&mut self, _: End) -> Result<(), ActorError> {
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

/// Assigns the model's outputs to the faces that have a crop, in their order.
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
    /// Returns an error if a packet has a crop that was not made for this model.
    fn strange_crop(&self, faces: &Faces) -> Option<ClassifyExpressionError> {
        let expected = self.model.card().input.len();
        let crops = faces.faces.iter().filter_map(|face| face.crop.as_ref());
        let mut lengths = crops.map(|crop| crop.values.len());
        lengths
            .find(|&given| given != expected)
            .map(|given| ClassifyExpressionError::Crop { given, expected })
    }

    /// Runs the model on the crops of all faces; `said` then contains the outputs in the same order.
    fn ask<'a>(&mut self, faces: impl Iterator<Item = &'a Face>) -> Result<(), ActorError> {
        self.said.clear();
        self.values.clear();
        let most = self.model.fixed_batch().unwrap_or(MOST_AT_ONCE);
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

    /// Runs the model once on the inputs gathered in `values` and clears them.
    fn run(&mut self, faces: usize) -> Result<(), ActorError> {
        self.model.run(faces, &self.values, &mut self.said)?;
        self.values.clear();
        Ok(())
    }
}
