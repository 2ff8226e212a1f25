//! Closes streams: once nothing of a stream runs any more, its records are turned into its lines of the report.

use crate::end::{End, How};
use crate::reporting;
use crate::runtime::books::read;
use crate::runtime::closed::EdgeKey;
use crate::runtime::protocol::NodeId;
use crate::runtime::records::{EdgeRecord, Instance, StreamRecord};
use crate::runtime::wiring::Wiring;

/// A stream that has been closed.
pub(crate) struct Closing {
    /// Its own instances, which are gone.
    pub(crate) nodes: Vec<NodeId>,
}

impl Wiring {
    /// Notes that the thread of a lane has ended. Returns the stream that owned the lane.
    pub(crate) fn lane_exited(&mut self, lane: usize) -> Option<u32> {
        let mut streams = self.streams.iter_mut();
        let (stream, record) = streams.find(|(_, record)| record.lanes.contains(&lane))?;
        record.lanes.retain(|own| *own != lane);
        Some(*stream)
    }

    /// Closes what can be closed at the end of the run, when all threads of lanes except these have ended.
    pub(crate) fn close_what_is_over(&mut self, hung_lanes: &[usize]) {
        let streams: Vec<u32> = self.streams.keys().copied().collect();
        for stream in streams {
            if let Some(record) = self.streams.get_mut(&stream) {
                record.lanes.retain(|lane| hung_lanes.contains(lane));
                let finished = |node: &NodeId| self.instances[node].is_finished();
                if record.unended > 0 && record.nodes.iter().all(finished) {
                    // It was attached to a stopped lane, which could not report its end.
                    record.unended = 0;
                    record.end = record.end.and(End::of(How::Stopped));
                }
            }
            self.close_if_over(stream);
        }
    }

    /// Closes a stream if it has ended everywhere, and all its own instances and their threads have ended.
    pub(crate) fn close_if_over(&mut self, stream: u32) -> Option<Closing> {
        let record = self.streams.get(&stream)?;
        let is_own = |node: &&NodeId| self.instances[*node].stream == Some(stream);
        let own: Vec<NodeId> = record.nodes.iter().filter(is_own).copied().collect();
        let source = &self.instances[&record.source];
        // The stream of a shared source stays open; there are at most as many as the graph has nodes.
        let comes_and_goes = self.graph.nodes[source.spec].each_stream;
        let are_finished = own.iter().all(|node| self.instances[node].is_finished());
        if record.unended > 0 || !record.lanes.is_empty() || !are_finished || !comes_and_goes {
            return None;
        }
        self.close_stream(stream);
        for &node in &own {
            if let Some(instance) = self.instances.remove(&node) {
                self.lanes.remove(&instance.lane);
                self.close_instance(&instance);
            }
        }
        Some(Closing { nodes: own })
    }

    /// Marks the streams whose sources are among these instances as begun. Returns the name of the stream that owns the
    /// instances, if one does.
    pub(crate) fn begin(&mut self, nodes: &[NodeId]) -> Option<String> {
        for record in self.streams.values_mut() {
            record.has_begun |= nodes.contains(&record.source);
        }
        let mut streams = nodes
            .iter()
            .filter_map(|node| self.instances.get(node)?.stream);
        let record = self.streams.get(&streams.next()?)?;
        Some(record.stream.name.clone())
    }

    /// Returns the streams cut off by the end of the run, and how they ended: nothing else reports the end of a stream
    /// that was attached to a stopped lane.
    pub(crate) fn cut_off(&self) -> Vec<(String, End)> {
        let streams = self.streams.values();
        let open = streams.filter(|record| record.has_begun && record.unended > 0);
        let named = open.map(|record| {
            let end = record.end.and(End::of(How::Stopped));
            (record.stream.name.clone(), end)
        });
        named.collect()
    }

