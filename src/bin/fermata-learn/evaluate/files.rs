//! Names of the files of an evaluation that others look for.

/// What was measured, for `--predictions` and `--compare`.
pub(super) const PREDICTIONS: &str = "predictions.npz";

/// What was found; written last.
pub(super) const METRICS: &str = "metrics.json";
