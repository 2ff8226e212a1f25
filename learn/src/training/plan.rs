//! The order in which a training sees its rows: the rows of each step, the end of each epoch, and then the validation
//! rows. It is a function of the settings, the labels and the cursor, so the node that reads the rows and the node that
//! trains on them can each walk it independently.

use super::error::TrainingError;
use super::progress::Progress;
use super::spec::TrainingSpec;
use crate::folds::Fold;
use crate::manifest::{Manifest, Split};

/// Rows of the manifest that a training uses, as indices into the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingRows {
    /// Rows to train on.
    pub train: Vec<usize>,
    /// Class of each training row.
    pub labels: Vec<usize>,
    /// Rows to validate on after each epoch.
    pub validation: Vec<usize>,
}

impl TrainingRows {
    /// Returns the training and validation rows of a manifest, without those of a fold.
    ///
    /// # Errors
    /// There are no rows to train on or none to validate on.
    pub fn of(manifest: &Manifest, without: Option<Fold>) -> Result<Self, TrainingError> {
        let of = |split: Split| -> Vec<usize> {
            let rows = manifest.rows.iter().enumerate();
            rows.filter(|(_, row)| row.split == split)
                .filter(|(_, row)| without.is_none_or(|fold| !fold.has(row)))
                .map(|(index, _)| index)
                .collect()
        };
        let (train, validation) = (of(Split::Train), of(Split::Validation));
        for (rows, split) in [(&train, Split::Train), (&validation, Split::Validation)] {
            if rows.is_empty() {
                return Err(TrainingError::NoRows(split));
            }
        }
        let labels = train.iter().map(|&row| manifest.rows[row].label.index());
        Ok(Self {
            labels: labels.collect(),
            train,
            validation,
        })
    }
}

/// Next item of a training plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// A training row of a step.
    Train {
        /// Epoch, from 0.
        epoch: u32,
        /// Step within the epoch, from 0.
        step: u64,
        /// View in which the row is seen.
        view: u32,
        /// Index in the manifest.
        row: usize,
    },
    /// End of the steps of an epoch; its validation rows follow.
    EpochEnd {
        /// Epoch, from 0.
        epoch: u32,
    },
    /// A validation row, unaugmented.
    Validation {
        /// Epoch after which the row is validated.
        epoch: u32,
        /// Index in the manifest.
        row: usize,
    },
}

/// Iterator over a training from its current progress to its planned end. Early stopping is not part of the plan.
#[derive(Clone, Debug)]
pub struct Plan {
    spec: TrainingSpec,
    rows: TrainingRows,
    epoch: u32,
    end: u32,
    /// Remaining items of the epoch before [`Plan::epoch`].
    left: std::vec::IntoIter<Planned>,
}

impl Plan {
    /// Returns the plan that continues from the given progress.
    pub fn new(spec: &TrainingSpec, rows: &TrainingRows, from: &Progress) -> Self {
        let mut plan = Self {
            spec: spec.clone(),
            rows: rows.clone(),
            epoch: from.epoch,
            end: from.end,
            left: Vec::new().into_iter(),
        };
        if from.is_done() {
            plan.epoch = plan.end;
        } else {
            plan.begin_epoch(from.step);
        }
        plan
    }

    /// Plans an epoch, beginning at the given step.
    fn begin_epoch(&mut self, from: u64) {
        let epoch = self.epoch;
        let steps = self.spec.epoch(&self.rows.labels, epoch);
        let mut planned = Vec::new();
        for (step, rows) in (0..).zip(steps).skip(from as usize) {
            planned.extend(rows.into_iter().map(|(place, view)| Planned::Train {
                epoch,
                step,
                view,
                row: self.rows.train[place],
            }));
        }
        planned.push(Planned::EpochEnd { epoch });
        let validation = self.rows.validation.iter();
        planned.extend(validation.map(|&row| Planned::Validation { epoch, row }));
        self.left = planned.into_iter();
        self.epoch += 1;
    }

