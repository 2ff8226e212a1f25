//! Formatting of probabilities.

/// Returns `= 0.0312`, or an upper bound for tiny values.
pub(super) fn probability(p: f64) -> String {
    if p < 0.0001 {
        "< 0.0001".to_owned()
    } else {
        format!("= {p:.4}")
    }
}
