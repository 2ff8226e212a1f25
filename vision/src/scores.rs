//! Conversion of model outputs into probabilities in the canonical class order, according to the model card. Running
//! models is elsewhere.

use crate::card::{ModelCard, OutputKind};
use crate::face::{EXPRESSIONS, Probabilities};

/// Maximum deviation from 1 of the sum of a model's probabilities: half precision and quantised models stay well within
/// it.
const SUM_TOLERANCE: f64 = 0.05;

/// Why a model's output is invalid.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ScoreError {
    /// The number of values differs from the number of expressions.
    #[error(
        "the model returned {given} values for a face, but there are {EXPRESSIONS} expressions"
    )]
    Count { given: usize },
    /// A value is NaN or infinite.
    #[error(
        "the model returned {value} for a face; its weights are broken, or its input does not match its card"
    )]
    NotFinite { value: f32 },
    /// Values that cannot be probabilities.
    #[error(
        "the model's values (sum {sum}, smallest {smallest}) are not probabilities; should its card say `kind: logits`?"
    )]
    NotProbabilities { sum: f64, smallest: f32 },
}

/// Reorders the model's values into the canonical order of [`crate::Expression::ALL`], otherwise unchanged.
///
/// # Errors
/// Fails if there are not as many values as expressions, or if one is not finite.
pub fn to_canonical_order(card: &ModelCard, raw: &[f32]) -> Result<[f32; EXPRESSIONS], ScoreError> {
    if raw.len() != EXPRESSIONS || card.output.classes.len() != EXPRESSIONS {
        return Err(ScoreError::Count { given: raw.len() });
    }
    let mut ordered = [0.0; EXPRESSIONS];
    for (&value, class) in raw.iter().zip(&card.output.classes) {
        if !value.is_finite() {
            return Err(ScoreError::NotFinite { value });
        }
        ordered[class.index()] = value;
    }
    Ok(ordered)
}

/// Returns probabilities in the canonical order: softmax(z / T) of logits z. Probabilities p of a model are treated as
/// logits ln p, so that the temperature has the same meaning.
///
/// # Errors
/// See [`ScoreError`].
pub fn to_probabilities(card: &ModelCard, raw: &[f32]) -> Result<Probabilities, ScoreError> {
    let ordered = to_canonical_order(card, raw)?;
    let logits = match card.output.kind {
        OutputKind::Logits => ordered.map(f64::from),
        OutputKind::Probabilities => {
            check_probabilities(&ordered)?;
            ordered.map(|p| f64::from(p.max(0.0)).ln())
        }
    };
    Ok(softmax(&logits, card.temperature))
}

/// Returns logits in the canonical order, not divided by the temperature. For probabilities p they are ln p, and for p
/// = 0 that of the smallest positive normal f32, so that they stay finite.
///
/// # Errors
/// See [`ScoreError`].
pub fn to_logits(card: &ModelCard, raw: &[f32]) -> Result<[f32; EXPRESSIONS], ScoreError> {
    let ordered = to_canonical_order(card, raw)?;
    if card.output.kind == OutputKind::Probabilities {
        check_probabilities(&ordered)?;
        return Ok(ordered.map(|p| p.max(f32::MIN_POSITIVE).ln()));
    }
    Ok(ordered)
}

fn check_probabilities(values: &[f32; EXPRESSIONS]) -> Result<(), ScoreError> {
    let sum: f64 = values.iter().copied().map(f64::from).sum();
    let smallest = values.iter().copied().fold(f32::INFINITY, f32::min);
    // A quantised softmax may leave values slightly below 0.
    if (sum - 1.0).abs() > SUM_TOLERANCE || smallest < -1e-3 {
        return Err(ScoreError::NotProbabilities { sum, smallest });
    }
    Ok(())
}