    /// Returns the number of training and validation rows still to come.
    pub fn rows_left(&self) -> u64 {
        let is_row = |planned: &&Planned| !matches!(planned, Planned::EpochEnd { .. });
        let left = self.left.as_slice().iter().filter(is_row).count() as u64;
        let count = self.rows.labels.len();
        // A single row left at the end does not form a step.
        let trained = count - usize::from(count % self.spec.batch == 1);
        let epochs = u64::from(self.end.saturating_sub(self.epoch));
        left + epochs * (trained + self.rows.validation.len()) as u64
    }
}

impl Iterator for Plan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if let Some(planned) = self.left.next() {
            return Some(planned);
        }
        if self.epoch >= self.end {
            return None;
        }
        self.begin_epoch(0);
        self.left.next()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(batch: usize, epochs: u32) -> TrainingSpec {
        let yaml = format!("architecture: resnet18\nbatch: {batch}\nepochs: {epochs}\n");
        serde_saphyr::from_str(&yaml).unwrap()
    }

    fn rows(train: usize, validation: usize) -> TrainingRows {
        TrainingRows {
            train: (0..train).map(|row| 2 * row).collect(),
            labels: (0..train).map(|row| row % 7).collect(),
            validation: (0..validation).map(|row| 2 * row + 1).collect(),
        }
    }

    fn at(epoch: u32, step: u64, end: u32) -> Progress {
        Progress {
            epoch,
            step,
            ..Progress::new(end)
        }
    }

    proptest! {
        #[test]
        fn a_plan_that_begins_later_is_the_rest_of_the_whole(
            batch in 2usize..6,
            train in 2usize..20,
            validation in 1usize..5,
            epoch in 0u32..3,
            step in 0u64..8,
        ) {
            let (spec, rows) = (spec(batch, 3), rows(train, validation));
            let step = step.min(spec.steps(train));
            let whole: Vec<Planned> = Plan::new(&spec, &rows, &at(0, 0, 3)).collect();
            let is_before = |planned: &Planned| match *planned {
                Planned::Train { epoch: e, step: s, .. } => (e, s) < (epoch, step),
                Planned::EpochEnd { epoch: e } | Planned::Validation { epoch: e, .. } => e < epoch,
            };
            let rest: Vec<Planned> = whole.into_iter().filter(|planned| !is_before(planned)).collect();
            let plan = Plan::new(&spec, &rows, &at(epoch, step, 3));
            let ends = rest.iter().filter(|planned| matches!(planned, Planned::EpochEnd { .. })).count();
            prop_assert_eq!(plan.rows_left(), (rest.len() - ends) as u64);
            prop_assert_eq!(plan.collect::<Vec<_>>(), rest);
        }
    }

    #[test]
    fn an_epoch_is_its_rows_its_end_and_its_validation() {
        let plan: Vec<Planned> = Plan::new(&spec(2, 2), &rows(4, 2), &at(1, 1, 2)).collect();
        assert!(
            matches!(
                plan[..2],
                [
                    Planned::Train {
                        epoch: 1,
                        step: 1,
                        view: 1,
                        ..
                    },
                    Planned::Train { .. }
                ]
            ),
            "{plan:?}"
        );
        let rest = [
            Planned::EpochEnd { epoch: 1 },
            Planned::Validation { epoch: 1, row: 1 },
            Planned::Validation { epoch: 1, row: 3 },
        ];
        assert_eq!(plan[2..], rest);
        // All steps are trained but not yet validated.
        let plan: Vec<Planned> = Plan::new(&spec(2, 2), &rows(4, 2), &at(1, 2, 2)).collect();
        assert_eq!(plan, rest);
        assert_eq!(Plan::new(&spec(2, 2), &rows(4, 2), &at(2, 0, 2)).count(), 0);
    }

    #[test]
    fn epochs_see_views_in_turn_and_further_draws_other_ones() {
        let views = |count| super::super::spec::Views { count, seed: None };
        assert_eq!(
            [0, 1, 7, 8].map(|epoch| views(Some(8)).of(epoch, 0)),
            [0, 1, 7, 0]
        );
        assert_eq!([0, 1, 2].map(|draw| views(Some(8)).of(3, draw)), [3, 4, 5]);
        assert_eq!(views(None).of(30, 0), 30);
        assert_ne!(views(None).of(30, 1), 31);
    }
}
