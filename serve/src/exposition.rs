//! Metrics with their values, written in Prometheus' classic text format. The values come from elsewhere.

use std::collections::BTreeMap;

use fermata_engine::statistics::{TIME_BOUNDS_S, Times};
use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::metric_family::{Family, Kind};

/// Labels and their values.
pub(crate) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// All families, ordered by name.
#[derive(Default)]
pub(crate) struct Exposition(BTreeMap<&'static str, MetricFamily>);

impl Exposition {
    /// Adds a value of a counter or a gauge.
    pub(crate) fn number(&mut self, family: &Family, labels: &Labels<'_>, value: f64) {
        let mut metric = labelled(labels);
        if family.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.add(family, metric);
    }

    /// Adds a histogram.
    pub(crate) fn times(&mut self, family: &Family, labels: &Labels<'_>, times: &Times) {
        let mut histogram = Histogram::default();
        histogram.set_sample_count(times.count);
        histogram.set_sample_sum(times.sum_s);
        let counts = times.up_to.iter().copied().chain(std::iter::repeat(0));
        let buckets = TIME_BOUNDS_S.iter().zip(counts).map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        self.add(family, metric);
    }

    fn add(&mut self, about: &Family, metric: Metric) {
        let family = self.0.entry(about.name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(about.name.to_owned());
            family.set_help(about.help.to_owned());
            family.set_field_type(match about.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
            });
            family
        });
        family.mut_metric().push(metric);
    }

    /// Returns the text.
    ///
    /// # Errors
    /// Fails if Prometheus' library cannot write it, as for an invalid name.
    pub(crate) fn into_text(self) -> prometheus::Result<String> {
        let families: Vec<_> = self.0.into_values().collect();
        TextEncoder::new().encode_to_string(&families)
    }
}

fn labelled(labels: &Labels<'_>) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}
