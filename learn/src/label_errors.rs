//! Finds labels that are likely wrong, from predictions of models that were not trained on the rows: confident learning
//! (Northcutt, Jiang and Chuang 2021, arXiv 1911.00068). Owns which rows are listed, and their order. The list is for
//! people; no rows are removed.
//!
//! A row is listed if some other class is at least as probable as it is on average for rows with that class as label.
//! Rows are sorted by the margin between the probabilities of the label and of that class, the strongest contradiction
//! first. Predictions of models that were trained on the rows show next to nothing, since they have memorised the
//! labels.

use std::collections::HashMap;

use fermata_vision::Expression;

use crate::manifest::Row;
use crate::metrics::softmax;
use crate::predictions::Predictions;
use crate::row_hash::RowHash;

/// Tolerance for rounding in the mean of equal numbers.
const ROUNDING: f64 = 1e-9;

/// A row whose label is likely wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelError<'a> {
    /// Index among the given rows.
    pub place: usize,
    /// Row of the manifest.
    pub row: &'a Row,
    /// Class suggested by the models.
    pub suggested: Expression,
    /// Probability of the label.
    pub of_label: f64,
    /// Probability of the suggested class.
    pub of_suggested: f64,
}

/// Result of a search for label errors.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelErrors<'a> {
    /// Number of rows with predictions.
    pub predicted: usize,
    /// Number of rows without predictions.
    pub not_predicted: usize,
    /// Likely errors, the strongest contradiction first.
    pub found: Vec<LabelError<'a>>,
}

/// Why predictions cannot be used to find label errors.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLabelErrors {
    /// Predictions of other classes.
    #[error("predictions {0}: classes must be the seven expressions in canonical order")]
    Classes(usize),
    /// Predictions without hashes.
    #[error("predictions {0} have no `sha256` of their rows' images")]
    NoHashes(usize),
    /// No predictions for any row.
    #[error("none of the manifests' rows is among the predictions")]
    NoRows,
}

/// Finds likely label errors among rows, by the mean of all predictions for a row, joined by the image's hash.
///
/// # Errors
/// See [`NoLabelErrors`].
pub fn label_errors<'a>(
    rows: &[&'a Row],
    predictions: &[Predictions],
) -> Result<LabelErrors<'a>, NoLabelErrors> {
    let means = means(predictions)?;
    let class_of = |label: Expression| Expression::ALL.iter().position(|&other| other == label);
    let mut known: Vec<(usize, usize, &Vec<f64>)> = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let mean = means.get(&row.sha256);
        if let (Some(mean), Some(class)) = (mean, class_of(row.label)) {
            known.push((place, class, mean));
        }
    }
    if known.is_empty() {
        return Err(NoLabelErrors::NoRows);
    }
    // Mean probability of a class over the rows with that label; a class without rows is never suggested.
    let mut thresholds = vec![(0.0, 0usize); Expression::ALL.len()];
    for (_, class, mean) in &known {
        thresholds[*class].0 += mean[*class];
        thresholds[*class].1 += 1;
    }
    let least = |class: usize| match thresholds[class] {
        (_, 0) => f64::INFINITY,
        (sum, count) => sum / count as f64 - ROUNDING,
    };
    let mut found: Vec<LabelError<'_>> = Vec::new();
    for (place, label, mean) in &known {
        let others =
            (0..mean.len()).filter(|class| class != label && mean[*class] >= least(*class));
        let suggested = others.max_by(|&one, &other| mean[one].total_cmp(&mean[other]));
        if let Some(suggested) = suggested.filter(|&class| mean[class] > mean[*label]) {
            found.push(LabelError {
                place: *place,
                row: rows[*place],
                suggested: Expression::ALL[suggested],
                of_label: mean[*label],
                of_suggested: mean[suggested],
            });
        }
    }
    let margin = |error: &LabelError<'_>| error.of_label - error.of_suggested;
    found.sort_by(|one, other| {
        let by_margin = margin(one).total_cmp(&margin(other));
        by_margin.then_with(|| one.row.sha256.cmp(&other.row.sha256))
    });
    Ok(LabelErrors {
        predicted: known.len(),
        not_predicted: rows.len() - known.len(),
        found,
    })
}

