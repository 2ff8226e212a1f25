//! Reads the predictions of the ensemble that wrote softlabels.

use std::path::Path;

use fermata::evaluate_cli::EvaluateArguments;
use fermata_learn::softlabels::Softlabels;
use serde_json::json;

use super::answer::{Answer, splits};

/// Reads the ensemble's predictions from a softlabel folder.
pub(super) fn read(folder: &Path, arguments: &EvaluateArguments) -> anyhow::Result<Answer> {
    let (split, fitted_on) = splits(arguments)?;
    let softlabels = Softlabels::open(folder)?;
    let validation = fitted_on.map(|split| softlabels.predictions(split));
    Ok(Answer {
        predictions: softlabels.predictions(split)?,
        validation: validation.transpose()?,
        source: Some(json!({
            "softlabels_sha256": softlabels.alignment_sha256(),
            "manifest_sha256": softlabels.alignment().manifest_sha256,
            "split": split.to_string(),
        })),
    })
}
