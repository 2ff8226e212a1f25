//! Computes the displayed numbers from a snapshot and rates: instances are combined into nodes, and streams of an edge
//! into an edge.

use std::collections::{BTreeMap, HashSet};

use fermata_engine::RunHandle;
use fermata_engine::rates::{NodeRates, Rates};
use fermata_engine::statistics::{EdgeNow, NodeNow, NodeState, Snapshot, StreamNow};

use crate::bottleneck::bottleneck;
use crate::graph_view::{GraphView, edge_key};
use crate::journal::Over;
use crate::numbers::{
    BatchNumbers, ClockNumbers, EdgeNumbers, NodeNumbers, Numbers, StreamNumbers, WorkerNumbers,
};
use crate::troubles::troubles;

/// Time after which a lost source counts as offline.
const OFFLINE_AFTER_S: f64 = 10.0;
/// Weight of the newest value in the smoothed fullness: the page shows seconds, not moments.
const NEWEST: f64 = 0.4;

/// A snapshot of a run, its rates, and what the page remembers.
pub(crate) struct Moment<'a> {
    pub(crate) view: &'a GraphView,
    pub(crate) now: &'a Snapshot,
    pub(crate) rates: &'a Rates,
    pub(crate) over: &'a BTreeMap<String, Over>,
    pub(crate) last_fault: Option<&'a str>,
    pub(crate) handle: Option<&'a RunHandle>,
    pub(crate) run: &'static str,
    pub(crate) pictures: u64,
    pub(crate) workers: Vec<WorkerNumbers>,
    pub(crate) clocks: Option<ClockNumbers>,
}

/// Computes the numbers, and remembers the fullness of edges.
#[derive(Default)]
pub(crate) struct Counting {
    fullness: BTreeMap<(usize, String), f64>,
}

impl Counting {
    /// Returns the numbers of a moment.
    pub(crate) fn numbers(&mut self, moment: &Moment<'_>) -> Numbers {
        let nodes = nodes(moment);
        let edges = self.edges(moment);
        let streams = streams(moment);
        let faults = moment.now.faults;
        Numbers {
            graph: moment.view.name.clone(),
            at_s: moment.now.at_s,
            over_s: moment.rates.over_s,
            run: moment.run.to_owned(),
            delivered_per_s: moment.rates.delivered,
            troubles: troubles(&streams, &nodes, faults, moment.last_fault),
            bottleneck: bottleneck(&nodes, &edges),
            nodes,
            edges,
            streams,
            faults,
            pictures: moment.pictures,
            workers: moment.workers.clone(),
            clocks: moment.clocks.clone(),
        }
    }

    fn edges(&mut self, moment: &Moment<'_>) -> Vec<EdgeNumbers> {
        let view = moment.view;
        let known = view.edge_numbers();
        let empty = view.edges.iter().map(|edge| EdgeNumbers {
            from: edge.from.clone(),
            output: edge.output.clone(),
            to: edge.to.clone(),
            input: edge.input.clone(),
            ..EdgeNumbers::default()
        });
        let mut edges: Vec<EdgeNumbers> = empty.collect();
        let before = std::mem::take(&mut self.fullness);
        for now in &moment.now.edges {
            let Some(&number) = known.get(&edge_key(now)) else {
                continue;
            };
            let key = (number, now.stream.clone());
            let fullness = fullness(now);
            let smoothed = before
                .get(&key)
                .map_or(fullness, |before| before + NEWEST * (fullness - before));
            add_edge(&mut edges[number], now, smoothed);
            self.fullness.insert(key, smoothed);
        }
        for ((from, output, to, input), rates) in &moment.rates.edges {
            let key = [&*from.node, output, &*to.node, input];
            if let Some(&number) = known.get(&key) {
                edges[number].sent_per_s += rates.sent;
                edges[number].dropped_per_s += rates.dropped;
            }
        }
        for edge in &mut edges {
            edge.wait_ms = wait_ms(&edge.to, moment.rates);
        }
        edges
    }
}

/// Returns the mean time in the queues of a node, weighted by how many packets each of its instances took.
fn wait_ms(node: &str, rates: &Rates) -> f64 {
    let instances = rates.nodes.iter().filter(|(place, _)| place.node == node);
    let (sum, received) = instances.fold((0.0, 0.0), |(sum, received), (_, rates)| {
        let weighted = rates.queue_wait_ms * rates.received;
        (sum + weighted, received + rates.received)
    });
    if received > 0.0 { sum / received } else { 0.0 }
}

