//! Builds the report of a run from its counters and checks that the books balance.
//!
//! Numbers were counted where they happened; none is derived from another that should equal it. The exception are nodes
//! whose call never returned, for which nobody counts: the packets that they hold, or left in a ring, are differences
//! of other counters, so their books balance by construction.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::clock::ClockMode;
use crate::graph::{Graph, OutputRef, WhenFull};
use crate::instance_name::InstanceName;
use crate::observer::Fate;
use crate::report::{
    BatchReport, EdgeReport, FlushReport, NodeReport, Report, SinkReport, StreamReport, UnitsReport,
};
use crate::runtime::books::{DropCause, NodeCounts, read};
use crate::runtime::closed::{EdgeKey, Units};
use crate::runtime::protocol::NodeId;
use crate::runtime::records::{EdgeRecord, FlowRecord, Instance, StreamRecord};
use crate::runtime::stats::NodeStats;
use crate::runtime::wiring::Wiring;

/// Returns the report as of now. `hung` are instances with a call that has not returned.
pub(crate) fn report(wiring: &Wiring, started_ns: u64, hung: &[NodeId]) -> Report {
    let now_ns = wiring.host.clock.now_ns();
    let graph = &wiring.graph;
    let closed = &wiring.closed;
    let name_of = |node: &NodeId| wiring.instances.get(node);
    let hung_instances = hung.iter().filter_map(name_of);
    let mut report = Report {
        graph: graph.name.clone(),
        machine: graph.machine().map(str::to_owned),
        site_edges: graph.site_edges(),
        startup_s: started_ns as f64 / 1e9,
        clock: clock_name(graph.run.clock),
        hung: hung_instances.map(|node| node.watch.name.clone()).collect(),
        nodes: closed.nodes.clone(),
        batches: closed.batches.clone(),
        streams: closed.streams.clone(),
        imbalances: closed.imbalances.clone(),
        files: wiring.files.report(),
        ..Report::default()
    };
    if graph.provider.is_some() {
        add_units(&mut report, graph, &closed.units);
    }
    for (id, instance) in &wiring.instances {
        let node = node_report(graph, instance, now_ns, hung.contains(id));
        report.imbalances.extend(imbalance(instance, &node));
        let name = &instance.watch.name;
        if let Some(batches) = batch_report(graph, instance.spec, &instance.watch.stats()) {
            report.batches.insert(name.clone(), batches);
        }
        report.nodes.insert(name.clone(), node);
    }
    report.edges = edge_reports(wiring, &mut report.imbalances);
    for record in wiring.streams.values() {
        let stream = stream_report(wiring, record, hung, &mut report.imbalances);
        report.streams.insert(record.stream.name.clone(), stream);
    }
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

/// Returns the name of an instance; where streams are units, all instances that a node has for its units share the
/// node's name.
pub(crate) fn place(graph: &Graph, instance: &Instance, is_unit: bool) -> String {
    let spec = &graph.nodes[instance.spec];
    if is_unit && spec.each_stream {
        spec.name.clone()
    } else {
        instance.watch.name.clone()
    }
}

/// Returns a message if the books of a node do not balance.
pub(crate) fn imbalance(instance: &Instance, node: &NodeReport) -> Option<String> {
    let settled = node.processed + node.failed + node.unmatched + node.abandoned + node.finished;
    (!instance.source && node.received != settled).then(|| {
        let name = &instance.watch.name;
        format!(
            "node {name}: received {} but settled {settled}",
            node.received
        )
    })
}

/// Returns what an instance has counted and measured until now, or until its end.
pub(crate) fn node_report(
    graph: &Graph,
    instance: &Instance,
    now_ns: u64,
    hung: bool,
) -> NodeReport {
    let watch = &instance.watch;
    let mut counts = instance.counts();
    if hung {
        counts.abandoned += counts.in_hand;
    }
    let stream = InstanceName::parse(&watch.name).stream;
    NodeReport {
        node: graph.nodes[instance.spec].name.clone(),
        stream: stream.map(str::to_owned),
        counted: instance.tallies.report(),
        ..summed(
            counts,
            &watch.stats(),
            read(&watch.restarts),
            watch.life_ns(now_ns),
        )
    }
}

fn summed(counts: NodeCounts, stats: &NodeStats, restarts: u64, life_ns: u64) -> NodeReport {
    let life = life_ns.max(1) as f64;
    let busy = stats.busy_ns as f64 / life;
    let blocked = stats.blocked_ns as f64 / life;
    NodeReport {
        received: counts.received,
        processed: counts.processed,
        failed: counts.failed,
        unmatched: counts.unmatched,
        abandoned: counts.abandoned,
        finished: counts.finished,
        restarts,
        service_ms: stats.service_ns.quantiles(),
        queue_wait_ms: stats.queue_wait_ns.quantiles(),
        busy_s: stats.busy_ns as f64 / 1e9,
        busy,
        blocked,
        waiting: (1.0 - busy - blocked).max(0.0),
        ..NodeReport::default()
    }
}

/// Returns the batches of a node, if it has any.
pub(crate) fn batch_report(graph: &Graph, spec: usize, stats: &NodeStats) -> Option<BatchReport> {
    graph.nodes[spec].batch.as_ref()?;
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

/// Adds the totals of closed units. Nodes of open units are listed under their own names.
fn add_units(report: &mut Report, graph: &Graph, units: &Units) {
    for (&spec, unit) in &units.nodes {
        let name = &graph.nodes[spec].name;
        let node = NodeReport {
            node: name.clone(),
            counted: unit.counted.clone(),
            ..summed(unit.counts, &unit.stats, unit.restarts, unit.life_ns)
        };
        report.nodes.insert(name.clone(), node);
        if let Some(batches) = batch_report(graph, spec, &unit.stats) {
            report.batches.insert(name.clone(), batches);
        }
    }
    let sinks = units.sinks.iter().map(|(name, sink)| {
        let report = SinkReport {
            delivered: sink.delivered,
            losses: sink.losses.clone(),
            latency_ms: sink.latency_ns.quantiles(),
        };
        (name.clone(), report)
    });
    report.units = Some(UnitsReport {
        complete: units.complete,
        unfinished: units.unfinished,
        failed: units.failed.clone(),
        captured: units.captured,
        missed: units.missed,
        delivered: units.delivered,
        sinks: sinks.collect(),
    });
}

/// Adds the books of one stream on an edge.
pub(crate) fn add_edge(report: &mut EdgeReport, graph: &Graph, edge: &EdgeRecord, key: &EdgeKey) {
    let producer = &graph.nodes[key.producer].ports;
    let consumer = &graph.nodes[key.consumer].ports;
    report.from.clone_from(&key.from);
    report.to.clone_from(&key.to);
    report.output.clone_from(&producer.outputs[key.output].name);
    report.input.clone_from(&consumer.inputs[key.input].name);
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

fn edge_reports(wiring: &Wiring, imbalances: &mut Vec<String>) -> Vec<EdgeReport> {
    let mut edges = wiring.closed.edges.clone();
    for edge in wiring.edges.values() {
        let key = wiring.edge_key(edge);
        let report = edges.entry(key.clone()).or_default();
        add_edge(report, &wiring.graph, edge, &key);
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

/// Returns the books of one stream.
pub(crate) fn stream_report(
    wiring: &Wiring,
    record: &StreamRecord,
    hung: &[NodeId],
    imbalances: &mut Vec<String>,
) -> StreamReport {
    let id = record.stream.id;
    let source = &wiring.instances[&record.source];
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
        let instance = &wiring.instances[&node];
        let Some(flow) = instance.flows.get(&id) else {
            continue;
        };
        stream.ended &= instance.is_finished()
            || (instance.stream != Some(id) && flow.books.ended.load(Ordering::Relaxed));
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
        let is_unit = wiring.graph.provider.is_some();
        let name = place(&wiring.graph, instance, is_unit);
        stream.sinks.insert(name, sink);
    }
    stream.delivered = lossless.or(least).unwrap_or(0);
    stream
}

/// Follows one stream from a sink back to its source. At a join it follows a required input: a packet that is lost on
/// another input shows up there as unmatched, so each sequence is counted exactly once.
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
                .map(|latency| latency.lock().quantiles())
                .unwrap_or_default(),
        }
    }

    fn follow(&self, node: NodeId, flow: &FlowRecord, losses: &mut BTreeMap<String, u64>) {
        let name = self.name(node);
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
            lose("abandoned", books.in_hand());
        }
        let Some(edge) = self.edge_into(flow, port) else {
            return;
        };
        let books = &edge.books;
        for (cause, cause_name) in DropCause::ALL {
            lose(cause_name, books.dropped(cause));
        }
        let before = read(&books.consumer.abandoned);
        *losses
            .entry(format!("abandoned before {name}"))
            .or_default() += before;
        let producer = &self.wiring.instances[&edge.from];
        let Some(upstream) = producer.flows.get(&self.stream) else {
            return;
        };
        let filtered = read(&upstream.books.filtered[edge.output]);
        let from = self.name(edge.from);
        *losses.entry(format!("filtered at {from}")).or_default() += filtered;
        self.follow(edge.from, upstream, losses);
    }

    fn name(&self, node: NodeId) -> String {
        let is_unit = self.wiring.graph.provider.is_some();
        place(&self.wiring.graph, &self.wiring.instances[&node], is_unit)
    }

    fn edge_into(&self, flow: &FlowRecord, port: usize) -> Option<&EdgeRecord> {
        self.wiring.edges.get(flow.fed_by.get(port)?.as_ref()?)
    }

    fn primary_port(&self, node: NodeId, flow: &FlowRecord) -> usize {
        let spec = &self.wiring.graph.nodes[self.wiring.instances[&node].spec];
        let required = crate::runtime::topology::required(spec);
        crate::runtime::flow::bits_of(required)
            .find(|&port| self.edge_into(flow, port).is_some())
            .unwrap_or(0)
    }

    /// Returns whether no queue on any path from the source to this node may drop.
    fn is_lossless(&self, node: NodeId) -> bool {
        let graph = &self.wiring.graph;
        let mut open = vec![self.wiring.instances[&node].spec];
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
