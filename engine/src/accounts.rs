//! Makes the report of a run from its counters, and checks that the books balance.
//!
//! Every number here was counted where it happened; nothing is derived from what should be true.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::clock::ClockMode;
use crate::graph::{OutputRef, WhenFull};
use crate::observer::Fate;
use crate::report::{
    BatchReport, EdgeReport, FlushReport, NodeReport, Report, SinkReport, StreamReport,
};
use crate::runtime::books::{DropCause, read};
use crate::runtime::protocol::NodeId;
use crate::runtime::records::{EdgeRecord, FlowRecord, Instance, StreamRecord};
use crate::runtime::wiring::Wiring;

/// The report as of now. `hung` are instances whose call has not returned.
pub(crate) fn report(wiring: &Wiring, started_ns: u64, hung: &[NodeId]) -> Report {
    let now_ns = wiring.host.clock.now_ns();
    let mut report = Report {
        graph: wiring.graph.name.clone(),
        startup_s: started_ns as f64 / 1e9,
        clock: clock_name(wiring.graph.run.clock),
        hung: hung
            .iter()
            .map(|&node| wiring.instances[node].watch.name.clone())
            .collect(),
        ..Report::default()
    };
    for (id, instance) in wiring.instances.iter().enumerate() {
        let node = node_report(instance, now_ns, hung.contains(&id));
        let settled =
            node.processed + node.failed + node.unmatched + node.abandoned + node.finished;
        if !instance.source && node.received != settled {
            report.imbalances.push(format!(
                "node {}: received {} but settled {settled}",
                instance.watch.name, node.received
            ));
        }
        if let Some(batches) = batch_report(wiring, instance) {
            report.batches.insert(instance.watch.name.clone(), batches);
        }
        report.nodes.insert(instance.watch.name.clone(), node);
    }
    report.edges = edge_reports(wiring, &mut report.imbalances);
    report.streams = stream_reports(wiring, hung, &mut report.imbalances);
    report.wall_s = wiring.wall_s();
    report.balanced = report.imbalances.is_empty();
    report
}

fn clock_name(mode: ClockMode) -> String {
    match mode {
        ClockMode::Live => "live".to_owned(),
        ClockMode::Replay(speed) => format!("replay {speed}"),
        ClockMode::Asap => "asap".to_owned(),
    }
}

fn node_report(instance: &Instance, now_ns: u64, hung: bool) -> NodeReport {
    let watch = &instance.watch;
    let stats = watch.stats();
    let mut node = NodeReport {
        restarts: read(&watch.restarts),
        service_ms: stats.service_ns.quantiles(),
        queue_wait_ms: stats.queue_wait_ns.quantiles(),
        ..NodeReport::default()
    };
    for flow in instance.flows.values() {
        for port in &flow.books.ports {
            node.received += read(&port.received);
            node.processed += port.of(Fate::Processed);
            node.failed += port.of(Fate::Failed);
            node.unmatched += port.of(Fate::Unmatched);
            node.abandoned += port.of(Fate::Abandoned);
            node.finished += port.of(Fate::Finished);
            if hung {
                node.abandoned += read(&port.in_hand);
            }
        }
        if instance.source {
            node.processed += read(&flow.books.captured);
        }
    }
    let finished = watch.finished_ns.load(Ordering::Relaxed);
    let until = if finished > 0 { finished } else { now_ns };
    let life = until
        .saturating_sub(watch.created_ns.load(Ordering::Relaxed))
        .max(1) as f64;
    node.busy_s = stats.busy_ns as f64 / 1e9;
    node.busy = stats.busy_ns as f64 / life;
    node.blocked = stats.blocked_ns as f64 / life;
    node.waiting = (1.0 - node.busy - node.blocked).max(0.0);
    node
}

fn batch_report(wiring: &Wiring, instance: &Instance) -> Option<BatchReport> {
    wiring.graph.nodes[instance.spec].batch.as_ref()?;
    let stats = instance.watch.stats();
    Some(BatchReport {
        count: stats.batches,
        mean_size: stats.batch_weight as f64 / stats.batches.max(1) as f64,
        flush: FlushReport {
            full: stats.flushes[0],
            time: stats.flushes[1],
            end: stats.flushes[2],
        },
    })
}

fn edge_reports(wiring: &Wiring, imbalances: &mut Vec<String>) -> Vec<EdgeReport> {
    let mut edges: BTreeMap<(NodeId, usize, NodeId, usize), EdgeReport> = BTreeMap::new();
    for edge in &wiring.edges {
        let report = edges
            .entry((edge.from, edge.output, edge.to, edge.port))
            .or_insert_with(|| EdgeReport {
                from: wiring.instances[edge.from].watch.name.clone(),
                to: wiring.instances[edge.to].watch.name.clone(),
                ..EdgeReport::default()
            });
        let books = &edge.books;
        report.sent += read(&books.producer.sent);
        report.received += read(&books.consumer.received);
        report.abandoned += read(&books.consumer.abandoned);
        report.high_water = report.high_water.max(read(&books.producer.high_water));
        for (cause, name) in DropCause::ALL {
            let dropped = books.dropped(cause);
            if dropped > 0 {
                *report.dropped.entry(name.to_owned()).or_default() += dropped;
            }
        }
    }
    for edge in edges.values() {
        let settled = edge.received + edge.dropped.values().sum::<u64>() + edge.abandoned;
        if edge.sent != settled {
            imbalances.push(format!(
                "edge {} -> {}: sent {} but settled {settled}",
                edge.from, edge.to, edge.sent
            ));
        }
    }
    edges.into_values().collect()
}

