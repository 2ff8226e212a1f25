//! Takes a snapshot of a run from its counters.

use std::sync::atomic::Ordering;

use crate::graph::WhenFull;
use crate::report::SinkReport;
use crate::reporting::stream_report;
use crate::runtime::books::{DropCause, read};
use crate::runtime::distribution::Distribution;
use crate::runtime::records::{EdgeRecord, Instance, StreamRecord};
use crate::runtime::wiring::Wiring;
use crate::statistics::{
    BatchesNow, CallNow, ClosedStreams, EdgeNow, NodeNow, NodeState, Place, SinkNow, Snapshot,
    StreamNow, TIME_BOUNDS_S, Times,
};

/// Returns the current state of the run, without the number of faults, which are kept elsewhere.
pub(crate) fn snapshot(wiring: &Wiring) -> Snapshot {
    let now_ns = wiring.host.clock.now_ns();
    let streams = wiring.streams.values();
    Snapshot {
        at_s: seconds(now_ns),
        nodes: wiring
            .instances
            .values()
            .map(|instance| node(wiring, instance, now_ns))
            .collect(),
        edges: wiring
            .edges
            .values()
            .map(|record| edge(wiring, record))
            .collect(),
        streams: streams.map(|record| stream(wiring, record)).collect(),
        closed: closed(wiring),
        has_units: wiring.graph.provider.is_some(),
        faults: 0,
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn place(wiring: &Wiring, instance: &Instance) -> Place {
    let spec = &wiring.graph.nodes[instance.spec];
    let of_stream = instance.stream.filter(|_| spec.each_stream);
    let record = of_stream.and_then(|stream| wiring.streams.get(&stream));
    Place {
        node: spec.name.clone(),
        stream: record.map(|record| record.stream.name.clone()),
    }
}

fn times(distribution: &Distribution) -> Times {
    let bounds_ns = TIME_BOUNDS_S.map(|bound| (bound * 1e9) as u64);
    Times {
        count: distribution.count(),
        sum_s: seconds(distribution.sum_ns()),
        quantiles_ms: distribution.quantiles(),
        up_to: distribution.counts_up_to(&bounds_ns),
    }
}

fn node(wiring: &Wiring, instance: &Instance, now_ns: u64) -> NodeNow {
    let (watch, counts) = (&instance.watch, instance.counts());
    let spec = &wiring.graph.nodes[instance.spec];
    let calls: Vec<CallNow> = watch
        .running_calls()
        .map(|(replica, began_ns)| CallNow {
            replica,
            age_s: seconds(now_ns.saturating_sub(began_ns)),
        })
        .collect();
    let stats = watch.stats();
    NodeNow {
        place: place(wiring, instance),
        state: state(instance, !calls.is_empty(), now_ns),
        calls,
        in_hand: counts.in_hand,
        received: counts.received,
        processed: counts.processed,
        failed: counts.failed,
        unmatched: counts.unmatched,
        abandoned: counts.abandoned,
        finished: counts.finished,
        restarts: read(&watch.restarts),
        age_s: seconds(watch.life_ns(now_ns)),
        busy_s: seconds(stats.busy_ns),
        blocked_s: seconds(stats.blocked_ns),
        service: times(&stats.service_ns),
        queue_wait: times(&stats.queue_wait_ns),
        batches: spec.batch.as_ref().map(|batch| BatchesNow {
            count: stats.batches,
            weight: stats.batch_weight,
            max: batch.max,
        }),
        replicas: spec.replicas,
    }
}

fn state(instance: &Instance, is_calling: bool, now_ns: u64) -> NodeState {
    let watch = &instance.watch;
    let restart_at_ns = watch.restart_at_ns.load(Ordering::Relaxed);
    if instance.is_finished() {
        NodeState::Ended
    } else if watch.created_ns.load(Ordering::Relaxed) == 0 {
        NodeState::Starting
    } else if let Some((reason, since_ns)) = instance.connection.lost() {
        NodeState::Lost {
            reason,
            for_s: seconds(now_ns.saturating_sub(since_ns)),
        }
    } else if restart_at_ns > now_ns {
        NodeState::Restarting {
            in_s: seconds(restart_at_ns - now_ns),
        }
    } else if watch.blocked.load(Ordering::Relaxed) {
        NodeState::Blocked
    } else if is_calling {
        NodeState::Working
    } else {
        NodeState::Waiting
    }
}

fn edge(wiring: &Wiring, edge: &EdgeRecord) -> EdgeNow {
    let [from, to] = [edge.from, edge.to].map(|node| &wiring.instances[&node]);
    let spec = |instance: &Instance| &wiring.graph.nodes[instance.spec];
    let books = &edge.books;
    let dropped = DropCause::ALL
        .into_iter()
        .map(|(cause, name)| (name, books.dropped(cause)))
        .filter(|(_, dropped)| *dropped > 0);
    EdgeNow {
        from: place(wiring, from),
        output: spec(from).ports.outputs[edge.output].name.clone(),
        to: place(wiring, to),
        input: spec(to).ports.inputs[edge.port].name.clone(),
        stream: wiring.streams[&edge.stream].stream.name.clone(),
        depth: edge.depth(),
        capacity: edge.policy.capacity as u64,
        high_water: read(&books.producer.high_water),
        drops: edge.policy.full != WhenFull::Block,
        sent: read(&books.producer.sent),
        received: read(&books.consumer.received),
        dropped: dropped.collect(),
    }
}

fn stream(wiring: &Wiring, record: &StreamRecord) -> StreamNow {
    // Books that change while they are read need not balance.
    let report = stream_report(wiring, record, &[], &mut Vec::new());
    let latency = |sink: &str| {
        let mut instances = record.nodes.iter().map(|node| &wiring.instances[node]);
        let sink = instances.find(|instance| {
            let is_unit = wiring.graph.provider.is_some();
            crate::reporting::place(&wiring.graph, instance, is_unit) == sink
        });
        let flow = sink.and_then(|sink| sink.flows.get(&record.stream.id));
        let latency = flow.and_then(|flow| flow.latency.as_ref());
        latency.map_or_else(Times::default, |latency| times(&latency.lock()))
    };
    let sinks = report.sinks.into_iter().map(|(name, sink)| {
        let SinkReport {
            delivered, losses, ..
        } = sink;
        SinkNow {
            latency: latency(&name),
            name,
            delivered,
            losses,
        }
    });
    StreamNow {
        name: record.stream.name.clone(),
        edge: wiring.edge_of(record),
        captured: report.captured,
        missed: report.missed,
        delivered: report.delivered,
        ended: report.ended,
        sinks: sinks.collect(),
    }
}

fn closed(wiring: &Wiring) -> ClosedStreams {
    let units = &wiring.closed.units;
    if wiring.graph.provider.is_some() {
        return ClosedStreams {
            count: units.complete + units.unfinished + units.failed.len() as u64,
            failed: units.failed.len() as u64,
            captured: units.captured,
            delivered: units.delivered,
        };
    }
    wiring.closed.totals
}
