//! The order in which an epoch visits its rows: a function of seed, epoch and labels alone, so that a training can be
//! resumed in the middle of an epoch.

use serde::{Deserialize, Serialize};

use crate::keyed_random::KeyedRandom;

/// How the rows of an epoch are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Each row once, shuffled.
    #[default]
    Shuffled,
    /// As many draws as rows, with replacement: first a class, all classes present equally likely, then one of its
    /// rows.
    Balanced,
}

/// Separates these random numbers from others of the same seed and epoch.
const PURPOSE: u64 = 0x5361_6D70;

/// Returns the rows of an epoch. `labels` are classes from 0.
pub fn order(labels: &[usize], sampling: Sampling, seed: u64, epoch: u64) -> Vec<usize> {
    let mut random = KeyedRandom::new(&[seed, PURPOSE, epoch]);
    match sampling {
        Sampling::Shuffled => {
            let mut rows: Vec<usize> = (0..labels.len()).collect();
            random.shuffle(&mut rows);
            rows
        }
        Sampling::Balanced => {
            let classes = labels.iter().max().map_or(0, |most| most + 1);
            let mut rows_of: Vec<Vec<usize>> = vec![Vec::new(); classes];
            for (row, &label) in labels.iter().enumerate() {
                rows_of[label].push(row);
            }
            rows_of.retain(|rows| !rows.is_empty());
            let draw = |_| {
                let rows = &rows_of[random.below(rows_of.len() as u64) as usize];
                rows[random.below(rows.len() as u64) as usize]
            };
            (0..labels.len()).map(draw).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_shuffled_epoch_visits_each_row_once(rows in 0usize..100, seed: u64, epoch in 0u64..10) {
            let labels = vec![0; rows];
            let mut visited = order(&labels, Sampling::Shuffled, seed, epoch);
            prop_assert_eq!(&visited, &order(&labels, Sampling::Shuffled, seed, epoch));
            visited.sort_unstable();
            prop_assert_eq!(visited, (0..rows).collect::<Vec<_>>());
        }
    }

    #[test]
    fn epochs_differ_and_classes_are_balanced() {
        // A class of 10 rows, one of 990, and one without rows.
        let labels: Vec<usize> = (0..1000).map(|row| if row < 10 { 2 } else { 0 }).collect();
        let epoch = |epoch| order(&labels, Sampling::Balanced, 1, epoch);
        assert_ne!(epoch(0), epoch(1));
        assert_ne!(
            order(&labels, Sampling::Shuffled, 1, 0),
            order(&labels, Sampling::Shuffled, 1, 1)
        );
        let rare: usize = (0..20)
            .map(|number| epoch(number).iter().filter(|&&row| row < 10).count())
            .sum();
        // Half of 20,000, within five standard deviations.
        assert!(
            (rare as f64 - 10_000.0).abs() < 5.0 * 5000f64.sqrt(),
            "{rare}"
        );
    }
}
