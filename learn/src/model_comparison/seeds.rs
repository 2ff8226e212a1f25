//! Comparison of networks trained several times with different seeds, which tells a better network from a lucky
//! training.

use serde::{Deserialize, Serialize};

use crate::evaluation::{CONFIDENCE, SEED};
use crate::metrics::{Drawn, Interval, Rows, SeedMean, SeedMetric};

/// Comparison of several trainings of each network on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedComparison {
    /// Networks in the given order, including those trained once.
    pub networks: Vec<SeedsCompared>,
    /// Each network with each later one.
    pub differences: Vec<SeedDifference>,
}

/// Network in a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedsCompared {
    /// Name of the network.
    pub name: String,
    /// Names of its trainings among the models.
    pub models: Vec<String>,
    /// Metrics of the raw logits.
    pub raw: Vec<SeedMetric>,
    /// Metrics of each training's logits divided by its own temperature, if all have one.
    pub scaled: Option<Vec<SeedMetric>>,
}

/// Mean of the second network's trainings minus that of the first's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedDifference {
    /// Name of the first network.
    pub first: String,
    /// Name of the second network.
    pub second: String,
    /// Differences for the raw logits; rows and trainings are drawn with replacement.
    pub raw: Vec<Interval>,
    /// Differences for the logits divided by their temperatures, if all have one.
    pub scaled: Option<Vec<Interval>>,
}

/// Measured model: its rows, and samples of them.
pub(super) type MeasuredRows<'a> = (Rows<'a>, Drawn);

/// Name of a model, and of the network that it is a training of.
pub(super) type Names<'a> = (&'a str, &'a str);

/// Returns each index below `count` with each later one.
pub(super) fn pairs_of(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |one| (one + 1..count).map(move |other| (one, other)))
}

struct Network<'a> {
    name: &'a str,
    models: Vec<String>,
    raw: SeedMean,
    scaled: Option<SeedMean>,
}

impl SeedComparison {
    /// Column names of [`SeedComparison::table`].
    pub const HEADER: [&str; 8] = [
        "network",
        "less",
        "trainings",
        "logits",
        "metric",
        "value",
        "low",
        "high",
    ];

    /// Returns a line for each network and metric, then for each pair of networks and metric: second minus first.
    pub fn table(&self) -> Vec<Vec<String>> {
        let mut lines = Vec::new();
        let mut push = |names: [&str; 3], kind: &str, interval: &Interval, sign: bool| {
            let mut line: Vec<String> = names.map(str::to_owned).into();
            line.extend([kind.to_owned(), interval.metric.clone()]);
            let number = |value: f64| {
                if sign {
                    format!("{value:+.4}")
                } else {
                    format!("{value:.4}")
                }
            };
            line.extend([interval.value, interval.low, interval.high].map(number));
            lines.push(line);
        };
        for network in &self.networks {
            let count = network.models.len().to_string();
            let kinds = [
                ("raw", Some(&network.raw)),
                ("scaled", network.scaled.as_ref()),
            ];
            for (kind, metrics) in kinds {
                for metric in metrics.into_iter().flatten() {
                    push([&network.name, "", &count], kind, &metric.mean, false);
                }
            }
        }
        for found in &self.differences {
            let kinds = [("raw", Some(&found.raw)), ("scaled", found.scaled.as_ref())];
            for (kind, intervals) in kinds {
                for interval in intervals.into_iter().flatten() {
                    push([&found.second, &found.first, ""], kind, interval, true);
                }
            }
        }
        lines
    }

    /// Compares models that were measured on the same samples; `None` if no network was trained more than once.
    pub(super) fn of(
        models: &[Names<'_>],
        raw: &[MeasuredRows<'_>],
        scaled: &[Option<MeasuredRows<'_>>],
    ) -> Option<Self> {
        let mut names: Vec<&str> = Vec::new();
        for (_, network) in models {
            if !names.contains(network) {
                names.push(network);
            }
        }
        if names.len() == models.len() {
            return None;
        }
        let networks = names.iter().enumerate().map(|(number, &name)| {
            let places = (0..models.len()).filter(|&place| models[place].1 == name);
            let places: Vec<usize> = places.collect();
            let key = [SEED, number as u64];
            let of_raw: Vec<&Drawn> = places.iter().map(|&place| &raw[place].1).collect();
            let of_scaled = places.iter().map(|&place| Some(&scaled[place].as_ref()?.1));
            let of_scaled: Option<Vec<&Drawn>> = of_scaled.collect();
            Network {
                name,
                models: places.iter().map(|&at| models[at].0.to_owned()).collect(),
                raw: SeedMean::of(&of_raw, key),
                scaled: of_scaled.map(|drawn| SeedMean::of(&drawn, key)),
            }
        });
        let networks: Vec<Network<'_>> = networks.collect();
        let difference = |(one, other): (usize, usize)| {
            let (one, other) = (&networks[one], &networks[other]);
            let both = other.scaled.as_ref().zip(one.scaled.as_ref());
            SeedDifference {
                first: one.name.to_owned(),
                second: other.name.to_owned(),
                raw: other.raw.minus(&one.raw, CONFIDENCE),
                scaled: both.map(|(other, one)| other.minus(one, CONFIDENCE)),
            }
        };
        let differences = pairs_of(networks.len()).map(difference).collect();
        let compared = |network: &Network<'_>| SeedsCompared {
            name: network.name.to_owned(),
            models: network.models.clone(),
            raw: network.raw.metrics(CONFIDENCE),
            scaled: network.scaled.as_ref().map(|mean| mean.metrics(CONFIDENCE)),
        };
        Some(Self {
            networks: networks.iter().map(compared).collect(),
            differences,
        })
    }
}
