//! Search for the best ensemble weights of teachers: every point of a grid on the simplex is tried on validation rows.
//! Owns the grid and the choice; each teacher's logits are divided by a temperature fitted on the same rows.

use fermata_vision::Expression;
use serde::{Deserialize, Serialize};

use crate::calibration::{FusionError, Temperature, fit_temperature, fuse};
use crate::in_memory::csv_text;
use crate::metrics::Metrics;
use crate::predictions::{Predictions, PredictionsError};

/// Largest number of grid points.
pub const MOST_POINTS: usize = 100_000;

/// Why a search is not possible.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// A step that does not divide 1.
    #[error("the step is {0}; expected 1 divided by a whole number, such as 0.1 or 0.05")]
    Step(f64),
    /// A step that gives too many points.
    #[error(
        "a step of {step} gives more than {MOST_POINTS} points for {teachers} teachers; use a larger one"
    )]
    Points {
        /// Step of the grid.
        step: f64,
        /// Number of teachers.
        teachers: usize,
    },
    /// Teachers that did not predict the same rows.
    #[error(transparent)]
    Fusion(#[from] FusionError),
    /// Logits that are not valid predictions.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
}

/// Metrics of logits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// See [`Metrics::accuracy`].
    pub accuracy: f64,
    /// See [`Metrics::macro_f1`].
    pub macro_f1: f64,
    /// See [`Metrics::nll`].
    pub nll: f64,
    /// See [`Metrics::brier`].
    pub brier: f64,
    /// See [`Metrics::ece`].
    pub ece: f64,
}

impl Quality {
    fn of(predictions: &Predictions) -> Self {
        let Metrics {
            accuracy,
            macro_f1,
            nll,
            brier,
            ece,
            ..
        } = Metrics::of(predictions);
        Self {
            accuracy,
            macro_f1,
            nll,
            brier,
            ece,
        }
    }

    /// Compares by macro-F1, and if that is equal by NLL.
    fn is_better(&self, than: &Self) -> bool {
        (self.macro_f1, -self.nll) > (than.macro_f1, -than.nll)
    }
}

/// Teacher in a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchedTeacher {
    /// Name of the teacher.
    pub name: String,
    /// Temperature fitted on the rows of the search.
    pub temperature: Temperature,
    /// Metrics of the teacher alone, at its temperature.
    pub alone: Quality,
}

/// Point of the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Weights w_k, in the order of the teachers; they sum to 1.
    pub weights: Vec<f64>,
    /// Metrics of Σ w_k z_k / T_k.
    pub quality: Quality,
}

/// Result of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Number of rows that the points were tried on.
    pub rows: usize,
    /// Distance between neighbouring weights.
    pub step: f64,
    /// Teachers, in the order of the weights.
    pub teachers: Vec<SearchedTeacher>,
    /// Best point: largest macro-F1, then smallest NLL.
    pub best: Candidate,
    /// Every point; the last teacher's weight varies fastest.
    pub candidates: Vec<Candidate>,
}

/// Returns the number of parts into which a grid's step divides 1. Callers can check a step with it before they run
/// the teachers.
///
/// # Errors
/// [`SearchError::Step`] and [`SearchError::Points`].
pub fn parts_of(step: f64, teachers: usize) -> Result<usize, SearchError> {
    let parts = step.recip().round();
    if !(step > 0.0 && step <= 1.0 && (parts * step - 1.0).abs() < 1e-9) {
        return Err(SearchError::Step(step));
    }
    let parts = parts as usize;
    if points(teachers, parts) > MOST_POINTS {
        return Err(SearchError::Points { step, teachers });
    }
    Ok(parts)
}

