//! Label noise: wrong labels put into a manifest's training rows on purpose, to measure how well a training copes with
//! them on rows whose labels are right.
//!
//! Owns which rows get which wrong label. Both are functions of the seed and the image's hash, so that every training
//! with the same noise sees the same wrong labels.

use fermata_vision::Expression;
use serde::{Deserialize, Serialize};

use crate::keyed_random::KeyedRandom;
use crate::manifest::{Row, Split};

/// How labels are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confusion {
    /// Replace any label by any other one, all equally likely.
    Symmetric,
    /// Swap the labels of each pair; keep all others.
    Pairs(Vec<[Expression; 2]>),
}

impl Confusion {
    fn of(&self, label: Expression, random: &mut KeyedRandom) -> Expression {
        match self {
            Self::Symmetric => {
                let others = Expression::ALL.iter().filter(|other| **other != label);
                let others: Vec<Expression> = others.copied().collect();
                others[random.below(others.len() as u64) as usize]
            }
            Self::Pairs(pairs) => pairs
                .iter()
                .find_map(|&[one, other]| match label {
                    _ if label == one => Some(other),
                    _ if label == other => Some(one),
                    _ => None,
                })
                .unwrap_or(label),
        }
    }
}

/// Gives a share (0 to 1) of the training rows a wrong label, and returns how many were changed. Validation and test
/// rows stay unchanged.
pub fn confuse(rows: &mut [Row], share: f64, confusion: &Confusion, seed: u64) -> usize {
    let mut changed = 0;
    for row in rows.iter_mut().filter(|row| row.split == Split::Train) {
        let mut random = KeyedRandom::named(seed, &row.sha256.to_string());
        if random.chance(share) {
            let label = confusion.of(row.label, &mut random);
            changed += usize::from(label != row.label);
            row.label = label;
        }
    }
    changed
}

/// Keeps `most` of the training rows, drawn with the seed, in their order; keeps all rows of the other splits.
pub fn draw_training_rows(rows: Vec<Row>, most: usize, seed: u64) -> Vec<Row> {
    let number = |row: &Row| KeyedRandom::named(!seed, &row.sha256.to_string()).bits();
    let training = rows.iter().filter(|row| row.split == Split::Train);
    let mut numbers: Vec<u64> = training.map(number).collect();
    if numbers.len() <= most {
        return rows;
    }
    numbers.sort_unstable();
    let first_left_out = numbers[most];
    let stays = |row: &Row| row.split != Split::Train || number(row) < first_left_out;
    rows.into_iter().filter(stays).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn rows(count: usize) -> Vec<Row> {
        let row = |number: usize| Row {
            image: PathBuf::from(format!("{number}.png")),
            label: Expression::ALL[number % Expression::ALL.len()],
            source: "set".to_owned(),
            split: [Split::Train, Split::Train, Split::Validation, Split::Test][number / 7 % 4],
            group: number.to_string(),
            sha256: format!("{number:064x}").parse().unwrap(),
            width: 48,
            height: 48,
        };
        (0..count).map(row).collect()
    }

    fn training(rows: &[Row]) -> usize {
        rows.iter().filter(|row| row.split == Split::Train).count()
    }

    proptest! {
        #[test]
        fn only_training_rows_get_wrong_labels_and_about_as_many_as_wanted(
            share in 0.0f64..=1.0,
            seed: u64,
        ) {
            let before = rows(4000);
            let mut after = before.clone();
            let changed = confuse(&mut after, share, &Confusion::Symmetric, seed);
            let differ = |(one, other): &(&Row, &Row)| one.label != other.label;
            let wrong: Vec<&Row> = before.iter().zip(&after).filter(differ).map(|(row, _)| row).collect();
            prop_assert_eq!(wrong.len(), changed);
            prop_assert!(wrong.iter().all(|row| row.split == Split::Train));
            let training = training(&before) as f64;
            // Five standard deviations.
            let far = 5.0 * (training * share * (1.0 - share)).sqrt() + 1.0;
            prop_assert!((changed as f64 - training * share).abs() <= far, "{} of {} at {}", changed, training, share);
        }

        #[test]
        fn of_the_drawn_rows_there_are_as_many_as_wanted_and_fewer_are_among_more(
            most in 0usize..200,
            more in 0usize..200,
            seed: u64,
        ) {
            let few = draw_training_rows(rows(300), most, seed);
            let many = draw_training_rows(rows(300), most + more, seed);
            let all = rows(300);
            prop_assert_eq!(training(&few), most.min(training(&all)));
            prop_assert!(few.iter().all(|row| many.contains(row)));
            prop_assert_eq!(few.len() - training(&few), all.len() - training(&all));
        }
    }

    #[test]
    fn pairs_become_each_other_and_the_rest_stays() {
        let before = rows(700);
        let mut after = before.clone();
        let pair = [Expression::Fear, Expression::Surprise];
        confuse(&mut after, 1.0, &Confusion::Pairs(vec![pair]), 1);
        for (before, after) in before.iter().zip(&after) {
            let expected = match before.label {
                _ if before.split != Split::Train => before.label,
                Expression::Fear => Expression::Surprise,
                Expression::Surprise => Expression::Fear,
                label => label,
            };
            assert_eq!(after.label, expected);
        }
    }
}
