//! The file names of an evaluation.

/// The evaluated predictions, for `--predictions` and `--compare`.
pub(super) const PREDICTIONS: &str = "predictions.npz";

/// The results; written last.
pub(super) const METRICS: &str = "metrics.json";

pub(super) const PER_CLASS: &str = "per_class.csv";
pub(super) const CONFUSION: &str = "confusion.svg";
pub(super) const RELIABILITY: &str = "reliability.svg";
/// Reliability with a temperature applied.
pub(super) const RELIABILITY_SCALED: &str = "reliability_scaled.svg";

/// All of them.
pub(super) const FILES: [&str; 6] = [
    METRICS,
    PREDICTIONS,
    PER_CLASS,
    CONFUSION,
    RELIABILITY,
    RELIABILITY_SCALED,
];
