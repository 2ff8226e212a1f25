//! Comparison of several models on the same rows: their raw and temperature-scaled metrics with confidence intervals,
//! and each pair of models. Owns which rows are compared (joined by the images' hashes, never by position) and the
//! tables; formulas are in [`crate::metrics`].

mod seeds;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use self::seeds::pairs_of;
pub use self::seeds::{SeedComparison, SeedDifference, SeedsCompared};
use crate::calibration::Temperature;
use crate::evaluation::{CONFIDENCE, Measured, SAMPLES, SEED};
use crate::metrics::{Comparison, Drawn, NotPaired, Rows, are_paired, compare_drawn, draw};
use crate::predictions::Predictions;
use crate::row_hash::RowHash;

/// Named predictions of a model.
#[derive(Clone, Debug)]
pub struct Said {
    /// Name of the model.
    pub name: String,
    /// Predictions with the hashes of the rows' images.
    pub predictions: Predictions,
    /// Temperature fitted on other rows, if there is one.
    pub temperature: Option<Temperature>,
    /// Name of the network, if this is one of several trainings of it with different seeds.
    pub training_of: Option<String>,
}

impl Said {
    fn network(&self) -> &str {
        self.training_of.as_ref().unwrap_or(&self.name)
    }
}

/// Why models cannot be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotComparable {
    /// Fewer than two models.
    #[error("a comparison needs at least two models, not {0}")]
    TooFew(usize),
    /// Two models with the same name.
    #[error("two models are called `{0}`; give them names (NAME=PATH)")]
    SameName(String),
    /// Predictions without hashes to join by.
    #[error(
        "the predictions of {0} have no `sha256` of their rows' images, so they cannot be joined with others"
    )]
    NoHashes(String),
    /// Predictions of other rows.
    #[error(
        "{name} and {first} did not predict the same rows: {missing} of {first}'s are missing, {more} are not among them; compare only those that both have with --common-rows"
    )]
    OtherRows {
        /// Name of the first model.
        first: String,
        /// Name of the other model.
        name: String,
        /// Number of rows that the other model lacks.
        missing: usize,
        /// Number of rows that the first model lacks.
        more: usize,
    },
    /// No row in common.
    #[error("no row was predicted by all models")]
    NoRows,
    /// Other labels for the same rows.
    #[error(
        "{name} and {first} have other labels for {count} of the same images, from different label policies; evaluate both on one manifest"
    )]
    OtherLabels {
        /// Name of the first model.
        first: String,
        /// Name of the other model.
        name: String,
        /// Number of such rows.
        count: usize,
    },
    /// Other classes or rows.
    #[error(transparent)]
    NotPaired(#[from] NotPaired),
}

/// Model in a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Name of the model.
    pub name: String,
    /// Measurements of the raw logits.
    pub raw: Measured,
    /// Measurements of the logits divided by the temperature, if there is one that is not at a bound.
    pub scaled: Option<Measured>,
    /// Fitted temperature.
    pub temperature: Option<Temperature>,
}

/// Pair of models in a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairCompared {
    /// Name of the first model.
    pub first: String,
    /// Name of the second model: differences are its value minus the first's.
    pub second: String,
    /// Comparison of the raw logits.
    pub raw: Comparison,
    /// Comparison of the logits divided by their temperatures, if both models have one.
    pub scaled: Option<Comparison>,
}

/// Comparison of all models on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelComparison {
    /// Number of rows that all models predicted.
    pub rows: usize,
    /// Number of rows of each model that some other model lacks, where that is allowed.
    pub left_out: BTreeMap<String, usize>,
    /// Classes, in the order of the logits.
    pub classes: Vec<String>,
    /// Models in the given order.
    pub models: Vec<Compared>,
    /// Each model with each later one.
    pub pairs: Vec<PairCompared>,
    /// Means over the trainings of each network, if one was trained more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<SeedComparison>,
}