fn fullness(edge: &EdgeNow) -> f64 {
    (edge.depth as f64 / edge.capacity.max(1) as f64).min(1.0)
}

fn add_edge(edge: &mut EdgeNumbers, now: &EdgeNow, fullness: f64) {
    edge.depth += now.depth;
    edge.capacity += now.capacity;
    edge.drops |= now.drops;
    for (cause, dropped) in &now.dropped {
        *edge.dropped.entry((*cause).to_owned()).or_default() += dropped;
    }
    if fullness > edge.fullness {
        edge.fullness = fullness;
        edge.fullest.clone_from(&now.stream);
    }
}

fn nodes(moment: &Moment<'_>) -> Vec<NodeNumbers> {
    let view = moment.view;
    let mut nodes: Vec<NodeNumbers> = view
        .nodes
        .iter()
        .map(|node| NodeNumbers {
            name: node.name.clone(),
            actor: node.actor.clone(),
            replicas: node.replicas,
            ..NodeNumbers::default()
        })
        .collect();
    for now in &moment.now.nodes {
        let known = nodes.iter_mut().find(|node| node.name == now.place.node);
        if let Some(node) = known {
            add_node(node, now, moment);
        }
    }
    nodes
}

fn add_node(node: &mut NodeNumbers, now: &NodeNow, moment: &Moment<'_>) {
    *node.states.entry(state(&now.state).to_owned()).or_default() += 1;
    node.processed += now.processed;
    node.failed += now.failed;
    node.restarts += now.restarts;
    node.service_p99_ms = node.service_p99_ms.max(now.service.quantiles_ms.p99);
    let ages = now.calls.iter().map(|call| call.age_s);
    node.oldest_call_s = ages.fold(node.oldest_call_s, f64::max);
    let Some(rates) = moment.rates.nodes.get(&now.place) else {
        return;
    };
    // The mean over instances, weighted by their numbers of packets.
    let processed = node.processed_per_s + rates.processed;
    if processed > 0.0 {
        let sum = node.service_ms * node.processed_per_s + rates.service_ms * rates.processed;
        node.service_ms = sum / processed;
    }
    node.processed_per_s = processed;
    node.failed_per_s += rates.failed;
    // A call is counted when it returns: one that began before the span would make the share exceed 1.
    let busy = (rates.busy / now.replicas.max(1) as f64).min(1.0);
    node.busy = node.busy.max(busy);
    node.blocked = node.blocked.max(rates.blocked);
    add_batches(node, now, rates);
}

fn add_batches(node: &mut NodeNumbers, now: &NodeNow, rates: &NodeRates) {
    let Some(batches) = &now.batches else {
        return;
    };
    let sum = node.batches.get_or_insert_with(BatchNumbers::default);
    let per_s = sum.per_s + rates.batches;
    if per_s > 0.0 {
        sum.mean = (sum.mean * sum.per_s + rates.batched) / per_s;
    }
    sum.per_s = per_s;
    sum.max = batches.max;
    sum.occupancy = sum.mean / batches.max.max(1) as f64;
}

fn state(state: &NodeState) -> &'static str {
    match state {
        NodeState::Starting => "starting",
        NodeState::Waiting => "waiting",
        NodeState::Working => "working",
        NodeState::Blocked => "blocked",
        NodeState::Restarting { .. } => "restarting",
        NodeState::Lost { .. } => "lost",
        NodeState::Ended => "ended",
    }
}

fn streams(moment: &Moment<'_>) -> Vec<StreamNumbers> {
    let running = moment.now.streams.iter();
    let mut streams: Vec<StreamNumbers> = running
        .map(|stream| running_stream(stream, moment))
        .collect();
    let running: HashSet<String> = streams.iter().map(|stream| stream.name.clone()).collect();
    for (name, over) in moment.over {
        if running.contains(name) {
            continue;
        }
        let mut stream = StreamNumbers {
            name: name.clone(),
            state: "over".to_owned(),
            reason: Some(over.reason.clone()),
            end: Some(over.how),
            reopened_as: over.reopened_as.clone(),
            ..StreamNumbers::default()
        };
        let report = moment.handle.and_then(|handle| handle.stream_report(name));
        if let Some(report) = report {
            let losses = report.sinks.values().map(|sink| &sink.losses);
            (stream.dropped, stream.lost) = missing(losses);
            stream.captured = report.captured;
            stream.delivered = report.delivered;
            stream.missed = report.missed;
        }
        streams.push(stream);
    }
    streams
}

