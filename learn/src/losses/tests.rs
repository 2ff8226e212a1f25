//! Values and gradients compared with torch's at logit scales from 1 to 100 (`learn/oracles/losses.py`), and identities
//! between losses.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::arcface::{ArcFace, MarginGradient};
use super::correlation::{CorrelationDistillation, correlations};
use super::*;

const CLASSES: i64 = 7;

#[derive(Deserialize)]
struct Golden {
    student: Vec<f64>,
    teacher: Vec<f64>,
    labels: Vec<i64>,
    other: Vec<i64>,
    weights: Vec<f64>,
    prior: Vec<f64>,
    targets: Vec<f64>,
    scales: Vec<BTreeMap<String, Entry>>,
    embedding: Vec<f64>,
    weight: Vec<f64>,
    arcface: BTreeMap<String, Margin>,
}

#[derive(Deserialize)]
struct Entry {
    value: f64,
    gradients: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Margin {
    logits: Vec<f64>,
    value: f64,
    gradients: Vec<Vec<f64>>,
}

const SCALES: [f64; 4] = [1.0, 5.0, 30.0, 100.0];

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/golden/losses.json")).unwrap()
}

fn matrix(values: &[f64], columns: i64) -> Tensor {
    Tensor::from_slice(values).reshape([-1, columns])
}

fn settings(form: DecoupledForm, alpha: f64, beta: f64) -> DecoupledDistillation {
    DecoupledDistillation {
        temperature: 2.0,
        alpha,
        beta,
        form,
    }
}

/// Returns the loss of this name in the golden file.
fn loss(name: &str, golden: &Golden, s: &Tensor, t: &Tensor) -> Tensor {
    let labels = Tensor::from_slice(&golden.labels);
    let other = Tensor::from_slice(&golden.other);
    let plain = cross_entropy(s, &labels, &CrossEntropy::default());
    match name {
        "cross_entropy" => plain,
        "cross_entropy_smooth_weighted" => {
            let settings = CrossEntropy {
                label_smoothing: 0.1,
                class_weights: Some(golden.weights.clone()),
                logit_adjustment: None,
            };
            cross_entropy(s, &labels, &settings)
        }
        "cross_entropy_adjusted" => {
            let settings = CrossEntropy {
                logit_adjustment: Some(golden.prior.clone()),
                ..CrossEntropy::default()
            };
            cross_entropy(s, &labels, &settings)
        }
        "distillation" => distillation(s, t, 2.0),
        "decoupled_target" => decoupled(s, t, &labels, 2.0).target,
        "decoupled_others" => decoupled(s, t, &labels, 2.0).others,
        "decoupled_reference" => {
            let form = DecoupledForm::Reference {
                cross_entropy: 1.5,
                warm_up: 5,
            };
            settings(form, 1.0, 8.0).loss(s, t, &labels, &plain, 2)
        }
        "decoupled_blended" => {
            settings(DecoupledForm::Blended, 0.5, 4.0).loss(s, t, &labels, &plain, 1)
        }
        "correlation_between" => correlations(s, t, 2.0).between_classes,
        "correlation_within" => correlations(s, t, 2.0).within_classes,
        "correlation" => {
            let settings = CorrelationDistillation {
                temperature: 2.0,
                cross_entropy: 0.5,
                beta: 2.0,
                gamma: 3.0,
            };
            settings.loss(s, t, &plain)
        }
        "standardised" => distillation(&standardised(s), &standardised(t), 2.0),
        "soft_targets" => {
            let targets = matrix(&golden.targets, CLASSES).to_kind(s.kind());
            cross_entropy(s, &targets, &CrossEntropy::default())
        }
        "soft_targets_smooth_weighted" => {
            let settings = CrossEntropy {
                label_smoothing: 0.1,
                class_weights: Some(golden.weights.clone()),
                logit_adjustment: None,
            };
            let targets = matrix(&golden.targets, CLASSES).to_kind(s.kind());
            cross_entropy(s, &targets, &settings)
        }
        "negative" => selective(s, &labels, &other, NegativeStage::All),
        "selected" => selective(s, &labels, &other, NegativeStage::Selected),
        "positive" => selective(s, &labels, &other, NegativeStage::Positive),
        "doubted" => negative_of_doubted(s, t, &labels, &other),
        unknown => panic!("{unknown}"),
    }
}

