//! Metrics compared with scikit-learn's, torchmetrics' and netcal's (`learn/oracles/metrics.py`), and edge cases.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::calibration::fit_temperature;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    mcnemar: Vec<McNemar>,
}

#[derive(Deserialize)]
struct McNemar {
    one: u64,
    other: u64,
    p: f64,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    classes: usize,
    logits: Vec<f64>,
    labels: Vec<i64>,
    accuracy: f64,
    macro_f1: f64,
    nll: f64,
    brier: f64,
    ece: f64,
    ece_compat: f64,
    ece_adaptive: f64,
    ece_classwise: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    confusion: Vec<Vec<u64>>,
    temperature: f64,
    nll_after: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/golden/metrics.json")).unwrap()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("c{class}")).collect()
}

fn predictions(classes: usize, logits: Vec<f64>, labels: &[i64]) -> Predictions {
    Predictions::new(names(classes), logits, labels).unwrap()
}

#[track_caller]
fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found} instead of {expected}"
    );
}

#[test]
fn metrics_are_those_of_the_references() {
    for case in golden().cases {
        let name = &case.name;
        let predictions = predictions(case.classes, case.logits, &case.labels);
        let metrics = Metrics::of(&predictions);
        close(metrics.accuracy, case.accuracy, 1e-12, name);
        close(metrics.macro_f1, case.macro_f1, 1e-12, name);
        close(metrics.nll, case.nll, 1e-9, name);
        close(metrics.brier, case.brier, 1e-12, name);
        close(metrics.ece, case.ece, 1e-9, name);
        // torchmetrics computes in f32.
        close(metrics.ece_compat, case.ece_compat, 1e-6, name);
        close(metrics.ece_adaptive, case.ece_adaptive, 1e-12, name);
        close(metrics.ece_classwise, case.ece_classwise, 1e-12, name);
        assert_eq!(metrics.confusion, case.confusion, "{name}");
        for (class, found) in metrics.per_class.iter().enumerate() {
            close(found.precision, case.precision[class], 1e-12, name);
            close(found.recall, case.recall[class], 1e-12, name);
            close(found.f1, case.f1[class], 1e-12, name);
        }
        let fit = fit_temperature(&predictions);
        close(fit.value / case.temperature, 1.0, 1e-6, name);
        close(fit.nll_after, case.nll_after, 1e-9, name);
        assert!(!fit.bound_hit, "{name}");
    }
}

#[test]
fn mcnemar_is_scipys_binomial_test() {
    for case in golden().mcnemar {
        // One row for each disagreement.
        let rows = (case.one + case.other) as usize;
        let right = |first: bool| {
            let logits = (0..rows).flat_map(|row| {
                if ((row as u64) < case.one) == first {
                    [1.0, 0.0]
                } else {
                    [0.0, 1.0]
                }
            });
            predictions(2, logits.collect(), &vec![0; rows])
        };
        let compared = compare(&right(true), &right(false), 2, 0.95, 0).unwrap();
        assert_eq!(
            (compared.only_first_right, compared.only_second_right),
            (case.one, case.other)
        );
        close(compared.mcnemar_p, case.p, 1e-12, "p");
    }
}

/// Returns logits of two classes of which the first has this probability.
fn sure(p: f64) -> [f64; 2] {
    [p.ln(), (1.0 - p).ln().max(-1e3)]
}

#[test]
fn a_confidence_on_an_edge_belongs_to_the_lower_bin_or_in_compat_to_the_upper() {
    // Two rows with confidence exactly 1, one right and one wrong, and one with exactly 0.5: with 15 bins only 1 is on
    // an edge.
    let certain = predictions(2, vec![1000.0, 0.0, 1000.0, 0.0, 0.0, 0.0], &[0, 1, 0]);
    let bins = reliability(&certain);
    assert_eq!((bins[BINS - 1].count, bins[BINS - 1].accuracy), (2, 0.5));
    assert_eq!((bins[7].count, bins[7].confidence), (1, 0.5));
    close(
        calibration_error(&certain, Edges::Default),
        (2.0 * 0.5 + 0.5) / 3.0,
        1e-15,
        "default",
    );
    close(
        calibration_error(&certain, Edges::Compat),
        (2.0 * 0.5 + 0.5) / 3.0,
        1e-15,
        "compat",
    );
    // 0.95 and exactly 1 both fall into the last bin; in compat, exactly 1 has a bin of its own.
    let [a, b] = sure(0.95);
    let mixed = predictions(2, vec![1000.0, 0.0, a, b], &[1, 0]);
    close(
        calibration_error(&mixed, Edges::Default),
        (1.95 - 1.0) / 2.0,
        1e-12,
        "one bin",
    );
    close(
        calibration_error(&mixed, Edges::Compat),
        (1.0 + 0.05) / 2.0,
        1e-12,
        "two bins",
    );
}

#[test]
fn edges_between_bins_are_recognised() {
    use super::calibration_error::error_of;
    for index in 1..BINS {
        // A right row just above the edge tells the bins apart.
        let edge = index as f64 / BINS as f64;
        let pairs = [(edge, false), (edge + 1e-9, true)];
        let apart = error_of(&pairs, Edges::Default);
        close(
            apart,
            (edge + 1.0 - edge) / 2.0,
            1e-8,
            "the edge is the lower bin's",
        );
        let together = error_of(&pairs, Edges::Compat);
        close(
            together,
            (2.0 * edge - 1.0).abs() / 2.0,
            1e-8,
            "the edge is the upper bin's",
        );
    }
}

