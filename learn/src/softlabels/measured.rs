//! Metrics of ensemble and teachers on view 0, by split: `ensemble_metrics.json`.

use std::collections::BTreeMap;

use fermata_vision::Expression;
use fermata_vision::face::EXPRESSIONS;
use serde::Serialize;

use super::files::SoftlabelsError;
use crate::manifest::Split;
use crate::metrics::Metrics;
use crate::predictions::Predictions;

/// Name of the ensemble beside its teachers in `ensemble_metrics.json`; a teacher must not be called that.
pub const ENSEMBLE: &str = "ensemble";

/// Logits of view 0 and labels, for the rows of one split and one model.
#[derive(Default)]
pub(crate) struct Gathered {
    logits: Vec<f64>,
    labels: Vec<i64>,
}

impl Gathered {
    pub(crate) fn push(&mut self, logits: &[f32], label: Expression) {
        let logits = logits.iter().take(EXPRESSIONS);
        self.logits.extend(logits.copied().map(f64::from));
        self.labels.push(label.index() as i64);
    }

    fn metrics(self) -> Result<Metrics, SoftlabelsError> {
        let classes = Expression::ALL.map(|class| class.to_string()).to_vec();
        let predictions = Predictions::new(classes, self.logits, &self.labels)?;
        Ok(Metrics::of(&predictions))
    }
}

/// Metrics by split, then by model: [`ENSEMBLE`] or a teacher's name.
#[derive(Default, Serialize)]
pub(crate) struct EnsembleMetrics {
    /// View that was measured.
    view: u32,
    by_split: BTreeMap<Split, BTreeMap<String, Metrics>>,
}

impl EnsembleMetrics {
    /// Adds the rows gathered for one model.
    pub(crate) fn add(
        &mut self,
        model: &str,
        gathered: BTreeMap<Split, Gathered>,
    ) -> Result<(), SoftlabelsError> {
        for (split, gathered) in gathered {
            let of_split = self.by_split.entry(split).or_default();
            of_split.insert(model.to_owned(), gathered.metrics()?);
        }
        Ok(())
    }
}