#[track_caller]
fn assert_close(found: &Tensor, expected: &[f64], tolerance: f64, what: &str) {
    let found = found.to_kind(Kind::Double).reshape([-1]);
    let expected = Tensor::from_slice(expected);
    let largest = expected.abs().max().double_value(&[]).max(1.0);
    let difference = (found - expected).abs().max().double_value(&[]);
    // Written so that NaN fails too.
    assert!(
        difference <= tolerance * largest,
        "{what}: off by {difference} of {largest}"
    );
}

#[test]
fn values_and_gradients_are_torchs_at_every_scale() {
    let golden = golden();
    let mut compared = 0;
    for (scale, losses) in SCALES.into_iter().zip(&golden.scales) {
        for (name, expected) in losses {
            for (kind, tolerance) in [(Kind::Double, 1e-11), (Kind::Float, 2e-5)] {
                let scaled = |values: &[f64]| (matrix(values, CLASSES) * scale).to_kind(kind);
                let s = scaled(&golden.student).set_requires_grad(true);
                let value = loss(name, &golden, &s, &scaled(&golden.teacher));
                let what = format!("{name} at {scale} in {kind:?}");
                assert_close(&value, &[expected.value], tolerance, &what);
                value.backward();
                assert_close(
                    &s.grad(),
                    &expected.gradients[0],
                    tolerance,
                    &format!("gradient of {what}"),
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 4 * 18 * 2);
}

#[test]
fn gradients_are_the_differences_of_the_values() {
    let golden = golden();
    const STEP: f64 = 1e-5;
    for name in [
        "correlation",
        "standardised",
        "soft_targets",
        "distillation",
    ] {
        let teacher = matrix(&golden.teacher, CLASSES);
        let at = |student: &[f64]| {
            let value = loss(name, &golden, &matrix(student, CLASSES), &teacher);
            value.double_value(&[])
        };
        let s = matrix(&golden.student, CLASSES).set_requires_grad(true);
        loss(name, &golden, &s, &teacher).backward();
        let differences: Vec<f64> = (0..golden.student.len())
            .map(|place| {
                let moved = |by: f64| {
                    let mut student = golden.student.clone();
                    student[place] += by;
                    at(&student)
                };
                (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
            })
            .collect();
        assert_close(&s.grad(), &differences, 1e-8, name);
    }
}

#[test]
fn probabilities_correlate_with_themselves() {
    let student = matrix(&golden().student, CLASSES);
    let same = correlations(&student, &student, 1.0);
    for part in [same.between_classes, same.within_classes] {
        assert!(part.double_value(&[]).abs() < 1e-5);
    }
}

#[test]
fn equal_logits_have_finite_losses_and_gradients() {
    // No spread over the classes or over the rows.
    let teacher = Tensor::zeros([4, CLASSES], (Kind::Float, tch::Device::Cpu));
    let losses: [fn(&Tensor, &Tensor) -> Tensor; 2] = [
        |s, t| {
            let parts = correlations(s, t, 1.0);
            parts.between_classes + parts.within_classes
        },
        |s, t| distillation(&standardised(s), &standardised(t), 1.0),
    ];
    for loss in losses {
        let s = teacher.copy().set_requires_grad(true);
        let value = loss(&s, &teacher);
        value.backward();
        assert!(value.double_value(&[]).is_finite());
        assert_eq!(s.grad().isfinite().all().int64_value(&[]), 1);
    }
}

fn arcface(gradient: MarginGradient) -> ArcFace {
    ArcFace {
        scale: 30.0,
        margin: 0.35,
        warm_up: 2.0,
        ramp: 4.0,
        gradient,
    }
}

#[test]
fn arcface_is_the_papers_with_both_gradients() {
    let golden = golden();
    let labels = Tensor::from_slice(&golden.labels);
    for (name, gradient) in [
        ("analytic", MarginGradient::Analytic),
        ("straight_through", MarginGradient::StraightThrough),
    ] {
        let expected = &golden.arcface[name];
        for (kind, tolerance) in [(Kind::Double, 1e-10), (Kind::Float, 1e-4)] {
            let embedding = matrix(&golden.embedding, 8)
                .to_kind(kind)
                .set_requires_grad(true);
            let weight = matrix(&golden.weight, 8)
                .to_kind(kind)
                .set_requires_grad(true);
            let logits = arcface(gradient).logits(&embedding, &weight, &labels, 0.35);
            assert_close(&logits, &expected.logits, tolerance, name);
            let value = cross_entropy(&logits, &labels, &CrossEntropy::default());
            assert_close(&value, &[expected.value], tolerance, name);
            value.backward();
            assert_close(
                &embedding.grad(),
                &expected.gradients[0],
                10.0 * tolerance,
                name,
            );
            assert_close(
                &weight.grad(),
                &expected.gradients[1],
                10.0 * tolerance,
                name,
            );
        }
    }
}

#[test]
fn the_margin_begins_after_the_warm_up_and_rises() {
    let arcface = arcface(MarginGradient::Analytic);
    let margins = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0].map(|epoch| arcface.margin_at(epoch));
    assert_eq!(
        margins,
        [0.0, 0.0, 0.0, 0.35 * 0.25, 0.35 * 0.5, 0.35, 0.35]
    );
    let at_once = ArcFace {
        ramp: 0.0,
        ..arcface
    };
    assert_eq!(
        [1.9, 2.0].map(|epoch| at_once.margin_at(epoch)),
        [0.0, 0.35]
    );
}

#[test]
fn without_rows_that_take_part_a_loss_is_0_and_so_is_its_gradient() {
    let s = matrix(&[-20.0, 20.0], 2).set_requires_grad(true);
    let (labels, other) = (Tensor::from_slice(&[0i64]), Tensor::from_slice(&[1i64]));
    for stage in [NegativeStage::Selected, NegativeStage::Positive] {
        let value = selective(&s, &labels, &other, stage);
        assert_eq!(value.double_value(&[]), 0.0);
        value.backward();
        assert_eq!(s.grad().abs().sum(Kind::Double).double_value(&[]), 0.0);
    }
}

proptest! {
    #[test]
    fn distillation_is_the_sum_of_its_decoupled_parts(
        student in proptest::collection::vec(-50.0..50.0f64, CLASSES as usize),
        teacher in proptest::collection::vec(-50.0..50.0f64, CLASSES as usize),
        label in 0..CLASSES,
    ) {
        let (s, t) = (matrix(&student, CLASSES), matrix(&teacher, CLASSES));
        let parts = decoupled(&s, &t, &Tensor::from_slice(&[label]), 2.0);
        let p = (&t / 2.0).softmax(-1, None::<Kind>).double_value(&[0, label]);
        let sum = parts.target.double_value(&[]) + (1.0 - p) * parts.others.double_value(&[]);
        let whole = distillation(&s, &t, 2.0).double_value(&[]);
        prop_assert!((sum - whole).abs() <= 1e-9 * whole.abs().max(1.0), "{sum} {whole}");
    }

    #[test]
    fn correlations_have_their_range_and_standardised_logits_no_scale(
        student in proptest::collection::vec(-5.0..5.0f64, 3 * CLASSES as usize),
        teacher in proptest::collection::vec(-5.0..5.0f64, 3 * CLASSES as usize),
        scale in 0.1..10.0f64,
        shift in -10.0..10.0f64,
    ) {
        let (s, t) = (matrix(&student, CLASSES), matrix(&teacher, CLASSES));
        let parts = correlations(&s, &t, 1.0);
        for part in [parts.between_classes, parts.within_classes] {
            prop_assert!((-1e-12..=2.0 + 1e-12).contains(&part.double_value(&[])));
        }
        // Scale and shift of the logits are removed by standardisation.
        let moved = &s * scale + shift;
        let one = distillation(&standardised(&s), &standardised(&t), 2.0).double_value(&[]);
        let other = distillation(&standardised(&moved), &standardised(&t), 2.0).double_value(&[]);
        prop_assert!((one - other).abs() < 1e-5, "{one} {other}");
    }

    #[test]
    fn a_complementary_class_is_never_the_label(labels in proptest::collection::vec(0i64..7, 1..50), key: u64) {
        let other = complementary(&labels, 7, &[key]);
        prop_assert_eq!(&other, &complementary(&labels, 7, &[key]));
        for (label, other) in labels.iter().zip(other) {
            prop_assert!(*label != other && (0..7).contains(&other));
        }
    }
}

#[test]
fn complementary_classes_are_equally_likely() {
    let other = complementary(&vec![2; 60_000], 7, &[3]);
    for class in [0, 1, 3, 4, 5, 6] {
        let count = other.iter().filter(|&&other| other == class).count() as f64;
        // Five standard deviations of 10,000.
        assert!(
            (count - 1e4).abs() < 5.0 * (1e4 * 5.0 / 6.0f64).sqrt(),
            "{class}: {count}"
        );
    }
}