/// Subtracts the largest logit first, so that nothing overflows; a logit of −∞ has probability 0.
fn softmax(logits: &[f64; EXPRESSIONS], temperature: f64) -> Probabilities {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights = logits.map(|logit| ((logit - largest) / temperature).exp());
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| (weight / sum) as f32)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::face::Expression;

    fn card(kind: &str, temperature: f64) -> ModelCard {
        let text = format!(
            "input: {{name: x, size: 4, layout: nchw, colour: gray}}
interpolation: area
scaling: []
output: {{name: y, kind: {kind}, classes: [neutral, happy, sad, angry, fear, disgust, surprise]}}
temperature: {temperature}
licence: none
source: a test
sha256: {}
",
            "0".repeat(64)
        );
        ModelCard::parse(&text, Path::new("card.yaml")).unwrap()
    }

    #[test]
    fn values_are_permuted_to_the_canonical_order() {
        let raw = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let ordered = to_canonical_order(&card("logits", 1.0), &raw).unwrap();
        assert_eq!(ordered, [3.0, 5.0, 4.0, 1.0, 2.0, 6.0, 0.0]);
    }

    #[test]
    fn temperature_divides_the_logits() {
        // Two logits ln 4 apart, T = 2: their odds are 2.
        let raw = [0.0, 4.0_f32.ln(), 0.0, 0.0, 0.0, 0.0, 0.0];
        let scores = to_probabilities(&card("logits", 2.0), &raw).unwrap();
        assert!((scores[Expression::Happy.index()] - 2.0 / 8.0).abs() < 1e-6);
        assert!((scores[Expression::Sad.index()] - 1.0 / 8.0).abs() < 1e-6);
    }

    #[test]
    fn temperature_means_the_same_for_probabilities() {
        let logits = [0.3, -2.0, 1.5, 0.0, 4.0, -1.0, 2.5];
        let plain = softmax(&logits, 1.0);
        let cooled = softmax(&logits, 2.5);
        let card = card("probabilities", 2.5);
        let again = to_probabilities(&card, &plain).unwrap();
        for (index, class) in card.output.classes.iter().enumerate() {
            assert!((again[class.index()] - cooled[index]).abs() < 1e-6);
        }
    }

    #[test]
    fn logits_of_probabilities_are_finite_and_ordered() {
        let raw = [0.0, 0.75, 0.25, 0.0, 0.0, 0.0, 0.0];
        let logits = to_logits(&card("probabilities", 3.0), &raw).unwrap();
        // The card's order begins with neutral, happy, sad.
        let of = |expression: Expression| logits[expression.index()];
        assert!((of(Expression::Happy) - of(Expression::Sad) - 3.0_f32.ln()).abs() < 1e-6);
        assert!(of(Expression::Neutral) < -87.0 && of(Expression::Neutral).is_finite());
        let given = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let logits = to_logits(&card("logits", 3.0), &given).unwrap();
        assert_eq!(logits[Expression::Neutral.index()], 1.0);
        assert!(to_logits(&card("probabilities", 1.0), &given).is_err());
    }

    #[test]
    fn huge_logits_and_certain_probabilities_stay_finite() {
        let raw = [1e30, -1e30, 0.0, 0.0, 0.0, 0.0, 0.0];
        let scores = to_probabilities(&card("logits", 0.1), &raw).unwrap();
        assert_eq!(scores, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        let certain = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let scores = to_probabilities(&card("probabilities", 3.0), &certain).unwrap();
        assert_eq!(scores, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let logits = card("logits", 1.0);
        let mut raw = [0.0; EXPRESSIONS];
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            raw[4] = value;
            let error = to_probabilities(&logits, &raw).unwrap_err();
            assert!(matches!(error, ScoreError::NotFinite { .. }), "{error}");
        }
        let error = to_probabilities(&logits, &raw[..4]).unwrap_err();
        assert_eq!(error, ScoreError::Count { given: 4 });
        let unscaled = [3.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let error = to_probabilities(&card("probabilities", 1.0), &unscaled).unwrap_err();
        assert!(matches!(error, ScoreError::NotProbabilities { .. }));
    }

    proptest! {
        #[test]
        fn probabilities_sum_to_1_and_keep_the_order_of_the_logits(
            raw in prop::array::uniform7(-50.0_f32..50.0),
            temperature in 0.05_f64..20.0,
        ) {
            let card = card("logits", temperature);
            let ordered = to_canonical_order(&card, &raw).unwrap();
            let scores = to_probabilities(&card, &raw).unwrap();
            prop_assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            for a in 0..EXPRESSIONS {
                for b in 0..EXPRESSIONS {
                    prop_assert!(ordered[a] > ordered[b] || scores[a] <= scores[b]);
                }
            }
        }
    }
}
