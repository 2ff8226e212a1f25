//! Per-row values of predictions, computed once for all metrics.

use crate::on_all_cores::in_pieces;
use crate::predictions::Predictions;

/// Returns the class with the largest value, the first of equal ones.
pub fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// Returns the probabilities of logits.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits[argmax(logits)];
    let mut shares: Vec<f64> = logits.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

/// Values of each row, computed once for all metrics.
pub(crate) struct Rows<'a> {
    pub(super) predictions: &'a Predictions,
    /// Softmax probabilities, row after row.
    pub(super) probabilities: Vec<f64>,
    /// Class with the largest logit.
    pub(super) predicted: Vec<usize>,
    /// −ln p of the label.
    pub(super) nll: Vec<f64>,
}

/// Rows that a core computes at once.
const PIECE: usize = 1 << 14;

impl<'a> Rows<'a> {
    pub(crate) fn of(predictions: &'a Predictions) -> Self {
        let classes = predictions.classes().len();
        let pieces = in_pieces(predictions.len(), PIECE, |piece| {
            let mut probabilities = Vec::with_capacity(piece.len() * classes);
            let (mut predicted, mut nll) = (Vec::new(), Vec::new());
            for row in piece {
                let logits = predictions.row(row);
                let best = argmax(logits);
                let begin = probabilities.len();
                probabilities.extend(logits.iter().map(|logit| (logit - logits[best]).exp()));
                let sum: f64 = probabilities[begin..].iter().sum();
                for probability in &mut probabilities[begin..] {
                    *probability /= sum;
                }
                predicted.push(best);
                nll.push(logits[best] - logits[predictions.labels()[row]] + sum.ln());
            }
            (probabilities, predicted, nll)
        });
        let mut rows = Self {
            predictions,
            probabilities: Vec::with_capacity(predictions.len() * classes),
            predicted: Vec::with_capacity(predictions.len()),
            nll: Vec::with_capacity(predictions.len()),
        };
        for (probabilities, predicted, nll) in pieces {
            rows.probabilities.extend(probabilities);
            rows.predicted.extend(predicted);
            rows.nll.extend(nll);
        }
        rows
    }

    pub(crate) fn len(&self) -> usize {
        self.predicted.len()
    }

    pub(super) fn classes(&self) -> usize {
        self.predictions.classes().len()
    }

    pub(super) fn label(&self, row: usize) -> usize {
        self.predictions.labels()[row]
    }

    pub(super) fn probabilities(&self, row: usize) -> &[f64] {
        &self.probabilities[row * self.classes()..][..self.classes()]
    }

    pub(super) fn confidence(&self, row: usize) -> f64 {
        self.probabilities(row)[self.predicted[row]]
    }

    pub(super) fn is_right(&self, row: usize) -> bool {
        self.predicted[row] == self.label(row)
    }
}

pub(super) fn brier(rows: &Rows<'_>, row: usize) -> f64 {
    let classes = rows.probabilities(row).iter().enumerate();
    classes
        .map(|(class, p)| {
            let y = if class == rows.label(row) { 1.0 } else { 0.0 };
            (p - y) * (p - y)
        })
        .sum()
}
