//! Evaluation of predictions: metrics of the raw logits and with a temperature, confidence intervals, and provenance;
//! `metrics.json`. Owns the contents of the file. Formulas are in [`crate::metrics`], charts in [`crate::charts`].

use serde::{Deserialize, Serialize};

use crate::calibration::Temperature;
use crate::in_memory::{csv_text, json_text};
use crate::metrics::{
    Bin, Comparison, Drawn, Interval, Metrics, NotPaired, Rows, are_paired, compare_drawn, draw,
    intervals_of, reliability_of,
};
use crate::predictions::Predictions;

/// Number of bootstrap samples.
pub(crate) const SAMPLES: usize = 1000;
/// Confidence level of the intervals.
pub(crate) const CONFIDENCE: f64 = 0.95;
/// Seed of the bootstrap, fixed so that the same predictions give the same file.
pub(crate) const SEED: u64 = 0;

/// Largest share of the smaller set's rows that may be in both: a benchmark may hold a picture twice, in two splits.
const SHARED: f64 = 0.05;

/// A temperature that would be evaluated on the rows it was fitted on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shared} of the {evaluated} rows to evaluate are among the {fitted_on} rows for fitting the temperature: it is never fitted on those"
)]
pub struct FittedOnEvaluated {
    /// Number of rows in both.
    pub shared: usize,
    /// Number of evaluated rows.
    pub evaluated: usize,
    /// Number of rows for fitting the temperature.
    pub fitted_on: usize,
}

/// Returns how many evaluated rows are also among those for fitting a temperature: a few duplicates are allowed,
/// whatever the order of the rows.
///
/// # Errors
/// There are more than 5 % of the smaller set.
pub fn rows_fitted_and_evaluated(
    evaluated: &Predictions,
    fitted_on: &Predictions,
) -> Result<usize, FittedOnEvaluated> {
    let shared = evaluated.rows_shared_with(fitted_on);
    let smaller = evaluated.len().min(fitted_on.len());
    if shared as f64 > SHARED * smaller as f64 {
        return Err(FittedOnEvaluated {
            shared,
            evaluated: evaluated.len(),
            fitted_on: fitted_on.len(),
        });
    }
    Ok(shared)
}

/// Evaluation of one set of predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of rows.
    pub rows: usize,
    /// Classes, in the order of the logits.
    pub classes: Vec<String>,
    /// Measurements of the raw logits.
    pub raw: Measured,
    /// Measurements of the logits divided by a temperature fitted on other rows, if there is one that is optimal, that
    /// is, not at a bound.
    pub scaled: Option<Measured>,
    /// Fitted temperature.
    pub temperature: Option<Temperature>,
    /// Provenance of the predictions, if they were made here: model, manifest and split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<serde_json::Value>,
    /// Comparison with another model on the same rows: this one minus the other.
    pub comparison: Option<Comparison>,
}

/// Metrics, their confidence intervals (95 %, bootstrap of 1,000 samples) and the reliability diagram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The metrics.
    pub metrics: Metrics,
    /// Confidence intervals of the metrics.
    pub intervals: Vec<Interval>,
    /// Bins of the reliability diagram.
    pub reliability: Vec<Bin>,
}

impl Measured {
    /// Returns the measurements of rows and of their bootstrap samples.
    pub(crate) fn of(rows: &Rows<'_>, drawn: &Drawn) -> Self {
        Self {
            metrics: Metrics::of_rows(rows),
            intervals: intervals_of(drawn, CONFIDENCE),
            reliability: reliability_of(rows),
        }
    }

    /// Returns a table with a line for each class: support, precision, recall, F1.
    pub fn per_class_csv(&self) -> String {
        let rows = self.metrics.per_class.iter().map(|class| {
            let share = |value: f64| format!("{value:.6}");
            [
                class.class.clone(),
                class.support.to_string(),
                share(class.precision),
                share(class.recall),
                share(class.f1),
            ]
        });
        csv_text(["class", "support", "precision", "recall", "f1"], rows)
    }
}