#[test]
fn one_row_is_enough_and_ties_go_to_the_first_class() {
    let metrics = Metrics::of(&predictions(3, vec![2.0, 2.0, 1.0], &[1]));
    assert_eq!((metrics.accuracy, metrics.macro_f1), (0.0, 0.0));
    assert_eq!(metrics.confusion[1], [1, 0, 0]);
    let right = Metrics::of(&predictions(3, vec![2.0, 2.0, 1.0], &[0]));
    close(
        right.macro_f1,
        1.0 / 3.0,
        1e-15,
        "absent classes count as 0",
    );
}

#[test]
fn a_huge_scale_is_no_trouble() {
    let metrics = Metrics::of(&predictions(2, vec![1e5, 0.0, 0.0, 1e5], &[0, 0]));
    assert_eq!(
        (metrics.nll, metrics.brier, metrics.accuracy),
        (5e4, 1.0, 0.5)
    );
}

#[test]
fn intervals_hold_the_value_and_repeat() {
    let case = golden().cases.remove(0);
    let predictions = predictions(case.classes, case.logits, &case.labels);
    let one = intervals(&predictions, 500, 0.95, 1);
    assert_eq!(one, intervals(&predictions, 500, 0.95, 1));
    assert_ne!(one, intervals(&predictions, 500, 0.95, 2));
    let accuracy = &one[0];
    assert!(accuracy.low < accuracy.value && accuracy.value < accuracy.high);
    // About 1.96 standard errors of a proportion; 500 samples leave some uncertainty.
    let half = 1.96 * (accuracy.value * (1.0 - accuracy.value) / 400.0).sqrt();
    close(
        (accuracy.high - accuracy.low) / (2.0 * half),
        1.0,
        0.15,
        "width",
    );
}

#[test]
fn only_the_same_rows_are_compared() {
    let one = predictions(2, vec![0.0; 4], &[0, 1]);
    let error = |other: &Predictions| compare(&one, other, 2, 0.95, 0).unwrap_err().to_string();
    assert!(error(&predictions(2, vec![0.0; 2], &[0])).contains("2 and 1 rows"));
    assert!(error(&predictions(2, vec![0.0; 4], &[0, 0])).contains("labels of row 1"));
    assert!(
        error(&predictions(3, vec![0.0; 6], &[0, 1])).contains("classes c0, c1 and c0, c1, c2")
    );
}

fn any_predictions() -> impl Strategy<Value = Predictions> {
    let rows = proptest::collection::vec(
        (proptest::collection::vec(-40.0..40.0f64, 4), 0i64..4),
        1..60,
    );
    rows.prop_map(|rows| {
        let labels: Vec<i64> = rows.iter().map(|row| row.1).collect();
        predictions(4, rows.into_iter().flat_map(|row| row.0).collect(), &labels)
    })
}

/// Logits whose softmax is exactly a multiple of 1/15 or 1/30: confidences on edges, beside them, and equal ones.
fn predictions_on_edges() -> impl Strategy<Value = (Predictions, Vec<f64>)> {
    let row = (1u32..30, 0i64..2, -1e3..1e3f64);
    proptest::collection::vec(row, 1..60).prop_map(|rows| {
        let logits = rows.iter().flat_map(|&(parts, ..)| {
            let p = f64::from(parts) / 30.0;
            [p.ln(), (1.0 - p).ln()]
        });
        let labels: Vec<i64> = rows.iter().map(|row| row.1).collect();
        let shifts = rows.iter().map(|row| row.2).collect();
        (predictions(2, logits.collect(), &labels), shifts)
    })
}

proptest! {
    #[test]
    fn a_common_shift_of_a_rows_logits_changes_nothing((before, shifts) in predictions_on_edges()) {
        let moved = before.rows().zip(shifts).flat_map(|((logits, _), shift)| {
            logits.iter().map(move |logit| logit + shift).collect::<Vec<_>>()
        });
        let labels: Vec<i64> = before.labels().iter().map(|&label| label as i64).collect();
        let after = Metrics::of(&predictions(2, moved.collect(), &labels));
        let before = Metrics::of(&before);
        for (one, other) in [
            (before.ece, after.ece),
            (before.ece_compat, after.ece_compat),
            (before.ece_adaptive, after.ece_adaptive),
            (before.ece_classwise, after.ece_classwise),
            (before.nll, after.nll),
            (before.brier, after.brier),
        ] {
            prop_assert!((one - other).abs() < 1e-9, "{before:?} {after:?}");
        }
    }

    #[test]
    fn metrics_keep_their_ranges(predictions in any_predictions()) {
        let metrics = Metrics::of(&predictions);
        let all: u64 = metrics.confusion.iter().flatten().sum();
        prop_assert_eq!(all as usize, predictions.len());
        let shares = [metrics.accuracy, metrics.macro_f1, metrics.ece, metrics.ece_compat, metrics.ece_adaptive, metrics.ece_classwise];
        for share in shares {
            prop_assert!((0.0..=1.0 + 1e-12).contains(&share), "{metrics:?}");
        }
        prop_assert!((0.0..=2.0 + 1e-12).contains(&metrics.brier) && metrics.nll >= 0.0);
    }

    #[test]
    fn a_temperature_changes_no_prediction_and_fits_no_worse(predictions in any_predictions()) {
        let fit = fit_temperature(&predictions);
        prop_assert!(fit.nll_after <= fit.nll_before + 1e-12, "{fit:?}");
        let scaled = predictions.divided_by(fit.value);
        let (before, after) = (Metrics::of(&predictions), Metrics::of(&scaled));
        prop_assert_eq!(before.confusion, after.confusion);
        prop_assert!((after.nll - fit.nll_after).abs() < 1e-9);
    }
}
