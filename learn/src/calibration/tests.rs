//! Temperatures at their bounds, and fusion.

use super::*;

fn predictions(logits: &[f64], labels: &[i64]) -> Predictions {
    let classes = ["a", "b"].map(str::to_owned).to_vec();
    Predictions::new(classes, logits.to_vec(), labels).unwrap()
}

#[test]
fn all_right_or_worse_than_chance_hits_a_bound_and_says_so() {
    let right = fit_temperature(&predictions(&[2.0, 0.0, 0.0, 3.0], &[0, 1]));
    assert!(right.bound_hit && right.value < 0.01, "{right:?}");
    assert!(right.nll_after < 1e-12);
    let wrong = fit_temperature(&predictions(&[2.0, 0.0, 0.0, 3.0], &[1, 0]));
    assert!(wrong.bound_hit && wrong.value > 1e3, "{wrong:?}");
    assert!((wrong.nll_after - 2f64.ln()).abs() < 1e-3);
}

#[test]
fn two_classes_have_a_temperature_in_closed_form() {
    // Three of four rows are right with a margin of d: sigmoid(d / T) = 3/4, so T = d / ln 3.
    let logits = [5.0, 0.0].repeat(4);
    let fit = fit_temperature(&predictions(&logits, &[0, 0, 0, 1]));
    assert!((fit.value - 5.0 / 3f64.ln()).abs() < 1e-6, "{fit:?}");
    assert!(!fit.bound_hit && fit.rows == 4);
}

#[test]
fn a_temperature_far_away_is_found() {
    // A fixed-step search stops short of this: at scale 100 the best T is in the hundreds.
    let logits = [500.0, 0.0].repeat(4);
    let fit = fit_temperature(&predictions(&logits, &[0, 0, 0, 1]));
    assert!((fit.value - 500.0 / 3f64.ln()).abs() < 1e-4, "{fit:?}");
}

#[test]
fn teachers_of_other_images_are_not_fused() {
    let of = |hashes: [u8; 2]| {
        let teacher = predictions(&[2.0, 0.0, 4.0, 1.0], &[0, 1]);
        teacher.with_hashes(hashes.map(|byte| [byte; 32].into()).to_vec())
    };
    let fused = |other| fuse(&[of([1, 2]), other], &[0.5, 0.5], &[1.0, 1.0]);
    assert!(fused(of([1, 2])).is_ok());
    assert_eq!(fused(of([1, 3])), Err(FusionError::Rows(1)));
    // Predictions of other programs do not say which images they are of.
    assert!(fused(predictions(&[2.0, 0.0, 4.0, 1.0], &[0, 1])).is_ok());
}

#[test]
fn fused_logits_are_the_weighted_sum_of_scaled_ones() {
    let one = predictions(&[2.0, 0.0, 4.0, 1.0], &[0, 1]);
    let other = predictions(&[0.0, 10.0, 30.0, 0.0], &[0, 1]);
    let fused = fuse(&[one.clone(), other], &[0.5, 2.0], &[2.0, 10.0]).unwrap();
    assert_eq!(fused, [0.5, 2.0, 7.0, 0.25]);

    let error = |teachers: &[Predictions], weights: &[f64], temperatures: &[f64]| {
        fuse(teachers, weights, temperatures)
            .unwrap_err()
            .to_string()
    };
    let stranger = predictions(&[2.0, 0.0, 4.0, 1.0], &[1, 1]);
    assert!(error(&[one.clone(), stranger], &[1.0; 2], &[1.0; 2]).contains("teacher 1"));
    assert!(error(std::slice::from_ref(&one), &[1.0; 2], &[1.0]).contains("1 teachers, 2 weights"));
    assert!(error(std::slice::from_ref(&one), &[1.0], &[0.0]).contains("above 0"));
    assert!(error(std::slice::from_ref(&one), &[0.0], &[1.0]).contains("above 0"));
    assert!(error(&[], &[], &[]).contains("at least one"));
}
