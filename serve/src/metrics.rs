//! `/metrics`: the books of the run in Prometheus' classic text format, read at each scrape. There are no second counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fermata_engine::statistics::{
    EdgeNow, NodeNow, NodeState, Snapshot, StreamNow, TIME_BOUNDS_S, Times,
};
use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::measures::Measure;
use crate::watched_run::WatchedRun;

pub(crate) fn routes() -> Router<Arc<WatchedRun>> {
    Router::new().route("/metrics", get(scrape))
}

async fn scrape(State(run): State<Arc<WatchedRun>>) -> Response {
    let snapshot = run.handle.snapshot();
    let measures = run.measures.as_ref().map(|measures| (measures.0)());
    let families = families(&snapshot, &measures.unwrap_or_default());
    match TextEncoder::new().encode_to_string(&families) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!("the metrics cannot be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Labels and their values.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// All families, in the order of their names.
#[derive(Default)]
struct Families(BTreeMap<&'static str, MetricFamily>);

impl Families {
    fn add(&mut self, (name, help): (&'static str, &str), of: MetricType, metric: Metric) {
        let family = self.0.entry(name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(of);
            family
        });
        family.mut_metric().push(metric);
    }

    fn count(&mut self, about: (&'static str, &str), labels: &Labels<'_>, value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = labelled(labels);
        metric.set_counter(counter);
        self.add(about, MetricType::COUNTER, metric);
    }

    fn gauge(&mut self, about: (&'static str, &str), labels: &Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = labelled(labels);
        metric.set_gauge(gauge);
        self.add(about, MetricType::GAUGE, metric);
    }

    fn times(&mut self, about: (&'static str, &str), labels: &Labels<'_>, times: &Times) {
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
        self.add(about, MetricType::HISTOGRAM, metric);
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

fn families(snapshot: &Snapshot, measures: &[Measure]) -> Vec<MetricFamily> {
    let mut families = Families::default();
    for measure in measures {
        self::measure(&mut families, measure);
    }
    run(&mut families, snapshot);
    // Units come and go by the thousand: series of their own would be without bounds.
    let nodes = snapshot.nodes.iter();
    for node in nodes.filter(|node| !snapshot.has_units || node.place.stream.is_none()) {
        self::node(&mut families, node);
    }
    if !snapshot.has_units {
        for edge in &snapshot.edges {
            self::edge(&mut families, edge);
        }
        for stream in &snapshot.streams {
            self::stream(&mut families, stream, &snapshot.nodes);
        }
    }
    families.0.into_values().collect()
}

fn measure(to: &mut Families, measure: &Measure) {
    let labels = measure.labels.iter();
    let labels = labels
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let about = (measure.name, measure.help);
    match measure.is_counter {
        true => to.count(about, &labels, measure.value),
        false => to.gauge(about, &labels, measure.value),
    }
}

fn run(to: &mut Families, snapshot: &Snapshot) {
    let Snapshot {
        at_s,
        streams,
        closed,
        faults,
        ..
    } = snapshot;
    let none = Vec::new();
    let sum = |of: fn(&StreamNow) -> u64| streams.iter().map(of).sum::<u64>();
    to.gauge(
        ("fermata_run_age_seconds", "Time since the run began."),
        &none,
        *at_s,
    );
    to.count(
        (
            "fermata_run_faults_total",
            "Faults found: what makes a run fail.",
        ),
        &none,
        *faults as f64,
    );
    to.gauge(
        ("fermata_run_streams", "Streams that have not been closed."),
        &none,
        streams.len() as f64,
    );
    to.count(
        (
            "fermata_run_closed_streams_total",
            "Streams, or units of work, that have ended and been closed.",
        ),
        &none,
        closed.count as f64,
    );
    to.count(
        (
            "fermata_run_failed_units_total",
            "Units of work that failed.",
        ),
        &none,
        closed.failed as f64,
    );
    to.count(
        (
            "fermata_run_captured_packets_total",
            "Packets that sources handed to the graph, of all streams.",
        ),
        &none,
        (closed.captured + sum(|stream| stream.captured)) as f64,
    );
    to.count(
        (
            "fermata_run_delivered_packets_total",
            "Packets that reached every lossless sink, of all streams.",
        ),
        &none,
        (closed.delivered + sum(|stream| stream.delivered)) as f64,
    );
}

fn node(to: &mut Families, node: &NodeNow) {
    let of_stream = node.place.stream.as_deref().unwrap_or_default();
    let labels = vec![("node", &*node.place.node), ("stream", of_stream)];
    let is_up = !matches!(
        node.state,
        NodeState::Starting
            | NodeState::Lost { .. }
            | NodeState::Restarting { .. }
            | NodeState::Ended
    );
    to.gauge(
        ("fermata_node_up", "1 while the node works or waits for work; 0 while it starts, has lost its device, is built anew, or has ended."),
        &labels,
        f64::from(u8::from(is_up)),
    );
    to.count(
        (
            "fermata_node_received_packets_total",
            "Packets taken from the node's queues.",
        ),
        &labels,
        node.received as f64,
    );
    for (outcome, count) in [
        ("processed", node.processed),
        ("failed", node.failed),
        ("unmatched", node.unmatched),
        ("abandoned", node.abandoned),
        ("finished", node.finished),
    ] {
        let mut labels = labels.clone();
        labels.push(("outcome", outcome));
        to.count(
            ("fermata_node_packets_total", "Packets by what became of them at the node; of a source, captured ones are processed."),
            &labels,
            count as f64,
        );
    }
    to.gauge(
        (
            "fermata_node_in_hand_packets",
            "Packets that the node has taken and not settled.",
        ),
        &labels,
        node.in_hand as f64,
    );
    let oldest = node.calls.iter().map(|call| call.age_s).fold(0.0, f64::max);
    to.gauge(
        (
            "fermata_node_running_call_age_seconds",
            "Age of the oldest call that has not returned; 0 without one.",
        ),
        &labels,
        oldest,
    );
    to.count(
        (
            "fermata_node_restarts_total",
            "How often the actor was built anew.",
        ),
        &labels,
        node.restarts as f64,
    );
    to.count(
        (
            "fermata_node_busy_seconds_total",
            "Time in calls, of all replicas together.",
        ),
        &labels,
        node.busy_s,
    );
    to.count(
        (
            "fermata_node_blocked_seconds_total",
            "Time in which the node had something to take and no room for what would come of it.",
        ),
        &labels,
        node.blocked_s,
    );
    to.gauge(
        ("fermata_node_replicas", "Replicas; 1 without."),
        &labels,
        node.replicas as f64,
    );
    to.times(
        ("fermata_node_service_seconds", "Time in a call."),
        &labels,
        &node.service,
    );
    to.times(
        (
            "fermata_node_queue_wait_seconds",
            "Time of a packet in the node's queues.",
        ),
        &labels,
        &node.queue_wait,
    );
    if let Some(batches) = &node.batches {
        to.count(
            ("fermata_node_batches_total", "Batches formed."),
            &labels,
            batches.count as f64,
        );
        to.count(
            (
                "fermata_node_batched_weight_total",
                "Weights of the batches together: faces, rows.",
            ),
            &labels,
            batches.weight as f64,
        );
        to.gauge(
            (
                "fermata_node_batch_max_weight",
                "The weight at which a batch is full.",
            ),
            &labels,
            batches.max as f64,
        );
    }
}

fn edge(to: &mut Families, edge: &EdgeNow) {
    let labels = vec![
        ("from", &*edge.from.node),
        ("output", &*edge.output),
        ("to", &*edge.to.node),
        ("input", &*edge.input),
        ("stream", &*edge.stream),
    ];
    to.gauge(
        ("fermata_edge_queue_packets", "Packets in the queue."),
        &labels,
        edge.depth as f64,
    );
    to.gauge(
        (
            "fermata_edge_queue_capacity_packets",
            "Packets at which the queue is full.",
        ),
        &labels,
        edge.capacity as f64,
    );
    to.gauge(
        (
            "fermata_edge_queue_high_water_packets",
            "Most packets in the queue at any moment.",
        ),
        &labels,
        edge.high_water as f64,
    );
    to.count(
        (
            "fermata_edge_sent_packets_total",
            "Packets sent into the queue.",
        ),
        &labels,
        edge.sent as f64,
    );
    to.count(
        (
            "fermata_edge_received_packets_total",
            "Packets taken out of the queue.",
        ),
        &labels,
        edge.received as f64,
    );
    for (cause, count) in &edge.dropped {
        let mut labels = labels.clone();
        labels.push(("cause", cause));
        to.count(
            (
                "fermata_edge_dropped_packets_total",
                "Packets that the queue dropped, by cause.",
            ),
            &labels,
            *count as f64,
        );
    }
}

fn stream(to: &mut Families, stream: &StreamNow, nodes: &[NodeNow]) {
    let name = &*stream.name;
    let labels = vec![("stream", name)];
    // A shared source is a stream that is named after its node.
    let is_of_it = |node: &&NodeNow| match &node.place.stream {
        Some(of) => *of == stream.name,
        None => node.place.node == stream.name,
    };
    let mut own = nodes.iter().filter(is_of_it);
    let is_lost = own.any(|node| matches!(node.state, NodeState::Lost { .. }));
    to.gauge(
        ("fermata_stream_up", "1 while the stream runs; 0 while its source has lost what it captures from, and after its end."),
        &labels,
        f64::from(u8::from(!is_lost && !stream.ended)),
    );
    to.count(
        (
            "fermata_stream_captured_packets_total",
            "Packets that the source handed to the graph.",
        ),
        &labels,
        stream.captured as f64,
    );
    to.count(
        (
            "fermata_stream_missed_packets_total",
            "Frames of a live source that were overwritten before the graph could take them.",
        ),
        &labels,
        stream.missed as f64,
    );
    to.count(
        (
            "fermata_stream_delivered_packets_total",
            "Packets that reached every lossless sink.",
        ),
        &labels,
        stream.delivered as f64,
    );
    for sink in &stream.sinks {
        // The sink of a stream is `video@door`; the stream has a label of its own.
        let node = sink.name.split('@').next().unwrap_or_default();
        let labels = vec![("node", node), ("stream", name)];
        to.count(
            (
                "fermata_sink_delivered_packets_total",
                "Packets of the stream that the sink has handled.",
            ),
            &labels,
            sink.delivered as f64,
        );
        to.times(
            (
                "fermata_sink_latency_seconds",
                "Time from capture to delivery at the sink.",
            ),
            &labels,
            &sink.latency,
        );
        for (cause, count) in &sink.losses {
            let mut labels = labels.clone();
            labels.push(("cause", cause));
            to.count(
                (
                    "fermata_sink_lost_packets_total",
                    "Packets of the stream that did not get to the sink, by cause and place.",
                ),
                &labels,
                *count as f64,
            );
        }
    }
}
