//! A model folder in ONNX Runtime. Owns the check that card and graph agree, and the padding of fixed batches; inputs
//! come from the card's preprocessing, and the meaning of the outputs is up to the caller.

use std::path::{Path, PathBuf};

use fermata_vision::card::{CARD_FILE, CardError, Model, OutputKind, OutputSpec};
use fermata_vision::face::EXPRESSIONS;
use fermata_vision::{ModelCard, Weights};

use crate::session::{Session, SessionError, SessionSpec};
use crate::tensor::{ElementType, TensorIn, TensorInfo};

/// Why a model folder cannot be run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum CardModelError {
    /// An error of the card or the weights file.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The weights are for another backend.
    #[error(
        "{} holds the parameters of {architecture}, which ONNX Runtime cannot run; export it to model.onnx and drop `architecture` from its card",
        path.display()
    )]
    NotOnnx { path: PathBuf, architecture: String },
    /// Card and graph disagree.
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
    /// An error of ONNX Runtime, the device, or the model itself.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The values are not inputs of this model.
    #[error("{given} values were given for {rows} inputs of {} values each to model {}", expected, path.display())]
    Values {
        path: PathBuf,
        given: usize,
        rows: usize,
        expected: usize,
    },
    /// The number of computed values does not match the inputs.
    #[error("model {} returned {given} values for {rows} inputs, not {expected} for each", path.display())]
    Count {
        path: PathBuf,
        given: usize,
        rows: usize,
        expected: usize,
    },
}

/// A loaded model whose card and graph agree, run by one thread at a time.
#[derive(Debug)]
pub struct CardModel {
    card: ModelCard,
    session: Session,
    fit: Fit,
    /// Inputs of an incomplete batch, padded with zeros.
    padded: Vec<f32>,
}

impl CardModel {
    /// Reads a folder whose weights are for ONNX Runtime, without loading the model.
    ///
    /// # Errors
    /// See [`CardModelError`].
    pub fn read(folder: &Path) -> Result<Model, CardModelError> {
        let model = ModelCard::load(folder)?;
        onnx_file(&model.weights)?;
        Ok(model)
    }

    /// Checks that a folder has a card and weights for ONNX Runtime. The contents of the weights are checked when they
    /// are read.
    ///
    /// # Errors
    /// See [`CardModelError`].
    pub fn find(folder: &Path) -> Result<(), CardModelError> {
        let model = ModelCard::find(folder)?;
        onnx_file(&model.weights).map(drop)
    }

    /// Loads a model that was read.
    ///
    /// # Errors
    /// See [`CardModelError`].
    pub fn load(model: Model, spec: &SessionSpec) -> Result<Self, CardModelError> {
        let path = onnx_file(&model.weights)?;
        let session = Session::load(path, spec)?;
        let fit = fit(&model.card, session.inputs(), session.outputs());
        let fit = fit.map_err(|(card, found)| CardModelError::Contradiction {
            folder: model.folder,
            path: path.to_owned(),
            card,
            model: found,
        })?;
        Ok(Self {
            card: model.card,
            session,
            fit,
            padded: Vec::new(),
        })
    }

    /// Returns the model's card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Returns the batch size if the graph fixes it.
    pub fn fixed_batch(&self) -> Option<usize> {
        self.fit.batch
    }

    /// Runs the model once on `rows` inputs that are consecutive in `values`, and appends seven outputs for each to
    /// `outputs`. A graph with a fixed batch dimension takes at most that many; missing inputs are padded with zeros,
    /// and their outputs are dropped.
    ///
    /// # Errors
    /// Fails if the values are not inputs of the model, or if it fails; `outputs` is unchanged then.
    pub fn run(
        &mut self,
        rows: usize,
        values: &[f32],
        outputs: &mut Vec<f32>,
    ) -> Result<(), CardModelError> {
        let [a, b, c] = self.card.input.shape();
        let expected = self.card.input.len();
        let batch = self.fit.batch.unwrap_or(rows);
        if Some(values.len()) != rows.checked_mul(expected) || rows > batch {
            return Err(CardModelError::Values {
                path: self.session.path().to_owned(),
                given: values.len(),
                rows: rows.min(batch),
                expected,
            });
        }
        let values = if rows < batch {
            self.padded.clear();
            self.padded.extend_from_slice(values);
            self.padded.resize(batch * expected, 0.0);
            &self.padded
        } else {
            values
        };
        let computed = self.session.run([TensorIn {
            shape: &[batch, a, b, c],
            values,
        }])?;
        let answer = computed.get(self.fit.output)?.values;
        let width = self.card.output.len();
        if answer.len() != batch * width {
            return Err(CardModelError::Count {
                path: computed.path().to_owned(),
                given: answer.len(),
                rows: batch,
                expected: width,
            });
        }
        for row in answer[..rows * width].chunks_exact(width) {
            keep_expressions(&self.card.output, row, outputs);
        }
        Ok(())
    }
}

/// Appends the outputs for one input without the classes that the card ignores; probabilities keep the sum that they
/// had with those classes.
fn keep_expressions(output: &OutputSpec, row: &[f32], kept_values: &mut Vec<f32>) {
    if output.ignored.is_empty() {
        return kept_values.extend_from_slice(row);
    }
    let from = kept_values.len();
    let values = row.iter().enumerate();
    let kept = values.filter(|(position, _)| !output.ignored.contains(position));
    kept_values.extend(kept.map(|(_, value)| value));
    if output.kind == OutputKind::Probabilities {
        let kept: f32 = kept_values[from..].iter().sum();
        let all: f32 = row.iter().sum();
        // Only ignored classes have a probability: all expressions are equally unlikely.
        let share = |value: f32| {
            if kept > 0.0 {
                value * all / kept
            } else {
                all / EXPRESSIONS as f32
            }
        };
        for value in &mut kept_values[from..] {
            *value = share(*value);
        }
    }
}

