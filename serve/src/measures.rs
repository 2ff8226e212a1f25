//! Measures that a program has besides the run's books, such as the workers of a job: they are shown with those at
//! `/metrics`. Owns what a measure is.

use crate::metric_family::Family;

/// Of a measure, one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// What is measured: a counter or a gauge.
    pub family: &'static Family,
    /// What it is of.
    pub labels: Vec<(&'static str, String)>,
    /// How much.
    pub value: f64,
}

/// Gives the measures at each scrape: a service that a program lends to its run. The same family always has the same
/// labels, and there are as few values of a label as people want to look at.
pub struct Measures(pub Box<dyn Fn() -> Vec<Measure> + Send + Sync>);