impl Evaluation {
    /// Measures predictions; with a temperature also the scaled predictions, and compares them with another model's if
    /// given.
    ///
    /// # Errors
    /// The other model's predictions are not of the same rows.
    pub fn of(
        predictions: &Predictions,
        temperature: Option<Temperature>,
        other: Option<&Predictions>,
    ) -> Result<Self, NotPaired> {
        if let Some(other) = other {
            are_paired(other, predictions)?;
        }
        let fit = temperature.as_ref().filter(|fit| !fit.bound_hit);
        let divided = fit.map(|fit| predictions.divided_by(fit.value));
        let rows = Rows::of(predictions);
        let scaled = divided.as_ref().map(Rows::of);
        let other = other.map(Rows::of);
        // All use the same samples, so that each is drawn only once.
        let all: Vec<&Rows<'_>> = [Some(&rows), scaled.as_ref(), other.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let drawn = draw(&all, SAMPLES, SEED);
        let last = &drawn[drawn.len() - 1];
        Ok(Self {
            rows: predictions.len(),
            classes: predictions.classes().to_vec(),
            raw: Measured::of(&rows, &drawn[0]),
            scaled: scaled.map(|scaled| Measured::of(&scaled, &drawn[1])),
            source: None,
            comparison: other
                .map(|other| compare_drawn((&other, last), (&rows, &drawn[0]), CONFIDENCE)),
            temperature,
        })
    }

    /// Returns the text of the file.
    pub fn to_json(&self) -> String {
        json_text(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::fit_temperature;

    fn predictions(names: [&str; 2], rows: &[(f64, i64)]) -> Predictions {
        let logits = rows.iter().flat_map(|row| [row.0, 0.0]).collect();
        let labels: Vec<i64> = rows.iter().map(|row| row.1).collect();
        Predictions::new(names.map(str::to_owned).to_vec(), logits, &labels).unwrap()
    }

    #[test]
    fn a_temperature_whose_bound_was_hit_is_reported_and_not_applied() {
        let all_right = predictions(["a", "b"], &[(2.0, 0), (3.0, 0)]);
        let other = predictions(["a", "b"], &[(2.5, 0), (1.0, 1)]);
        let bound = fit_temperature(&all_right);
        assert!(bound.bound_hit && bound.applied() == 1.0);
        let evaluated = Evaluation::of(&other, Some(bound.clone()), None).unwrap();
        assert_eq!(
            (evaluated.scaled, evaluated.temperature),
            (None, Some(bound))
        );
        let good = fit_temperature(&predictions(["a", "b"], &[(2.0, 0), (2.0, 0), (2.0, 1)]));
        assert_eq!(good.applied(), good.value);
        assert!(
            Evaluation::of(&other, Some(good), None)
                .unwrap()
                .scaled
                .is_some()
        );
    }

    #[test]
    fn a_temperature_is_not_fitted_on_evaluated_rows_in_another_order() {
        let rows: Vec<(f64, i64)> = (0..100).map(|row| (f64::from(row), 0)).collect();
        let of = |rows: &[(f64, i64)]| predictions(["a", "b"], rows);
        let mut turned = rows.clone();
        turned.reverse();
        let error = rows_fitted_and_evaluated(&of(&rows), &of(&turned)).unwrap_err();
        assert!(
            error.to_string().starts_with("100 of the 100 rows"),
            "{error}"
        );
        // Some of the rows, and a few of them among others.
        assert!(rows_fitted_and_evaluated(&of(&rows), &of(&turned[..10])).is_err());
        let mut others: Vec<(f64, i64)> = (0..50).map(|row| (f64::from(row), 1)).collect();
        others[0].1 = 0;
        assert_eq!(rows_fitted_and_evaluated(&of(&rows), &of(&others)), Ok(1));
        others[..4].iter_mut().for_each(|row| row.1 = 0);
        assert!(rows_fitted_and_evaluated(&of(&rows), &of(&others)).is_err());
    }

    #[test]
    fn names_with_commas_and_quotes_are_quoted() {
        let said = predictions(["a, \"b\"", "c"], &[(1.0, 0), (1.0, 1)]);
        let evaluated = Evaluation::of(&said, None, None).unwrap();
        let table = evaluated.raw.per_class_csv();
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(&records[0][0], "a, \"b\"");
        assert_eq!(
            records[0].iter().skip(1).collect::<Vec<_>>(),
            ["1", "0.500000", "1.000000", "0.666667"]
        );
    }
}
