//! What an evaluation says: metrics as they are and with a temperature, how sure they are, and where they come from; `metrics.json`.
//! Owns what is in the file. Formulas are in [`crate::metrics`], pictures in [`crate::charts`].

use serde::{Deserialize, Serialize};

use crate::calibration::Temperature;
use crate::metrics::{
    Bin, Comparison, Interval, Metrics, NotPaired, compare, intervals, reliability,
};
use crate::predictions::Predictions;

/// Samples of the bootstrap.
const SAMPLES: usize = 1000;
/// Confidence of the intervals.
const CONFIDENCE: f64 = 0.95;
/// Seed of the bootstrap: the same predictions give the same file.
const SEED: u64 = 0;

/// An evaluation of one set of predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of rows.
    pub rows: usize,
    /// Classes in the order of the logits.
    pub classes: Vec<String>,
    /// Logits as they are.
    pub raw: Measured,
    /// Logits divided by a temperature that was fitted on other rows, if there is one.
    pub scaled: Option<Measured>,
    /// That temperature.
    pub temperature: Option<Temperature>,
    /// Where the predictions come from, if they were made here: model, manifest and split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<serde_json::Value>,
    /// Beside another model on the same rows: this one minus the other.
    pub comparison: Option<Comparison>,
}

/// Metrics, their intervals (95 %, bootstrap of 1,000 samples) and the reliability diagram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The metrics.
    pub metrics: Metrics,
    /// How sure they are.
    pub intervals: Vec<Interval>,
    /// The diagram's bins.
    pub reliability: Vec<Bin>,
}

impl Measured {
    fn of(predictions: &Predictions) -> Self {
        Self {
            metrics: Metrics::of(predictions),
            intervals: intervals(predictions, SAMPLES, CONFIDENCE, SEED),
            reliability: reliability(predictions),
        }
    }
}

impl Evaluation {
    /// Measures predictions; with a temperature also what they are when divided by it, and beside another model's if there is one.
    ///
    /// # Errors
    /// The other model's predictions are not of the same rows.
    pub fn of(
        predictions: &Predictions,
        temperature: Option<Temperature>,
        other: Option<&Predictions>,
    ) -> Result<Self, NotPaired> {
        let comparison = other
            .map(|other| compare(other, predictions, SAMPLES, CONFIDENCE, SEED))
            .transpose()?;
        let scaled = temperature
            .as_ref()
            .map(|fit| Measured::of(&predictions.divided_by(fit.value)));
        Ok(Self {
            rows: predictions.len(),
            classes: predictions.classes().to_vec(),
            raw: Measured::of(predictions),
            scaled,
            temperature,
            source: None,
            comparison,
        })
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("numbers and names are JSON");
        text.push('\n');
        text
    }
}
