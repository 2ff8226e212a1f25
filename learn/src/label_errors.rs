//! Labels that are likely wrong, from what models say that had not seen the rows: confident learning (Northcutt, Jiang
//! and Chuang 2021, arXiv 1911.00068). Owns which rows are named, and their order. It is a list for people: nothing is
//! removed by it.
//!
//! A row is named if some other class is at least as probable as it is on average for rows that have that class as
//! their label. Rows come in the order of the margin between the label's probability and that class's, the most
//! contradicted first. From predictions of models that learnt from the rows next to nothing follows: they have them by
//! heart.

use std::collections::HashMap;

use fermata_vision::Expression;

use crate::manifest::Row;
use crate::metrics::softmax;
use crate::predictions::Predictions;
use crate::row_hash::RowHash;

/// What the mean of equal numbers may be beside them.
const ROUNDING: f64 = 1e-9;

/// A row whose label is likely wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelError<'a> {
    /// Its place among the rows that were given.
    pub place: usize,
    /// The row.
    pub row: &'a Row,
    /// What the models say that it shows.
    pub suggested: Expression,
    /// Probability of the label.
    pub of_label: f64,
    /// Probability of what is suggested.
    pub of_suggested: f64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelErrors<'a> {
    /// Rows that there are predictions of.
    pub predicted: usize,
    /// Rows that there are none of.
    pub not_predicted: usize,
    /// The most contradicted first.
    pub found: Vec<LabelError<'a>>,
}

/// Why predictions say nothing about labels.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLabelErrors {
    /// Other classes.
    #[error("predictions {0} are not of the seven expressions in their order")]
    Classes(usize),
    /// No hashes.
    #[error("predictions {0} do not say which images their rows are (`sha256`)")]
    NoHashes(usize),
    /// No row.
    #[error("none of the manifests' rows is among the predictions")]
    NoRows,
}

/// Likely label errors among rows, by the mean of all predictions that a row has, joined by the image's hash.
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
    // How probable a class is on average where it is the label; a class without rows is never suggested.
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
            sha256: [number as u8; RowHash::LEN].into(),
            width: 1,
            height: 1,
        }
    }

    /// What a model says: a class and how much more than the others.
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
            // Less sure than sad rows are of being happy: not named.
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