/// Tries all weights that are multiples of `step` and sum to 1.
///
/// # Errors
/// See [`SearchError`].
pub fn search(
    names: &[String],
    predictions: &[Predictions],
    step: f64,
) -> Result<Search, SearchError> {
    let teachers = predictions.len();
    let parts = parts_of(step, teachers)?;
    let grid = simplex(teachers, parts).ok_or(SearchError::Points { step, teachers })?;
    let mut searched = Vec::new();
    for (name, predictions) in names.iter().zip(predictions) {
        let temperature = fit_temperature(predictions);
        searched.push(SearchedTeacher {
            name: name.clone(),
            alone: Quality::of(&predictions.divided_by(temperature.applied())),
            temperature,
        });
    }
    let temperatures: Vec<f64> = searched
        .iter()
        .map(|teacher| teacher.temperature.applied())
        .collect();
    let labels = predictions[0].labels().iter();
    let labels: Vec<i64> = labels.map(|&label| label as i64).collect();
    let classes = Expression::ALL.map(|class| class.to_string()).to_vec();
    let mut candidates = Vec::with_capacity(grid.len());
    for point in grid {
        let weights: Vec<f64> = point
            .iter()
            .map(|&part| part as f64 / parts as f64)
            .collect();
        let logits = fuse(predictions, &weights, &temperatures)?;
        let fused = Predictions::new(classes.clone(), logits, &labels)?;
        candidates.push(Candidate {
            weights,
            quality: Quality::of(&fused),
        });
    }
    let (first, others) = (&candidates[0], &candidates[1..]);
    let best = others.iter().fold(first, |best, other| {
        if other.quality.is_better(&best.quality) {
            other
        } else {
            best
        }
    });
    let best = best.clone();
    Ok(Search {
        rows: predictions[0].len(),
        step,
        teachers: searched,
        best,
        candidates,
    })
}

/// Returns the number of ways to distribute `parts` among `count` teachers, C(parts + count - 1, count - 1); a result
/// above [`MOST_POINTS`] is only a lower bound.
fn points(count: usize, parts: usize) -> usize {
    let mut points = 1u128;
    for shared in 1..count {
        // C(parts + shared, shared), from the previous one.
        points = points * (parts as u128 + shared as u128) / shared as u128;
        if points > MOST_POINTS as u128 {
            break;
        }
    }
    usize::try_from(points).unwrap_or(usize::MAX)
}

/// Returns all ways to distribute `parts` among `count` teachers. `None` if there are too many or `count` is 0.
fn simplex(count: usize, parts: usize) -> Option<Vec<Vec<usize>>> {
    if count == 0 || points(count, parts) > MOST_POINTS {
        return None;
    }
    let mut points = vec![(Vec::new(), parts)];
    for _ in 1..count {
        let mut longer = Vec::new();
        for (point, left) in points {
            for part in 0..=left {
                let mut point = point.clone();
                point.push(part);
                longer.push((point, left - part));
            }
        }
        points = longer;
    }
    let whole = |(mut point, left): (Vec<usize>, usize)| {
        point.push(left);
        point
    };
    Some(points.into_iter().map(whole).collect())
}

impl Search {
    /// Returns the best single teacher.
    pub fn best_teacher(&self) -> &SearchedTeacher {
        let first = &self.teachers[0];
        let teachers = self.teachers[1..].iter();
        teachers.fold(first, |best, teacher| {
            if teacher.alone.is_better(&best.alone) {
                teacher
            } else {
                best
            }
        })
    }

    /// Returns every point as a table: a weight for each teacher, then the metrics.
    pub fn to_csv(&self) -> String {
        let names = self
            .teachers
            .iter()
            .map(|teacher| format!("w_{}", teacher.name));
        let metrics = ["accuracy", "macro_f1", "nll", "brier", "ece"];
        let header = names.chain(metrics.map(str::to_owned));
        let rows = self.candidates.iter().map(|candidate| {
            let Candidate { weights, quality } = candidate;
            let Quality {
                accuracy,
                macro_f1,
                nll,
                brier,
                ece,
            } = quality;
            let weights = weights.iter().map(|weight| format!("{weight:.4}"));
            let metrics = [accuracy, macro_f1, nll, brier, ece].map(|value| format!("{value:.6}"));
            weights.chain(metrics)
        });
        csv_text(header, rows)
    }

