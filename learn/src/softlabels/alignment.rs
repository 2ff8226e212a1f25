//! What softlabels depend on besides the pictures: teachers, weights, temperatures, preprocessing, views. Owns how two
//! alignments are compared.

use fermata_vision::card::ModelCard;
use fermata_vision::{Expression, face::EXPRESSIONS};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::augmentation::Augmentation;
use crate::folds::Learnt;
use crate::manifest::Split;

/// Everything that determines the softlabels, apart from the pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alignment {
    /// Classes in the order of the logits.
    pub classes: Vec<Expression>,
    /// SHA-256 of the manifest.
    pub manifest_sha256: String,
    /// Split whose rows were predicted; `None` for all rows.
    pub split: Option<Split>,
    /// Number of views V.
    pub views: u32,
    /// Seed of the augmentation.
    pub seed: u64,
    /// Augmentation of the pictures from view 1 on.
    pub augmentation: Augmentation,
    /// The K teachers, in the order of the arrays.
    pub teachers: Vec<Teacher>,
}

/// Teacher of an ensemble: one model, or several that were each trained without one fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teacher {
    /// Name in the graph.
    pub name: String,
    /// Weight w_k.
    pub weight: f64,
    /// Temperature T_k.
    pub temperature: f64,
    /// Inference backend, `onnxruntime` or `libtorch`.
    pub backend: String,
    /// Cards of the models: preprocessing, hash of the weights, source.
    pub models: Vec<ModelCard>,
    /// Rows that each model was trained on, if its provenance states them.
    pub learnt: Vec<Option<Learnt>>,
}

/// Number of rows by whether the teacher was trained on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenRows {
    /// Rows that it was not trained on.
    pub unseen: u64,
    /// Rows that it was trained on and may have memorised.
    pub seen: u64,
    /// Rows for which its provenance does not tell.
    pub unknown: u64,
}

impl Alignment {
    /// Returns the SHA-256 over all fields.
    pub fn sha256(&self) -> String {
        fermata_files::sha256(self.to_value().to_string().as_bytes())
    }

    /// Returns the alignment as JSON.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("names and numbers are JSON")
    }

    /// Returns the number of logits of a row: V · 7.
    pub fn logits_len(&self) -> usize {
        self.views as usize * EXPRESSIONS
    }

    /// Returns the number of the teachers' logits of a row: V · K · 7.
    pub fn teachers_len(&self) -> usize {
        self.logits_len() * self.teachers.len()
    }
}

/// Returns how two values differ, a line for each path: `teachers[0].weight: A in ONE, B in OTHER`, with the names of
/// the two.
pub fn differences(one: (&str, &Value), other: (&str, &Value)) -> Vec<String> {
    let mut found = Vec::new();
    collect("", one, other, &mut found);
    found
}

fn collect(path: &str, one: (&str, &Value), other: (&str, &Value), found: &mut Vec<String>) {
    let inside = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    match (one.1, other.1) {
        (Value::Object(a), Value::Object(b)) => {
            let all = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            for key in all {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                let (a, b) = (of(a).unwrap_or_default(), of(b).unwrap_or_default());
                collect(&inside(key), (one.0, &a), (other.0, &b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                let path = format!("{path}[{index}]");
                collect(&path, (one.0, a), (other.0, b), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path}: {a} in {}, {b} in {}", one.0, other.0)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_places() {
        let one = json!({"a": 1, "b": [{"c": 0.5}, {"c": 1}], "only": 2, "d": [1, 2]});
        let other = json!({"a": 1, "b": [{"c": 0.25}, {"c": 1}], "d": [1]});
        assert_eq!(
            differences(("the export", &one), ("the training", &other)),
            [
                "b[0].c: 0.5 in the export, 0.25 in the training",
                "only: 2 in the export, null in the training",
                "d: [1,2] in the export, [1] in the training",
            ]
        );
        assert!(differences(("x", &one), ("y", &one)).is_empty());
    }
}