impl ModelComparison {
    /// Compares models on the same rows, or with `common_rows` on those that all models predicted.
    ///
    /// # Errors
    /// See [`NotComparable`].
    pub fn of(models: Vec<Said>, common_rows: bool) -> Result<Self, NotComparable> {
        if models.len() < 2 {
            return Err(NotComparable::TooFew(models.len()));
        }
        for (place, model) in models.iter().enumerate() {
            let alike = |other: &&Said| {
                let apart = other.training_of == model.training_of;
                other.name == model.name || !apart && other.network() == model.network()
            };
            if models[..place].iter().find(alike).is_some() {
                return Err(NotComparable::SameName(model.network().to_owned()));
            }
        }
        let (joined, left_out) = join(models, common_rows)?;
        for (one, other) in pairs_of(joined.len()) {
            are_paired(&joined[one].predictions, &joined[other].predictions)?;
        }
        let divided: Vec<Option<Predictions>> = joined.iter().map(divided).collect();
        let raw: Vec<Rows<'_>> = joined.iter().map(|m| Rows::of(&m.predictions)).collect();
        let scaled: Vec<Option<Rows<'_>>> =
            divided.iter().map(|m| m.as_ref().map(Rows::of)).collect();
        // All use the same samples, so that each is drawn only once.
        let all: Vec<&Rows<'_>> = raw.iter().chain(scaled.iter().flatten()).collect();
        let mut drawn = draw(&all, SAMPLES, SEED).into_iter();
        let raw: Vec<_> = raw.into_iter().zip(drawn.by_ref()).collect();
        let with_drawn = |rows: Option<_>| Some((rows?, drawn.next()?));
        let scaled: Vec<Option<_>> = scaled.into_iter().map(with_drawn).collect();
        let compared = |one: &(Rows<'_>, Drawn), other: &(Rows<'_>, Drawn)| {
            compare_drawn((&one.0, &one.1), (&other.0, &other.1), CONFIDENCE)
        };
        let pairs = pairs_of(joined.len()).map(|(one, other)| {
            let both = scaled[one].as_ref().zip(scaled[other].as_ref());
            PairCompared {
                first: joined[one].name.clone(),
                second: joined[other].name.clone(),
                raw: compared(&raw[one], &raw[other]),
                scaled: both.map(|(one, other)| compared(one, other)),
            }
        });
        let names = joined.iter().map(|model| (&*model.name, model.network()));
        let names: Vec<_> = names.collect();
        let seeds = SeedComparison::of(&names, &raw, &scaled);
        let measure = |(rows, drawn): &(Rows<'_>, Drawn)| Measured::of(rows, drawn);
        let models = joined.iter().enumerate().map(|(place, model)| Compared {
            name: model.name.clone(),
            raw: measure(&raw[place]),
            scaled: scaled[place].as_ref().map(measure),
            temperature: model.temperature.clone(),
        });
        Ok(Self {
            rows: joined[0].predictions.len(),
            left_out,
            classes: joined[0].predictions.classes().to_vec(),
            pairs: pairs.collect(),
            models: models.collect(),
            seeds,
        })
    }

    /// Returns the column names of [`ModelComparison::table`].
    pub fn header(&self) -> Vec<String> {
        let mut header: Vec<String> = ["model", "accuracy", "accuracy_low", "accuracy_high"]
            .into_iter()
            .chain(["macro_f1", "macro_f1_low", "macro_f1_high"])
            .map(str::to_owned)
            .collect();
        header.extend(self.classes.iter().map(|class| format!("f1_{class}")));
        let kinds = ["nll", "ece", "brier"];
        header.extend(kinds.map(str::to_owned));
        header.push("temperature".to_owned());
        header.extend(kinds.map(|kind| format!("scaled_{kind}")));
        header
    }

    /// Returns a line for each model. Missing values are empty.
    pub fn table(&self) -> Vec<Vec<String>> {
        let number = |value: f64| format!("{value:.4}");
        let lines = self.models.iter().map(|model| {
            let metrics = &model.raw.metrics;
            let mut line = vec![model.name.clone()];
            for (metric, value) in [
                ("accuracy", metrics.accuracy),
                ("macro_f1", metrics.macro_f1),
            ] {
                let found = model.raw.intervals.iter().find(|i| i.metric == metric);
                line.push(number(value));
                line.push(found.map_or(String::new(), |found| number(found.low)));
                line.push(found.map_or(String::new(), |found| number(found.high)));
            }
            line.extend(metrics.per_class.iter().map(|class| number(class.f1)));
            line.extend([metrics.nll, metrics.ece, metrics.brier].map(number));
            let temperature = model.temperature.as_ref();
            line.push(match temperature {
                Some(fit) if fit.bound_hit => "bound hit".to_owned(),
                Some(fit) => number(fit.value),
                None => String::new(),
            });
            line.extend(match &model.scaled {
                Some(scaled) => {
                    let metrics = &scaled.metrics;
                    [metrics.nll, metrics.ece, metrics.brier].map(number)
                }
                None => [const { String::new() }; 3],
            });
            line
        });
        lines.collect()
    }

    /// Column names of [`ModelComparison::pairs_table`].
    pub const PAIRS_HEADER: [&str; 10] = [
        "first",
        "second",
        "logits",
        "metric",
        "difference",
        "low",
        "high",
        "only_first_right",
        "only_second_right",
        "mcnemar_p",
    ];

    /// Returns a line for each pair of models, kind of logits (raw, scaled) and metric: second minus first, with its
    /// interval.
    pub fn pairs_table(&self) -> Vec<[String; 10]> {
        let mut lines = Vec::new();
        for pair in &self.pairs {
            let kinds = [("raw", Some(&pair.raw)), ("scaled", pair.scaled.as_ref())];
            for (kind, comparison) in kinds {
                let Some(comparison) = comparison else {
                    continue;
                };
                for difference in &comparison.differences {
                    lines.push([
                        pair.first.clone(),
                        pair.second.clone(),
                        kind.to_owned(),
                        difference.metric.clone(),
                        format!("{:+.4}", difference.value),
                        format!("{:+.4}", difference.low),
                        format!("{:+.4}", difference.high),
                        comparison.only_first_right.to_string(),
                        comparison.only_second_right.to_string(),
                        format!("{:.4}", comparison.mcnemar_p),
                    ]);
                }
            }
        }
        lines
    }
}

fn divided(model: &Said) -> Option<Predictions> {
    let fit = model.temperature.as_ref().filter(|fit| !fit.bound_hit)?;
    Some(model.predictions.divided_by(fit.value))
}

/// Identity of a row: its image, and its index among the rows with this image, in the order of their labels.
type Key = (RowHash, usize);

fn keys(model: &Said) -> Result<HashMap<Key, usize>, NotComparable> {
    let hashes = model.predictions.hashes();
    let hashes = hashes.ok_or_else(|| NotComparable::NoHashes(model.name.clone()))?;
    let labels = model.predictions.labels();
    let mut order: Vec<usize> = (0..hashes.len()).collect();
    order.sort_by_key(|&row| (hashes[row], labels[row]));
    let mut keys = HashMap::with_capacity(order.len());
    for same in order.chunk_by(|&one, &other| hashes[one] == hashes[other]) {
        for (number, &row) in same.iter().enumerate() {
            keys.insert((hashes[row], number), row);
        }
    }
    Ok(keys)
}

/// Returns the rows common to all models, in the first model's order, and how many rows of each model are left out.
fn join(
    models: Vec<Said>,
    common_rows: bool,
) -> Result<(Vec<Said>, BTreeMap<String, usize>), NotComparable> {
    let keys: Vec<HashMap<Key, usize>> = models.iter().map(keys).collect::<Result<_, _>>()?;
    let first = &models[0];
    for (model, own) in models.iter().zip(&keys).skip(1) {
        let both = own.keys().filter(|key| keys[0].contains_key(*key)).count();
        let (missing, more) = (keys[0].len() - both, own.len() - both);
        if missing + more > 0 && !common_rows {
            return Err(NotComparable::OtherRows {
                first: first.name.clone(),
                name: model.name.clone(),
                missing,
                more,
            });
        }
    }
    let mut common: Vec<(usize, Key)> = keys[0]
        .iter()
        .filter(|(key, _)| keys.iter().all(|own| own.contains_key(*key)))
        .map(|(key, &row)| (row, *key))
        .collect();
    common.sort_unstable();
    if common.is_empty() {
        return Err(NotComparable::NoRows);
    }
    let (mut joined, mut left_out): (Vec<Said>, _) = (Vec::new(), BTreeMap::new());
    for (model, own) in models.into_iter().zip(&keys) {
        let rows: Vec<usize> = common.iter().map(|(_, key)| own[key]).collect();
        if rows.len() < model.predictions.len() {
            left_out.insert(model.name.clone(), model.predictions.len() - rows.len());
        }
        let predictions = model.predictions.rows_at(&rows);
        if let Some(first) = joined.first() {
            let labels = first.predictions.labels().iter().zip(predictions.labels());
            let count = labels.filter(|(one, other)| one != other).count();
            if count > 0 && first.predictions.classes() == predictions.classes() {
                return Err(NotComparable::OtherLabels {
                    first: first.name.clone(),
                    name: model.name,
                    count,
                });
            }
        }
        joined.push(Said {
            predictions,
            ..model
        });
    }
    Ok((joined, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, rows: &[(u8, i64, f64)]) -> Said {
        let logits = rows.iter().flat_map(|row| [row.2, 0.0]).collect();
        let labels: Vec<i64> = rows.iter().map(|row| row.1).collect();
        let classes = vec!["a".to_owned(), "b".to_owned()];
        let predictions = Predictions::new(classes, logits, &labels).unwrap();
        Said {
            name: name.to_owned(),
            predictions: predictions
                .with_hashes(rows.iter().map(|row| [row.0; 32].into()).collect()),
            temperature: None,
            training_of: None,
        }
    }

    fn training(network: &str, seed: usize, rows: &[(u8, i64, f64)]) -> Said {
        Said {
            training_of: Some(network.to_owned()),
            ..said(&format!("{network}.{seed}"), rows)
        }
    }

    #[test]
    fn trainings_of_a_network_are_one_by_their_mean() {
        let rows = |right: [f64; 4]| -> Vec<(u8, i64, f64)> {
            (0..4)
                .map(|row| (row, 0, right[usize::from(row)]))
                .collect()
        };
        // Accuracies 0.25, 0.75 and 0.5: mean 0.5, deviation 0.25; and one training with accuracy 1.
        let models = vec![
            training("ce", 1, &rows([1.0, -1.0, -1.0, -1.0])),
            training("ce", 2, &rows([1.0, 1.0, 1.0, -1.0])),
            training("ce", 3, &rows([1.0, 1.0, -1.0, -1.0])),
            said("kd", &rows([1.0; 4])),
        ];
        let compared = ModelComparison::of(models.clone(), false).unwrap();
        assert_eq!(compared.models.len(), 4);
        let seeds = compared.seeds.unwrap();
        let [ce, kd] = &seeds.networks[..] else {
            panic!("two networks")
        };
        assert_eq!((&*ce.name, &*kd.name), ("ce", "kd"));
        assert_eq!(ce.models, ["ce.1", "ce.2", "ce.3"]);
        assert_eq!(ce.raw[0].mean.metric, "accuracy");
        assert!((ce.raw[0].mean.value - 0.5).abs() < 1e-12);
        assert!((ce.raw[0].deviation.unwrap() - 0.25).abs() < 1e-12);
        assert_eq!(kd.raw[0].deviation, None);
        // This network is right on every row, whatever is drawn.
        let always = &kd.raw[0].mean;
        assert_eq!((always.value, always.low, always.high), (1.0, 1.0, 1.0));
        let difference = &seeds.differences[0];
        assert_eq!((&*difference.first, &*difference.second), ("ce", "kd"));
        assert!((difference.raw[0].value - 0.5).abs() < 1e-12);
        // Trainings are drawn as well as rows: the interval is wider than for the rows of one training with the same
        // mean.
        let one = ModelComparison::of(vec![models[2].clone(), models[3].clone()], false).unwrap();
        let of_rows = &one.pairs[0].raw.differences[0];
        assert!(of_rows.high - of_rows.low > 0.0);
        let spread = ce.raw[0].mean.high - ce.raw[0].mean.low;
        assert!((0.2..=1.0).contains(&spread), "{spread}");
        // No seed comparison if each network has only one training.
        assert_eq!(one.seeds, None);
        let twice = vec![models[0].clone(), said("ce", &rows([1.0; 4]))];
        let error = ModelComparison::of(twice, false);
        assert_eq!(error, Err(NotComparable::SameName("ce".to_owned())));
    }

    #[test]
    fn rows_are_joined_by_their_images_and_not_by_their_places() {
        let one = said(
            "one",
            &[(1, 0, 2.0), (2, 1, 2.0), (3, 0, 1.0), (3, 1, -1.0)],
        );
        // The same answers in another order.
        let other = said(
            "other",
            &[(3, 1, -1.0), (2, 1, 2.0), (1, 0, 2.0), (3, 0, 1.0)],
        );
        let compared = ModelComparison::of(vec![one, other], false).unwrap();
        let [one, other] = &compared.models[..] else {
            panic!("two models")
        };
        assert_eq!(one.raw, other.raw);
        assert_eq!(one.raw.metrics.accuracy, 0.75);
        let pair = &compared.pairs[0].raw;
        assert!(
            pair.differences
                .iter()
                .all(|d| (d.value, d.low, d.high) == (0.0, 0.0, 0.0))
        );
        assert_eq!(compared.table()[0].len(), compared.header().len());
    }

    #[test]
    fn other_rows_are_refused_or_left_out_and_counted() {
        let one = said("one", &[(1, 0, 2.0), (2, 1, 2.0), (3, 0, 1.0)]);
        let other = said(
            "other",
            &[(2, 1, -2.0), (3, 0, 1.0), (4, 0, 1.0), (5, 0, 1.0)],
        );
        let error = ModelComparison::of(vec![one.clone(), other.clone()], false).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("1 of one's are missing, 2 are not among them"),
            "{error}"
        );
        let compared = ModelComparison::of(vec![one.clone(), other], true).unwrap();
        assert_eq!(compared.rows, 2);
        let left_out = [("one", 1), ("other", 2)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(compared.left_out, BTreeMap::from(left_out));
        assert_eq!(compared.pairs[0].raw.only_second_right, 1);
        let relabelled = said("other", &[(1, 1, 2.0), (2, 1, 2.0), (3, 0, 1.0)]);
        assert_eq!(
            ModelComparison::of(vec![one.clone(), relabelled], false),
            Err(NotComparable::OtherLabels {
                first: "one".to_owned(),
                name: "other".to_owned(),
                count: 1
            })
        );
        let error = ModelComparison::of(vec![one.clone(), one.clone()], false);
        assert_eq!(error, Err(NotComparable::SameName("one".to_owned())));
        assert_eq!(
            ModelComparison::of(vec![one], false),
            Err(NotComparable::TooFew(1))
        );
    }
}
