//! A program's own measures besides the run's books, such as the workers of a job: they are shown with those at
//! `/metrics`.

use crate::metric_family::Family;

/// One value of a measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// The metric: a counter or a gauge.
    pub family: &'static Family,
    /// The labels.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// Returns the measures at each scrape: a service that a program lends to its run. A family must always have the same
/// labels, and labels must have few values.
pub struct Measures(pub Box<dyn Fn() -> Vec<Measure> + Send + Sync>);
