//! Networks that were trained several times with other seeds: whether one is better than another, or one of its
//! trainings was.

use serde::{Deserialize, Serialize};

use crate::evaluation::{CONFIDENCE, SEED};
use crate::metrics::{Drawn, Interval, Rows, SeedMean, SeedMetric};

/// The same rows asked of several trainings of each network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedComparison {
    /// Networks in the order in which they were named; one that was trained once is among them.
    pub networks: Vec<SeedsCompared>,
    /// Each network and each one after it.
    pub differences: Vec<SeedDifference>,
}

/// One network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedsCompared {
    /// How it is called.
    pub name: String,
    /// Its trainings, as they are called among the models.
    pub models: Vec<String>,
    /// Of the logits as they are.
    pub raw: Vec<SeedMetric>,
    /// Each training's logits divided by its own temperature, if all have one.
    pub scaled: Option<Vec<SeedMetric>>,
}

/// The mean of the second network's trainings minus that of the first's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedDifference {
    /// The one.
    pub first: String,
    /// The other.
    pub second: String,
    /// Of the logits as they are; rows and trainings are drawn with replacement.
    pub raw: Vec<Interval>,
    /// Of logits divided by their temperatures, if all have one.
    pub scaled: Option<Vec<Interval>>,
}

/// A model that was measured: its rows, and samples of them.
pub(super) type MeasuredRows<'a> = (Rows<'a>, Drawn);

/// What a model is called, and the network that it is a training of.
pub(super) type Names<'a> = (&'a str, &'a str);

/// Each of so many and each one after it.
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
    /// Names of the columns of [`SeedComparison::table`].
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

    /// A line for each network and metric, then for each two networks and metric: second less first.
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

    /// Of models that were measured on the same samples; nothing if none was trained more than once.
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
