//! The predictions to evaluate: a model's or an ensemble's for a split's rows, and for those that a temperature is
//! fitted on.

use anyhow::{anyhow, bail};
use fermata::evaluate_cli::EvaluateArguments;
use fermata_learn::manifest::Split;
use fermata_learn::predictions::Predictions;
use serde_json::Value;

/// The predictions to evaluate.
pub(super) struct Answer {
    pub(super) predictions: Predictions,
    /// The predictions to fit a temperature on.
    pub(super) validation: Option<Predictions>,
    /// Which model or ensemble predicted which rows.
    pub(super) source: Option<Value>,
}

/// Returns the split to evaluate, and the one to fit a temperature on.
pub(super) fn splits(arguments: &EvaluateArguments) -> anyhow::Result<(Split, Option<Split>)> {
    let split: Split = arguments.split.parse().map_err(anyhow::Error::msg)?;
    let fitted_on = arguments.calibrate_on.as_ref().map(|name| {
        let split = name.to_string_lossy().parse::<Split>();
        split.map_err(|error| anyhow!("--calibrate-on: {error}"))
    });
    let fitted_on = fitted_on.transpose()?;
    if fitted_on == Some(split) {
        bail!(
            "--calibrate-on names the rows that are evaluated: a temperature is never fitted on those"
        );
    }
    Ok((split, fitted_on))
}
