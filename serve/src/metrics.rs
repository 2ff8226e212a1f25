//! `/metrics`: the books of the run in Prometheus' classic text format, read at each scrape. There are no separate
//! counters.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fermata_engine::InstanceName;
use fermata_engine::statistics::{EdgeNow, NodeNow, NodeState, Snapshot, StreamNow};

use crate::exposition::Exposition;
use crate::measures::Measure;
use crate::metric_names as names;
use crate::watched_run::WatchedRun;

pub(crate) fn routes() -> Router<Arc<WatchedRun>> {
    Router::new().route("/metrics", get(scrape))
}

async fn scrape(State(run): State<Arc<WatchedRun>>) -> Response {
    let snapshot = run.handle.snapshot();
    let measures = run.measures.as_ref().map(|measures| (measures.0)());
    match exposition(&snapshot, &measures.unwrap_or_default()).into_text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!("the metrics cannot be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn exposition(snapshot: &Snapshot, measures: &[Measure]) -> Exposition {
    let mut exposition = Exposition::default();
    for measure in measures {
        self::measure(&mut exposition, measure);
    }
    run(&mut exposition, snapshot);
    // Units come and go by the thousand: series of their own would be unbounded.
    let nodes = snapshot.nodes.iter();
    for node in nodes.filter(|node| !snapshot.has_units || node.place.stream.is_none()) {
        self::node(&mut exposition, node);
    }
    if !snapshot.has_units {
        for edge in &snapshot.edges {
            self::edge(&mut exposition, edge);
        }
        for stream in &snapshot.streams {
            self::stream(&mut exposition, stream, &snapshot.nodes);
        }
    }
    exposition
}

fn measure(to: &mut Exposition, measure: &Measure) {
    let labels = measure.labels.iter();
    let labels = labels
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    to.number(measure.family, &labels, measure.value);
}

fn run(to: &mut Exposition, snapshot: &Snapshot) {
    let Snapshot {
        at_s,
        streams,
        closed,
        faults,
        ..
    } = snapshot;
    let none = Vec::new();
    let sum = |of: fn(&StreamNow) -> u64| streams.iter().map(of).sum::<u64>();
    let captured = closed.captured + sum(|stream| stream.captured);
    let delivered = closed.delivered + sum(|stream| stream.delivered);
    to.number(&names::RUN_AGE_SECONDS, &none, *at_s);
    to.number(&names::RUN_FAULTS, &none, *faults as f64);
    to.number(&names::RUN_STREAMS, &none, streams.len() as f64);
    to.number(&names::RUN_CLOSED_STREAMS, &none, closed.count as f64);
    to.number(&names::RUN_FAILED_UNITS, &none, closed.failed as f64);
    to.number(&names::RUN_CAPTURED_PACKETS, &none, captured as f64);
    to.number(&names::RUN_DELIVERED_PACKETS, &none, delivered as f64);
}

fn node(to: &mut Exposition, node: &NodeNow) {
    let of_stream = node.place.stream.as_deref().unwrap_or_default();
    let labels = vec![("node", &*node.place.node), ("stream", of_stream)];
    let is_up = !matches!(
        node.state,
        NodeState::Starting
            | NodeState::Lost { .. }
            | NodeState::Restarting { .. }
            | NodeState::Ended
    );
    to.number(&names::NODE_UP, &labels, f64::from(u8::from(is_up)));
    to.number(&names::NODE_RECEIVED_PACKETS, &labels, node.received as f64);
    for (outcome, count) in [
        ("processed", node.processed),
        ("failed", node.failed),
        ("unmatched", node.unmatched),
        ("abandoned", node.abandoned),
        ("finished", node.finished),
    ] {
        let mut labels = labels.clone();
        labels.push(("outcome", outcome));
        to.number(&names::NODE_PACKETS, &labels, count as f64);
    }
    to.number(&names::NODE_IN_HAND_PACKETS, &labels, node.in_hand as f64);
    let oldest = node.calls.iter().map(|call| call.age_s).fold(0.0, f64::max);
    to.number(&names::NODE_RUNNING_CALL_AGE_SECONDS, &labels, oldest);
    to.number(&names::NODE_RESTARTS, &labels, node.restarts as f64);
    to.number(&names::NODE_BUSY_SECONDS, &labels, node.busy_s);
    to.number(&names::NODE_BLOCKED_SECONDS, &labels, node.blocked_s);
    to.number(&names::NODE_REPLICAS, &labels, node.replicas as f64);
    to.times(&names::NODE_SERVICE_SECONDS, &labels, &node.service);
    to.times(&names::NODE_QUEUE_WAIT_SECONDS, &labels, &node.queue_wait);
    if let Some(batches) = &node.batches {
        to.number(&names::NODE_BATCHES, &labels, batches.count as f64);
        to.number(&names::NODE_BATCHED_WEIGHT, &labels, batches.weight as f64);
        to.number(&names::NODE_BATCH_MAX_WEIGHT, &labels, batches.max as f64);
    }
}

fn edge(to: &mut Exposition, edge: &EdgeNow) {
    let labels = vec![
        ("from", &*edge.from.node),
        ("output", &*edge.output),
        ("to", &*edge.to.node),
        ("input", &*edge.input),
        ("stream", &*edge.stream),
    ];
    to.number(&names::EDGE_QUEUE_PACKETS, &labels, edge.depth as f64);
    to.number(
        &names::EDGE_QUEUE_CAPACITY_PACKETS,
        &labels,
        edge.capacity as f64,
    );
    to.number(
        &names::EDGE_QUEUE_HIGH_WATER_PACKETS,
        &labels,
        edge.high_water as f64,
    );
    to.number(&names::EDGE_SENT_PACKETS, &labels, edge.sent as f64);
    to.number(&names::EDGE_RECEIVED_PACKETS, &labels, edge.received as f64);
    for (cause, count) in &edge.dropped {
        let mut labels = labels.clone();
        labels.push(("cause", cause));
        to.number(&names::EDGE_DROPPED_PACKETS, &labels, *count as f64);
    }
}

fn stream(to: &mut Exposition, stream: &StreamNow, nodes: &[NodeNow]) {
    let name = &*stream.name;
    let labels = vec![("stream", name)];
    // A shared source is a stream named after its node.
    let is_of_it = |node: &&NodeNow| match &node.place.stream {
        Some(of) => *of == stream.name,
        None => node.place.node == stream.name,
    };
    let mut own = nodes.iter().filter(is_of_it);
    let is_lost = own.any(|node| matches!(node.state, NodeState::Lost { .. }));
    let is_up = !is_lost && !stream.ended;
    to.number(&names::STREAM_UP, &labels, f64::from(u8::from(is_up)));
    to.number(
        &names::STREAM_CAPTURED_PACKETS,
        &labels,
        stream.captured as f64,
    );
    to.number(&names::STREAM_MISSED_PACKETS, &labels, stream.missed as f64);
    to.number(
        &names::STREAM_DELIVERED_PACKETS,
        &labels,
        stream.delivered as f64,
    );
    for sink in &stream.sinks {
        // The sink of a stream is `video@door`; the stream has its own label.
        let node = InstanceName::parse(&sink.name).node;
        let labels = vec![("node", node), ("stream", name)];
        to.number(
            &names::SINK_DELIVERED_PACKETS,
            &labels,
            sink.delivered as f64,
        );
        to.times(&names::SINK_LATENCY_SECONDS, &labels, &sink.latency);
        for (cause, count) in &sink.losses {
            let mut labels = labels.clone();
            labels.push(("cause", cause));
            to.number(&names::SINK_LOST_PACKETS, &labels, *count as f64);
        }
    }
}