fn stream_reports(
    wiring: &Wiring,
    hung: &[NodeId],
    imbalances: &mut Vec<String>,
) -> BTreeMap<String, StreamReport> {
    let records = wiring.streams.iter();
    let reports = records.map(|record| {
        let report = stream_report(wiring, record, hung, imbalances);
        (record.stream.name.clone(), report)
    });
    reports.collect()
}

/// The books of one stream.
pub(crate) fn stream_report(
    wiring: &Wiring,
    record: &StreamRecord,
    hung: &[NodeId],
    imbalances: &mut Vec<String>,
) -> StreamReport {
    let id = record.stream.id;
    let source = &wiring.instances[record.source];
    let captured = source
        .flows
        .get(&id)
        .map_or(0, |flow| read(&flow.books.captured));
    let mut stream = StreamReport {
        captured,
        missed: source.missed.load(Ordering::Relaxed),
        ended: true,
        ..StreamReport::default()
    };
    let mut lossless: Option<u64> = None;
    let mut least: Option<u64> = None;
    for &node in &record.nodes {
        let instance = &wiring.instances[node];
        let Some(flow) = instance.flows.get(&id) else {
            continue;
        };
        let finished = instance.watch.finished_ns.load(Ordering::Relaxed) > 0;
        stream.ended &=
            finished || (instance.stream != Some(id) && flow.books.ended.load(Ordering::Relaxed));
        if !instance.sink {
            continue;
        }
        let trail = Trail {
            wiring,
            stream: id,
            hung,
        };
        let sink = trail.sink(node, flow);
        let accounted = sink.delivered + sink.losses.values().sum::<u64>();
        if accounted != captured {
            imbalances.push(format!(
                "stream {} at {}: captured {captured} but accounted for {accounted}",
                record.stream.name, instance.watch.name
            ));
        }
        least = Some(least.map_or(sink.delivered, |known| known.min(sink.delivered)));
        if trail.is_lossless(node) {
            lossless = Some(lossless.map_or(sink.delivered, |known| known.min(sink.delivered)));
        }
        stream.sinks.insert(instance.watch.name.clone(), sink);
    }
    stream.delivered = lossless.or(least).unwrap_or(0);
    stream
}

/// Follows one stream from a sink back to its source. At a join it follows a required input: a packet that is lost on
/// another input shows there as unmatched, so each sequence is met exactly once.
struct Trail<'a> {
    wiring: &'a Wiring,
    stream: u32,
    hung: &'a [NodeId],
}

impl Trail<'_> {
    fn sink(&self, node: NodeId, flow: &FlowRecord) -> SinkReport {
        let port = self.primary_port(node, flow);
        let delivered = flow
            .books
            .ports
            .get(port)
            .map_or(0, |books| books.of(Fate::Processed));
        let mut losses = BTreeMap::new();
        self.follow(node, flow, &mut losses);
        losses.retain(|_, count| *count > 0);
        SinkReport {
            delivered,
            losses,
            latency_ms: flow
                .latency
                .as_ref()
                .map(|latency| latency.quantiles())
                .unwrap_or_default(),
        }
    }

    fn follow(&self, node: NodeId, flow: &FlowRecord, losses: &mut BTreeMap<String, u64>) {
        let name = &self.wiring.instances[node].watch.name;
        let port = self.primary_port(node, flow);
        let Some(books) = flow.books.ports.get(port) else {
            return;
        };
        let mut lose = |cause: &str, count: u64| {
            *losses.entry(format!("{cause} at {name}")).or_default() += count
        };
        for (cause, fate) in [
            ("failed", Fate::Failed),
            ("unmatched", Fate::Unmatched),
            ("abandoned", Fate::Abandoned),
            ("finished", Fate::Finished),
        ] {
            lose(cause, books.of(fate));
        }
        if self.hung.contains(&node) {
            lose("abandoned", read(&books.in_hand));
        }
        let Some(edge) = self.edge_into(flow, port) else {
            return;
        };
        let books = &edge.books;
        for (cause, cause_name) in DropCause::ALL {
            lose(cause_name, books.dropped(cause));
        }
        lose("abandoned before", read(&books.consumer.abandoned));
        let producer = &self.wiring.instances[edge.from];
        let Some(upstream) = producer.flows.get(&self.stream) else {
            return;
        };
        let filtered = read(&upstream.books.filtered[edge.output]);
        let from = &producer.watch.name;
        *losses.entry(format!("filtered at {from}")).or_default() += filtered;
        self.follow(edge.from, upstream, losses);
    }

    fn edge_into(&self, flow: &FlowRecord, port: usize) -> Option<&EdgeRecord> {
        self.wiring.edges.get(*flow.fed_by.get(port)?)
    }

    fn primary_port(&self, node: NodeId, flow: &FlowRecord) -> usize {
        let spec = &self.wiring.graph.nodes[self.wiring.instances[node].spec];
        let required = crate::runtime::topology::required(spec);
        crate::runtime::flow::ports(required)
            .find(|&port| self.edge_into(flow, port).is_some())
            .unwrap_or(0)
    }

    /// Whether no queue on any way from the source to this node may drop.
    fn is_lossless(&self, node: NodeId) -> bool {
        let graph = &self.wiring.graph;
        let mut open = vec![self.wiring.instances[node].spec];
        let mut seen = open.clone();
        while let Some(index) = open.pop() {
            let spec = &graph.nodes[index];
            if !spec.inputs.is_empty()
                && (spec.queue.full != WhenFull::Block || spec.queue.max_age.is_some())
            {
                return false;
            }
            for OutputRef { node, .. } in spec.inputs.iter().flat_map(|input| &input.from) {
                if !seen.contains(node) {
                    seen.push(*node);
                    open.push(*node);
                }
            }
        }
        true
    }
}