fn onnx_file(weights: &Weights) -> Result<&Path, CardModelError> {
    match weights {
        Weights::Onnx { path } => Ok(path),
        Weights::Safetensors { path, architecture } => Err(CardModelError::NotOnnx {
            path: path.clone(),
            architecture: architecture.clone(),
        }),
    }
}

/// How a model matches its card.
#[derive(Debug, PartialEq, Eq)]
struct Fit {
    output: usize,
    /// The model's batch dimension, unless it is dynamic.
    batch: Option<usize>,
}

/// What the card says and what the model has instead, both as text.
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
    let kept_values = format!("input {}[N,{a},{b},{c}] F32", card.input.name);
    let disagreement = || {
        let (s, list) = listed(inputs);
        (kept_values.clone(), format!("input{s} {list}"))
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
            .all(|(side, kept_values)| side.is_none_or(|side| side == kept_values))
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
        let kept_values = format!("output {}[N,{}] F32", card.output.name, card.output.len());
        (kept_values, format!("output{s} {list}"))
    };
    let named = outputs
        .iter()
        .position(|output| output.name == card.output.name);
    let at = named.ok_or_else(disagreement)?;
    let output = &outputs[at];
    // [N, classes], or followed by sides of 1 ([N, classes, 1, 1]).
    let agrees = output.element == ElementType::F32
        && match output.shape.as_slice() {
            [_, classes, ones @ ..] => {
                classes.is_none_or(|classes| classes == card.output.len())
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

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "\
input: {name: x, size: [7, 1], layout: nchw, colour: gray}
interpolation: nearest
scaling: []
output: {name: y, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}
licence: MIT
source: a test
sha256: '0000000000000000000000000000000000000000000000000000000000000000'
";

    fn card() -> ModelCard {
        ModelCard::parse(CARD, Path::new(CARD_FILE)).unwrap()
    }

    fn tensor(name: &str, shape: &[Option<usize>]) -> TensorInfo {
        TensorInfo {
            name: name.to_owned(),
            shape: shape.to_vec(),
            element: ElementType::F32,
        }
    }

    #[test]
    fn an_eighth_class_is_left_out_and_the_rest_sums_to_what_it_did() {
        let text = CARD.replace("happy, sad", "happy, contempt, sad");
        let logits = ModelCard::parse(&text, Path::new(CARD_FILE)).unwrap();
        assert_eq!(
            (logits.output.ignored.clone(), logits.output.len()),
            (vec![4], 8)
        );
        let again = ModelCard::parse(&logits.to_yaml(), Path::new(CARD_FILE)).unwrap();
        assert_eq!(again, logits, "written as it was read");
        let outputs = [tensor("y", &[None, Some(8)])];
        assert_eq!(fit_output(&logits, &outputs), Ok(0));
        let row = [0.1, 0.0, 0.0, 0.3, 0.5, 0.1, 0.0, 0.0];
        let mut said = Vec::new();
        keep_expressions(&logits.output, &row, &mut said);
        assert_eq!(said, [0.1, 0.0, 0.0, 0.3, 0.1, 0.0, 0.0], "logits stay");
        let text = text.replace("logits", "probabilities");
        let card = ModelCard::parse(&text, Path::new(CARD_FILE)).unwrap();
        keep_expressions(&card.output, &row, &mut said);
        let shares = [0.2, 0.0, 0.0, 0.6, 0.2, 0.0, 0.0];
        assert!(
            said[7..]
                .iter()
                .zip(shares)
                .all(|(is, should)| (is - should).abs() < 1e-6)
        );
        said.clear();
        keep_expressions(
            &card.output,
            &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
            &mut said,
        );
        assert!((said.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn outputs_must_have_seven_values_for_each_input() {
        let other = tensor("features", &[None, Some(512)]);
        for good in [
            &[None, Some(7)][..],
            &[None, None],
            &[Some(1), Some(7), Some(1), Some(1)],
        ] {
            let outputs = [other.clone(), tensor("y", good)];
            assert_eq!(fit_output(&card(), &outputs), Ok(1));
        }
        for bad in [&[None, Some(8)][..], &[Some(7)], &[None, Some(7), Some(2)]] {
            let (said, found) = fit_output(&card(), &[tensor("y", bad)]).unwrap_err();
            assert!(said.contains("y[N,7]") && found.contains("y["), "{found}");
        }
    }

    #[test]
    fn a_graph_may_leave_sides_open_and_insist_on_a_batch() {
        let fits = |shape: &[Option<usize>]| fit_input(&card(), &[tensor("x", shape)]);
        assert_eq!(fits(&[None, Some(1), Some(1), Some(7)]), Ok(None));
        assert_eq!(fits(&[None, Some(1), None, None]), Ok(None));
        assert_eq!(fits(&[Some(3), Some(1), Some(1), Some(7)]), Ok(Some(3)));
        for bad in [
            &[Some(0), Some(1), Some(1), Some(7)][..],
            &[None, Some(3), Some(1), Some(7)],
            &[None, Some(1), Some(7)],
            &[],
        ] {
            let (said, found) = fits(bad).unwrap_err();
            assert!(
                said.contains("x[N,1,1,7]") && found.contains("x["),
                "{found}"
            );
        }
    }
}