    /// Returns points and their macro-F1 for a chart, best first: at most `most` points, and each teacher alone.
    pub fn ranked(&self, most: usize) -> Vec<(String, f64)> {
        let mut sorted: Vec<&Candidate> = self.candidates.iter().collect();
        sorted.sort_by(|one, other| {
            let by_f1 = other.quality.macro_f1.total_cmp(&one.quality.macro_f1);
            by_f1.then(one.quality.nll.total_cmp(&other.quality.nll))
        });
        let is_alone = |candidate: &Candidate| candidate.weights.contains(&1.0);
        let shown = sorted.into_iter().enumerate();
        shown
            .filter(|(rank, candidate)| *rank < most || is_alone(candidate))
            .map(|(_, candidate)| {
                let names = self.teachers.iter().map(|teacher| &teacher.name);
                let parts = names
                    .zip(&candidate.weights)
                    .filter(|(_, weight)| **weight > 0.0);
                let parts: Vec<String> = parts
                    .map(|(name, weight)| format!("{name} {weight:.2}"))
                    .collect();
                (parts.join(" + "), candidate.quality.macro_f1)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simplex_has_all_points_once_and_sums_of_one() {
        let points = simplex(3, 10).unwrap();
        assert_eq!(points.len(), 66);
        assert!(points.iter().all(|point| point.iter().sum::<usize>() == 10));
        let mut unique = points.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 66);
        assert_eq!(simplex(1, 10).unwrap(), [[10]]);
        assert!(simplex(8, 100).is_none() && simplex(0, 10).is_none());
    }

    #[test]
    fn the_points_of_a_grid_are_counted_before_any_is_made() {
        for (count, parts) in [(1, 10), (2, 1), (2, 7), (3, 10), (4, 20), (6, 5)] {
            let made = simplex(count, parts).unwrap();
            assert_eq!(points(count, parts), made.len(), "{count} and {parts}");
        }
        assert_eq!(points(2, MOST_POINTS - 1), MOST_POINTS);
        assert_eq!(points(1, usize::MAX), 1);
        assert!(points(2, MOST_POINTS) > MOST_POINTS);
        assert!(points(usize::MAX, 1) > MOST_POINTS && points(9, usize::MAX) > MOST_POINTS);
        assert!(simplex(2, 1_000_000_000).is_none() && simplex(3, usize::MAX).is_none());
        for step in [1e-9, 1e-300] {
            let refused = parts_of(step, 2).unwrap_err();
            assert!(
                matches!(refused, SearchError::Points { teachers: 2, .. }),
                "{refused}"
            );
            assert!(parts_of(step, 1).is_ok(), "a teacher alone has one point");
        }
        assert_eq!(parts_of(0.05, 3).unwrap(), 20);
    }

    /// Returns predictions with logits in favour of the given class of each row.
    fn predictions(said: &[usize], by: f64) -> Predictions {
        let row = |&class: &usize| (0..7).map(move |c| if c == class { by } else { 0.0 });
        let logits = said.iter().flat_map(row).collect();
        let labels: Vec<i64> = (0..said.len() as i64).map(|row| row % 7).collect();
        let classes = Expression::ALL.map(|class| class.to_string()).to_vec();
        Predictions::new(classes, logits, &labels).unwrap()
    }

    #[test]
    fn the_best_weights_are_found_and_temperatures_count() {
        // One right and the other wrong in all but some rows, both confident: scaled by its temperature, the second has
        // little influence.
        let good: Vec<usize> = (0..70)
            .map(|row| if row < 7 { 0 } else { row % 7 })
            .collect();
        let poor: Vec<usize> = (0..70)
            .map(|row| if row < 14 { row % 7 } else { 1 })
            .collect();
        let names = ["good", "poor"].map(str::to_owned);
        let teachers = [predictions(&good, 3.0), predictions(&poor, 30.0)];
        let found = search(&names, &teachers, 0.25).unwrap();
        assert_eq!(found.candidates.len(), 5);
        let best = found
            .candidates
            .iter()
            .map(|candidate| candidate.quality.macro_f1);
        assert_eq!(found.best.quality.macro_f1, best.fold(0.0, f64::max));
        assert_eq!(found.best_teacher().name, "good");
        assert!(found.teachers[1].temperature.value > 10.0);
        assert!(found.best.quality.macro_f1 >= found.teachers[0].alone.macro_f1);
        assert_eq!(found.to_csv().lines().count(), 6);
        assert!(
            found
                .to_csv()
                .starts_with("w_good,w_poor,accuracy,macro_f1,nll,brier,ece")
        );
        let ranked = found.ranked(1);
        assert!(ranked.iter().any(|(name, _)| name == "good 1.00"));
        for step in [0.0, 0.3, -0.5, 2.0, f64::NAN] {
            assert!(matches!(
                search(&names, &teachers, step),
                Err(SearchError::Step(_))
            ));
        }
    }
}