/// Returns the numbers of packets dropped and lost on the way to the sink that lacks most of them. Losses are named
/// `CAUSE at NODE`, or `abandoned before NODE`.
fn missing<'a>(sinks: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> (u64, u64) {
    let (mut most_dropped, mut most_lost) = (0, 0);
    for losses in sinks {
        let (mut dropped, mut lost) = (0, 0);
        for (loss, packets) in losses {
            match loss.split(' ').next() {
                Some("filtered") => {}
                Some("drop_oldest" | "drop_newest" | "max_age") => dropped += packets,
                _ => lost += packets,
            }
        }
        most_dropped = most_dropped.max(dropped);
        most_lost = most_lost.max(lost);
    }
    (most_dropped, most_lost)
}

fn running_stream(now: &StreamNow, moment: &Moment<'_>) -> StreamNumbers {
    let rates = moment.rates.streams.get(&now.name).copied();
    let rates = rates.unwrap_or_default();
    let (state, reason) = stream_state(now, moment);
    let over = moment.over.get(&now.name);
    let (dropped, lost) = missing(now.sinks.iter().map(|sink| &sink.losses));
    let measured = now.sinks.iter().filter(|sink| sink.latency.count > 0);
    let quantiles = measured.map(|sink| &sink.latency.quantiles_ms);
    let slowest = quantiles.max_by(|a, b| a.p50.total_cmp(&b.p50));
    StreamNumbers {
        name: now.name.clone(),
        state: state.to_owned(),
        reason,
        end: over.map(|over| over.how),
        reopened_as: over.and_then(|over| over.reopened_as.clone()),
        captured: now.captured,
        delivered: now.delivered,
        missed: now.missed,
        missed_per_s: rates.missed,
        dropped,
        lost,
        captured_per_s: rates.captured,
        delivered_per_s: rates.delivered,
        latency_p50_ms: slowest.map(|quantiles| quantiles.p50),
        latency_p99_ms: slowest.map(|quantiles| quantiles.p99),
    }
}

fn stream_state(now: &StreamNow, moment: &Moment<'_>) -> (&'static str, Option<String>) {
    if let Some(over) = moment.over.get(&now.name) {
        return ("over", Some(over.reason.clone()));
    }
    if now.ended {
        return ("over", None);
    }
    let mut nodes = moment.now.nodes.iter();
    let source = nodes.find(|node| {
        let of = node.place.stream.as_ref().unwrap_or(&node.place.node);
        *of == now.name && moment.view.is_source(&node.place)
    });
    match source.map(|source| &source.state) {
        Some(NodeState::Lost { reason, for_s }) => {
            let state = if *for_s > OFFLINE_AFTER_S {
                "offline"
            } else {
                "reconnecting"
            };
            let reason = fermata_engine::graph::redact(reason);
            (state, Some(format!("{reason} (for {for_s:.0} s)")))
        }
        Some(NodeState::Starting) => ("starting", None),
        Some(NodeState::Restarting { in_s }) => (
            "reconnecting",
            Some(format!("its source failed and is restarted in {in_s:.1} s")),
        ),
        Some(NodeState::Ended) => ("ending", Some("what was captured goes through".to_owned())),
        _ => ("running", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_queue_drops_is_dropped_what_fails_is_lost_and_what_a_filter_leaves_out_is_neither() {
        let losses = |losses: &[(&str, u64)]| -> BTreeMap<String, u64> {
            let losses = losses.iter();
            losses.map(|(loss, n)| ((*loss).to_owned(), *n)).collect()
        };
        let table = losses(&[("filtered at gate", 7), ("failed at emotion", 2)]);
        let video = losses(&[("drop_oldest at draw", 4), ("max_age at draw", 1)]);
        assert_eq!(missing([&table, &video].into_iter()), (5, 2));
        let stopped = losses(&[("abandoned at smooth", 1), ("abandoned before smooth", 3)]);
        assert_eq!(missing([&stopped].into_iter()), (0, 4));
        assert_eq!(missing(std::iter::empty()), (0, 0));
    }
}
