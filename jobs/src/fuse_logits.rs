//! `fuse_logits`: computes a row's ensemble logits Σ w_k z_k / T_k from its teachers' logits.

use std::collections::BTreeMap;
use std::sync::Arc;

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use fermata_learn::calibration::add_fused;
use fermata_learn::softlabels::{Alignment, ENSEMBLE, Scores};
use fermata_vision::face::EXPRESSIONS;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::aligned::align;
use crate::payload::{Asked, Failure, Fused, ManifestRow, Scored};

/// Fuses the logits of several teachers, Σ w_k z_k / T_k, and keeps theirs too. It has one input per teacher; the
/// teachers are ordered by name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FuseLogitsSettings {
    /// w_k by input, at least 0.
    pub weights: BTreeMap<String, f64>,
    /// T_k by input, above 0. Default: the temperature in the model's card.
    #[serde(default)]
    pub temperatures: BTreeMap<String, f64>,
}

/// See `FuseLogitsSettings`.
pub struct FuseLogits {
    settings: FuseLogitsSettings,
    /// The alignment of the last teachers, which are compared by address.
    alignment: Option<(Vec<Arc<Asked>>, Arc<Alignment>)>,
}

impl FuseLogits {
    fn alignment(&mut self, scored: &[Arc<Scored>]) -> Result<Arc<Alignment>, ActorError> {
        if let Some((asked, alignment)) = &self.alignment
            && asked
                .iter()
                .zip(scored)
                .all(|(asked, scored)| Arc::ptr_eq(asked, &scored.asked))
        {
            return Ok(Arc::clone(alignment));
        }
        let alignment = Arc::new(self.align(scored)?);
        let asked = scored.iter().map(|scored| Arc::clone(&scored.asked));
        self.alignment = Some((asked.collect(), Arc::clone(&alignment)));
        Ok(alignment)
    }

    fn align(&self, scored: &[Arc<Scored>]) -> Result<Alignment, ActorError> {
        let FuseLogitsSettings {
            weights,
            temperatures,
        } = &self.settings;
        let asked: Vec<&Asked> = scored.iter().map(|scored| &*scored.asked).collect();
        let manifest = &scored[0].row.manifest().sha256;
        align(weights, temperatures, &asked, manifest)
    }
}

fn fuse(alignment: &Alignment, scored: &[Arc<Scored>]) -> Result<Scores, Failure> {
    let views = alignment.views as usize;
    let mut fused = vec![0f64; views * EXPRESSIONS];
    let mut teachers = vec![0f32; views * scored.len() * EXPRESSIONS];
    for (number, (teacher, scored)) in alignment.teachers.iter().zip(scored).enumerate() {
        let logits = scored.logits.as_ref().map_err(Failure::clone)?;
        let values = logits.iter().map(|&logit| f64::from(logit));
        add_fused(&mut fused, values, teacher.weight, teacher.temperature);
        for (view, logits) in logits.chunks_exact(EXPRESSIONS).enumerate() {
            let at = (view * alignment.teachers.len() + number) * EXPRESSIONS;
            teachers[at..][..EXPRESSIONS].copy_from_slice(logits);
        }
    }
    Ok(Scores {
        logits: fused.into_iter().map(|logit| logit as f32).collect(),
        teachers,
        seen: scored.iter().map(|scored| scored.seen).collect(),
    })
}

impl Actor for FuseLogits {
    const NAME: &'static str = "fuse_logits";
    type Settings = FuseLogitsSettings;

    fn ports(settings: &FuseLogitsSettings) -> Ports {
        let names = settings.weights.keys();
        let ports = names.fold(Ports::new(), |ports, name| ports.input::<Scored>(name));
        ports.output::<Fused>("out").keeps_streams_apart()
    }

    fn check(settings: &FuseLogitsSettings) -> Result<(), ActorError> {
        let FuseLogitsSettings {
            weights,
            temperatures,
        } = settings;
        if weights.is_empty() {
            return Err("weights is empty; expected a weight for each teacher".into());
        }
        if weights.contains_key(ENSEMBLE) {
            return Err(format!(
                "weights.{ENSEMBLE}: a teacher cannot be called {ENSEMBLE}, the name under which all of them together are measured; give this input another name"
            )
            .into());
        }
        for (name, &weight) in weights {
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(format!("weights.{name} is {weight}; expected 0 or more").into());
            }
        }
        if weights.values().sum::<f64>() <= 0.0 {
            return Err("all weights are 0; expected one above 0".into());
        }
        for (name, &temperature) in temperatures {
            if !weights.contains_key(name) {
                return Err(format!(
                    "temperatures.{name}: there is no teacher of this name in weights"
                )
                .into());
            }
            if !(temperature.is_finite() && temperature > 0.0) {
                return Err(
                    format!("temperatures.{name} is {temperature}; expected above 0").into(),
                );
            }
        }
        Ok(())
    }

    fn create(settings: FuseLogitsSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            settings,
            alignment: None,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let ports = 0..self.settings.weights.len();
        let scored: Option<Vec<Arc<Scored>>> = ports.map(|port| input.take_port(port)).collect();
        let scored = scored.ok_or(
            "the logits of a teacher are missing for the row; a join of teachers requires all",
        )?;
        let row: ManifestRow = scored[0].row.clone();
        let alignment = self.alignment(&scored)?;
        let fused = Fused {
            scores: fuse(&alignment, &scored),
            row,
            alignment,
        };
        out.emit::<Fused>(input.envelope, fused);
        Ok(())
    }
}
