//! A loaded model folder. Owns how its card interprets outputs, and the provenance of its weights.

use std::path::{Path, PathBuf};

use fermata_learn::folds::Learnt;
use fermata_vision::card::ModelCard;
use fermata_vision::scores::to_logits;
use serde_json::Value;

use crate::model_error::ModelError;
use crate::network_backend::NetworkBackend;

/// A loaded model, used only on the thread that loaded it.
pub struct LoadedModel {
    folder: PathBuf,
    card: ModelCard,
    provenance: Option<Value>,
    backend: NetworkBackend,
}

impl LoadedModel {
    /// Loads a folder for a device (`cpu`, `cuda:N`) and a number of threads. `scale` is that of an ArcFace head, if
    /// its file does not contain it.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn load(
        folder: &Path,
        scale: Option<f64>,
        device: &str,
        threads: u32,
    ) -> Result<Self, ModelError> {
        let model = ModelCard::load(folder)?;
        let card = model.card.clone();
        let (backend, provenance) = NetworkBackend::load(model, scale, device, threads)?;
        Ok(Self {
            folder: folder.to_owned(),
            card,
            provenance,
            backend,
        })
    }

    /// Returns the model's card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Returns what the model was trained on, if its weights record it.
    pub fn learnt(&self) -> Option<Learnt> {
        Learnt::of(self.provenance.as_ref()?)
    }

    /// Returns `onnxruntime` or `libtorch`.
    pub fn backend(&self) -> &'static str {
        self.backend.name()
    }

    /// Returns the batch size: `wanted`, or the fixed one of the graph.
    pub fn batch(&self, wanted: usize) -> usize {
        self.backend.batch(wanted)
    }

    /// Appends the logits of consecutive `inputs`, seven each, in the canonical class order and not divided by the
    /// card's temperature. At most `wanted` inputs are computed at once.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn logits(
        &mut self,
        inputs: &[f32],
        wanted: usize,
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let len = self.card.input.len();
        let [a, b, c] = self.card.input.shape();
        for inputs in inputs.chunks(self.batch(wanted) * len) {
            let rows = inputs.len() / len;
            let said = self.backend.run(&[rows, a, b, c], inputs)?;
            for raw in said.chunks(said.len().div_ceil(rows).max(1)) {
                let logits = to_logits(&self.card, raw).map_err(|reason| ModelError::Score {
                    folder: self.folder.clone(),
                    reason,
                })?;
                out.extend(logits);
            }
        }
        Ok(())
    }
}
