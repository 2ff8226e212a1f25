//! What softlabels depend on besides the pictures: teachers, weights, temperatures, preprocessing, views. Owns how two
//! of them differ.

use fermata_vision::card::ModelCard;
use fermata_vision::{Expression, face::EXPRESSIONS};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::augmentation::Augmentation;
use crate::folds::Learnt;
use crate::manifest::Split;

/// What decides, with the pictures, what the softlabels are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alignment {
    /// The order of the logits.
    pub classes: Vec<Expression>,
    /// Hash of the manifest.
    pub manifest_sha256: String,
    /// The manifest's rows that were asked about; none: all.
    pub split: Option<Split>,
    /// V.
    pub views: u32,
    /// Of the views' variations.
    pub seed: u64,
    /// How pictures are varied from view 1 on.
    pub augmentation: Augmentation,
    /// K of them, in the arrays' order.
    pub teachers: Vec<Teacher>,
}

/// A teacher of an ensemble: one model, or several that were trained without a fold each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teacher {
    /// As it is called in the graph.
    pub name: String,
    /// w_k.
    pub weight: f64,
    /// T_k.
    pub temperature: f64,
    /// `onnxruntime` or `libtorch`.
    pub backend: String,
    /// The models' cards: preprocessing, hash of the weights, source.
    pub models: Vec<ModelCard>,
    /// What each model has learnt from, where its provenance says so.
    pub learnt: Vec<Option<Learnt>>,
}

/// How many rows a teacher had learnt from when it was asked about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenRows {
    /// It had not.
    pub unseen: u64,
    /// It had: it may have them by heart.
    pub seen: u64,
    /// Its provenance does not say.
    pub unknown: u64,
}

impl Alignment {
    /// SHA-256 over all fields.
    pub fn sha256(&self) -> String {
        fermata_files::sha256(self.to_value().to_string().as_bytes())
    }

    /// As JSON.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("names and numbers are JSON")
    }

    /// Logits of a row: V · 7.
    pub fn logits_len(&self) -> usize {
        self.views as usize * EXPRESSIONS
    }

    /// The teachers' logits of a row: V · K · 7.
    pub fn teachers_len(&self) -> usize {
        self.logits_len() * self.teachers.len()
    }
}

/// How two values differ, a line for each place: `teachers[0].weight: A here, B there`, with the names of the two.
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
