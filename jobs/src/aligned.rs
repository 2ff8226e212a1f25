//! The alignment of softlabels: the models and settings they depend on, whether one machine computes them or many.

use std::collections::BTreeMap;

use fermata_engine::ActorError;
use fermata_learn::softlabels::{Alignment, Teacher};
use fermata_vision::Expression;

use crate::loaded_model::LoadedModel;
use crate::payload::{Asked, AskedViews};

/// Describes what computes a teacher's logits: its models, the first one followed by those of other folds.
pub fn asked(models: &[LoadedModel], views: AskedViews) -> Asked {
    Asked {
        models: models.iter().map(|model| model.card().clone()).collect(),
        learnt: models.iter().map(LoadedModel::learnt).collect(),
        backend: models[0].backend(),
        views,
    }
}

/// Returns the alignment of an ensemble. `weights` holds all teachers; `asked` is in the order of their names; a
/// teacher without an entry in `temperatures` uses its card's temperature.
///
/// # Errors
/// Fails if teachers computed different views, or a teacher has no single temperature.
pub fn align(
    weights: &BTreeMap<String, f64>,
    temperatures: &BTreeMap<String, f64>,
    asked: &[&Asked],
    manifest_sha256: &str,
) -> Result<Alignment, ActorError> {
    let first = asked.first().ok_or("there are no teachers")?;
    let mut teachers = Vec::new();
    for ((name, &weight), asked) in weights.iter().zip(asked) {
        if asked.views != first.views {
            return Err(format!(
                "the teacher {name} computes other views than the first: views, seed and augmentation must be the same for all"
            )
            .into());
        }
        teachers.push(Teacher {
            name: name.clone(),
            weight,
            temperature: temperature(temperatures, name, asked)?,
            backend: asked.backend.to_owned(),
            models: asked.models.clone(),
            learnt: asked.learnt.clone(),
        });
    }
    Ok(Alignment {
        classes: Expression::ALL.to_vec(),
        manifest_sha256: manifest_sha256.to_owned(),
        split: None,
        views: first.views.views,
        seed: first.views.seed,
        augmentation: first.views.augmentation,
        teachers,
    })
}

fn temperature(
    temperatures: &BTreeMap<String, f64>,
    name: &str,
    asked: &Asked,
) -> Result<f64, ActorError> {
    if let Some(&temperature) = temperatures.get(name) {
        return Ok(temperature);
    }
    let temperature = asked.models[0].temperature;
    if asked
        .models
        .iter()
        .any(|card| card.temperature != temperature)
    {
        return Err(format!(
            "the cards of the models of the teacher {name} have different temperatures: give it one in `temperatures`"
        )
        .into());
    }
    Ok(temperature)
}