    /// Closes the books of a stream and of its edges. Its own instances are closed after it.
    fn close_stream(&mut self, stream: u32) {
        let Some(record) = self.streams.get(&stream) else {
            return;
        };
        for edge in &record.edges {
            self.edges[edge].abandon();
        }
        let mut imbalances = Vec::new();
        let report = reporting::stream_report(self, record, &[], &mut imbalances);
        self.closed.imbalances.append(&mut imbalances);
        let name = record.stream.name.clone();
        // A stream that was given up before it began has lost nothing.
        let end = if record.has_begun {
            record.end
        } else {
            End::of(How::Drained)
        };
        if self.graph.provider.is_none() {
            let totals = &mut self.closed.totals;
            totals.count += 1;
            totals.captured += report.captured;
            totals.delivered += report.delivered;
            if !record.has_begun && self.edge_of(record).is_some() {
                // It may be added again, under the name that it has where it is captured.
                self.lives.remove(&name);
            } else {
                self.closed.specs.push(record.spec());
            }
            self.closed.streams.insert(name, report);
        } else {
            self.add_latencies(stream);
            let units = &mut self.closed.units;
            units.captured += report.captured;
            units.missed += report.missed;
            units.delivered += report.delivered;
            for (sink, report) in &report.sinks {
                let total = units.sinks.entry(sink.clone()).or_default();
                total.delivered += report.delivered;
                for (cause, lost) in &report.losses {
                    *total.losses.entry(cause.clone()).or_default() += lost;
                }
            }
            if end.is_complete() {
                units.complete += 1;
                // A complete unit does not return.
                self.lives.remove(&name);
            } else if end.how == How::Drained && !end.lost {
                units.unfinished += 1;
            } else {
                units.failed.push(name.clone());
                self.closed.streams.insert(name, report);
            }
        }
        if let Some(record) = self.streams.remove(&stream) {
            self.forget_flows(stream, &record);
            for edge in record.edges {
                if let Some(edge) = self.edges.remove(&edge) {
                    self.close_edge(&edge);
                }
            }
        }
    }

    fn add_latencies(&mut self, stream: u32) {
        let sinks = &mut self.closed.units.sinks;
        for instance in self.instances.values() {
            let latency = instance.flows.get(&stream);
            if let Some(latency) = latency.and_then(|flow| flow.latency.as_ref()) {
                let name = reporting::place(&self.graph, instance, true);
                let total = &mut sinks.entry(name).or_default().latency_ns;
                total.absorb(&mut latency.lock());
            }
        }
    }

    /// Adds the books of the stream at shared nodes to the totals that these keep.
    fn forget_flows(&mut self, stream: u32, record: &StreamRecord) {
        for node in &record.nodes {
            if let Some(instance) = self.instances.get_mut(node)
                && instance.stream != Some(stream)
                && let Some(flow) = instance.flows.remove(&stream)
            {
                instance.closed.add(&flow.books);
            }
        }
    }

    fn close_edge(&mut self, edge: &EdgeRecord) {
        let key = self.edge_key(edge);
        let total = self.closed.edges.entry(key.clone()).or_default();
        reporting::add_edge(total, &self.graph, edge, &key);
    }

    /// Returns the key of an edge in the report.
    pub(crate) fn edge_key(&self, edge: &EdgeRecord) -> EdgeKey {
        let is_unit = self.graph.provider.is_some();
        let [from, to] = [edge.from, edge.to].map(|node| &self.instances[&node]);
        let name = |instance| reporting::place(&self.graph, instance, is_unit);
        EdgeKey {
            producer: from.spec,
            output: edge.output,
            consumer: to.spec,
            input: edge.port,
            from: name(from),
            to: name(to),
        }
    }

    fn close_instance(&mut self, instance: &Instance) {
        self.closed.span.extend(&instance.watch);
        let node = reporting::node_report(&self.graph, instance, 0, false);
        if let Some(imbalance) = reporting::imbalance(instance, &node) {
            self.closed.imbalances.push(imbalance);
        }
        let name = &instance.watch.name;
        if self.graph.provider.is_some() {
            let nodes = &mut self.closed.units.nodes;
            let total = nodes.entry(instance.spec).or_default();
            total.counts.absorb(instance.counts());
            total.stats.absorb(&mut instance.watch.stats());
            total.restarts += read(&instance.watch.restarts);
            total.life_ns += instance.watch.life_ns(0);
            instance.tallies.add_to(&mut total.counted);
            return;
        }
        if let Some(batches) =
            reporting::batch_report(&self.graph, instance.spec, &instance.watch.stats())
        {
            self.closed.batches.insert(name.clone(), batches);
        }
        self.closed.nodes.insert(name.clone(), node);
    }
}
