//! Folds of a manifest's training rows, and which rows a model has seen. A teacher may have memorised the rows that it
//! was trained on; therefore each of several models leaves out one fold, and predicts the rows of that fold.
//!
//! Owns which fold a row is in, how a training's provenance records the fold it left out, and whether a model has seen
//! a row.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::keyed_random::KeyedRandom;
use crate::manifest::{Row, Split};

/// Key of [`Fold`] in a training's provenance; absent if no fold was left out.
pub const WITHOUT_FOLD: &str = "without_fold";
/// Path of the initial weights' provenance within a training's provenance.
const INITIAL: &str = "/training/initial";
/// Key, at that path, that marks weights which were trained on none of the rows used here.
pub const FOREIGN: &str = "foreign";
/// Key of the manifest's hash in a training's provenance.
const MANIFEST: &str = "manifest_sha256";

/// One of several folds of the training rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fold {
    /// Index of the fold, from 0.
    pub fold: u32,
    /// Number of folds.
    pub folds: u32,
}

/// Returns the fold, from 0 to below `folds`, of the rows of a group: a function of the group's name alone, so that
/// near-duplicates and the pictures of one person are in one fold, in every manifest.
///
/// # Panics
/// Panics if `folds` is 0.
pub fn fold_of(group: &str, folds: u32) -> u32 {
    KeyedRandom::named(0, group).below(u64::from(folds)) as u32
}

impl Fold {
    /// Returns whether a row is in the fold. Only training rows are in folds.
    pub fn has(self, row: &Row) -> bool {
        row.split == Split::Train && fold_of(&row.group, self.folds) == self.fold
    }
}

/// Rows that a model was trained on, according to its provenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learnt {
    /// SHA-256 of the manifest; `None` for weights that do not state it.
    pub manifest_sha256: Option<String>,
    /// Fold that was left out of the training.
    pub without: Option<Fold>,
    /// What the initial weights were trained on; `None` for new or foreign weights.
    pub before: Option<Box<Learnt>>,
}

impl Learnt {
    /// Reads this from the provenance of a training's weights, or of an export of them. `None` if it is not stated
    /// there.
    pub fn of(provenance: &Value) -> Option<Self> {
        let training = match provenance.get("weights") {
            Some(weights) if weights.is_object() => weights,
            _ => provenance,
        };
        let manifest_sha256 = Some(training.get(MANIFEST)?.as_str()?.to_owned());
        let without = match training.get(WITHOUT_FOLD) {
            None | Some(Value::Null) => None,
            Some(fold) => Some(Fold::deserialize(fold).ok()?),
        };
        let initial = training.pointer(INITIAL).filter(|found| !found.is_null());
        Some(Self {
            manifest_sha256,
            without,
            before: initial.and_then(Self::before).map(Box::new),
        })
    }

    /// Returns what a training's initial weights were trained on: unknown unless their provenance or the settings state
    /// it.
    fn before(initial: &Value) -> Option<Self> {
        let said = initial.get("provenance").and_then(Self::of);
        let is_foreign = initial.get(FOREIGN).and_then(Value::as_bool);
        let unknown = Self {
            manifest_sha256: None,
            without: None,
            before: None,
        };
        said.or((is_foreign != Some(true)).then_some(unknown))
    }

    /// Returns whether the model, or its initial weights, were trained on a row of the manifest with this hash. `None`
    /// if one of them was trained on another manifest or does not state which, so that it is unknown.
    pub fn saw(&self, row: &Row, manifest_sha256: &str) -> Option<bool> {
        if self.manifest_sha256.as_deref() != Some(manifest_sha256) {
            return None;
        }
        let left_out = self.without.is_some_and(|fold| fold.has(row));
        if row.split == Split::Train && !left_out {
            return Some(true);
        }
        match &self.before {
            None => Some(false),
            Some(before) => before.saw(row, manifest_sha256),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use fermata_vision::Expression;
    use serde_json::json;

    use super::*;
    use crate::row_hash::RowHash;

    fn row(group: usize, split: Split) -> Row {
        Row {
            image: PathBuf::from("x.png"),
            label: Expression::Happy,
            source: "set".to_owned(),
            split,
            group: format!("g{group}"),
            sha256: RowHash::default(),
            width: 1,
            height: 1,
        }
    }

    #[test]
    fn folds_are_of_about_one_size_and_a_row_is_in_one_of_them() {
        for folds in [2, 3, 5] {
            let mut sizes = vec![0; folds as usize];
            for group in 0..3000 {
                sizes[fold_of(&format!("g{group}"), folds) as usize] += 1;
            }
            let expected = 3000.0 / f64::from(folds);
            // Five standard deviations of a binomial are less than this.
            let is_even = |&size: &i32| (f64::from(size) - expected).abs() < 5.0 * expected.sqrt();
            assert!(sizes.iter().all(is_even), "{sizes:?}");
        }
    }

    #[test]
    fn a_model_saw_the_training_rows_that_it_did_not_leave_out() {
        let trained = json!({"manifest_sha256": "a", "without_fold": {"fold": 0, "folds": 2}});
        let exported = json!({"made_by": "export", "weights": trained});
        for provenance in [trained, exported] {
            let learnt = Learnt::of(&provenance).unwrap();
            let saw = |row: &Row| learnt.saw(row, "a").unwrap();
            for group in 0..50 {
                let left_out = fold_of(&format!("g{group}"), 2) == 0;
                assert_eq!(saw(&row(group, Split::Train)), !left_out);
                assert!(!saw(&row(group, Split::Validation)));
            }
            assert_eq!(learnt.saw(&row(0, Split::Train), "b"), None);
        }
        // Weights that were trained on the fold have seen it, even if this training left it out.
        let began = |initial: Value| {
            let training = json!({"initial": initial});
            let without = json!({"fold": 0, "folds": 2});
            let provenance =
                json!({"manifest_sha256": "a", "without_fold": without, "training": training});
            Learnt::of(&provenance).unwrap()
        };
        let left_out = (0..).find(|group| fold_of(&format!("g{group}"), 2) == 0);
        let left_out = row(left_out.unwrap(), Split::Train);
        for (initial, saw) in [
            (json!({"provenance": {"manifest_sha256": "a"}}), Some(true)),
            (json!({"provenance": {"manifest_sha256": "b"}}), None),
            (json!({"provenance": null, "sha256": "c"}), None),
            (json!({"provenance": {"made_by": "hand"}}), None),
            (json!({"provenance": null, "foreign": false}), None),
            (json!({"provenance": null, "foreign": true}), Some(false)),
            // Their own provenance takes precedence.
            (
                json!({"provenance": {"manifest_sha256": "a"}, "foreign": true}),
                Some(true),
            ),
            (Value::Null, Some(false)),
        ] {
            assert_eq!(began(initial).saw(&left_out, "a"), saw);
        }
        let whole = Learnt::of(&json!({"manifest_sha256": "a"})).unwrap();
        assert_eq!(whole.saw(&row(1, Split::Train), "a"), Some(true));
        assert_eq!(Learnt::of(&json!({"made_by": "hand"})), None);
        let unclear = json!({"manifest_sha256": "a", "without_fold": 3});
        assert_eq!(Learnt::of(&unclear), None, "not known is not seen");
    }
}