fn means(predictions: &[Predictions]) -> Result<HashMap<RowHash, Vec<f64>>, NoLabelErrors> {
    let classes = Expression::ALL.map(|label| label.name().to_owned());
    let mut sums: HashMap<RowHash, (Vec<f64>, f64)> = HashMap::new();
    for (number, predictions) in predictions.iter().enumerate() {
        if predictions.classes() != classes {
            return Err(NoLabelErrors::Classes(number + 1));
        }
        let hashes = predictions.hashes();
        let hashes = hashes.ok_or(NoLabelErrors::NoHashes(number + 1))?;
        for (row, hash) in hashes.iter().enumerate() {
            let sum = sums
                .entry(*hash)
                .or_insert_with(|| (vec![0.0; classes.len()], 0.0));
            for (sum, p) in sum.0.iter_mut().zip(softmax(predictions.row(row))) {
                *sum += p;
            }
            sum.1 += 1.0;
        }
    }
    let mean = |(sum, count): (Vec<f64>, f64)| sum.iter().map(|sum| sum / count).collect();
    Ok(sums
        .into_iter()
        .map(|(hash, sum)| (hash, mean(sum)))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::manifest::Split;

    fn row(number: u8, label: Expression) -> Row {
        Row {
            image: PathBuf::from(format!("{number}.png")),
            label,
            source: "s".to_owned(),
            split: Split::Train,
            group: number.to_string(),
            sha256: [number; RowHash::LEN].into(),
            width: 1,
            height: 1,
        }
    }

    /// Returns predictions with a class for each row and how much larger its logit is than the others.
    fn said(rows: &[(u8, Expression, f64)]) -> Predictions {
        let classes = Expression::ALL.map(|label| label.name().to_owned());
        let logits = rows.iter().flat_map(|&(_, said, logit)| {
            Expression::ALL.map(|label| if label == said { logit } else { 0.0 })
        });
        let hashes = rows
            .iter()
            .map(|&(number, ..)| [number; 32].into())
            .collect();
        let labels = vec![0; rows.len()];
        let read = Predictions::new(classes.to_vec(), logits.collect(), &labels);
        read.unwrap().with_hashes(hashes)
    }

    #[test]
    fn contradicted_labels_are_named_the_worst_first() {
        use Expression::{Happy, Sad};
        let rows: Vec<Row> = (0..8)
            .map(|number| row(number, if number < 4 { Happy } else { Sad }))
            .collect();
        let rows: Vec<&Row> = rows.iter().collect();
        let predictions = said(&[
            (0, Happy, 3.0),
            (1, Happy, 3.0),
            (2, Sad, 5.0),
            (3, Sad, 4.0),
            (4, Sad, 3.0),
            (5, Sad, 3.0),
            // Less confident than sad rows are of being happy, so not listed.
            (6, Happy, 0.1),
        ]);
        let errors = label_errors(&rows, std::slice::from_ref(&predictions)).unwrap();
        assert_eq!((errors.predicted, errors.not_predicted), (7, 1));
        let named: Vec<_> = errors
            .found
            .iter()
            .map(|error| (error.row.sha256, error.suggested))
            .collect();
        assert_eq!(named, [(rows[2].sha256, Sad), (rows[3].sha256, Sad)]);
        // Another model disagrees on row 2: the mean counts.
        let other = said(&[(2, Happy, 9.0)]);
        let errors = label_errors(&rows, &[predictions, other]).unwrap();
        assert_eq!(errors.found.len(), 1);
    }

    #[test]
    fn predictions_of_other_rows_are_refused() {
        let one = row(1, Expression::Happy);
        let other = said(&[(2, Expression::Happy, 1.0)]);
        assert_eq!(label_errors(&[&one], &[other]), Err(NoLabelErrors::NoRows));
        let classes = vec!["a".to_owned(), "b".to_owned()];
        let other = Predictions::new(classes, vec![0.0, 1.0], &[0]).unwrap();
        assert_eq!(
            label_errors(&[&one], &[other]),
            Err(NoLabelErrors::Classes(1))
        );
    }
}
