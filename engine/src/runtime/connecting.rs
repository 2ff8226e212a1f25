//! Creates the edges of a stream: their records, and the attachments that give lanes their ends.

use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::Graph;
use crate::packet::Stream;
use crate::runtime::books::{EdgeBooks, FlowBooks};
use crate::runtime::channel::Channel;
use crate::runtime::protocol::{Attachment, NewEdge, NewFlow, NodeId};
use crate::runtime::records::{EdgeNumber, EdgeRecord, FlowRecord};
use crate::runtime::stats::{LatencyRecorder, SinkLatency};
use crate::runtime::topology::{policy, required};
use crate::runtime::wiring::{Attachments, Wiring};

impl Wiring {
    /// Creates the records of the edges into one node.
    pub(super) fn connect(
        &mut self,
        graph: &Graph,
        index: usize,
        ids: &HashMap<usize, NodeId>,
        stream: u32,
        edges: &mut Vec<EdgeNumber>,
    ) {
        let node = &graph.nodes[index];
        for input in &node.inputs {
            for from in &input.from {
                let Some(&producer) = ids.get(&from.node) else {
                    continue;
                };
                let consumer = ids[&index];
                let policy = policy(graph, &graph.nodes[from.node], node);
                let books = Arc::<EdgeBooks>::default();
                let lanes = [producer, consumer].map(|id| self.instances[&id].lane);
                let parker = |lane: usize| Arc::clone(&self.lanes[&lane].parker);
                let channel = (lanes[0] != lanes[1]).then(|| {
                    let (producer, consumer) = (parker(lanes[0]), parker(lanes[1]));
                    Arc::new(Channel::new(
                        &policy,
                        Arc::clone(&books),
                        producer,
                        consumer,
                    ))
                });
                let edge = EdgeRecord {
                    from: producer,
                    output: from.output,
                    to: consumer,
                    port: input.port,
                    stream,
                    policy,
                    books,
                    channel,
                };
                self.edges.insert(self.next.edge, edge);
                edges.push(self.next.edge);
                self.next.edge += 1;
            }
        }
    }

    /// Builds the attachment of the stream for each lane.
    pub(super) fn attachments(
        &mut self,
        graph: &Graph,
        ids: &HashMap<usize, NodeId>,
        stream: &Arc<Stream>,
        edges: &[EdgeNumber],
    ) -> Attachments {
        let mut by_lane = self.flows(graph, ids, stream);
        for &number in edges {
            self.attach_edge(number, &mut by_lane);
        }
        let mut by_lane: Attachments = by_lane.into_iter().collect();
        by_lane.sort_by_key(|(lane, _)| *lane);
        by_lane
    }

    /// Creates the records of the stream at its nodes and the flows for their lanes, still without edges.
    fn flows(
        &mut self,
        graph: &Graph,
        ids: &HashMap<usize, NodeId>,
        stream: &Arc<Stream>,
    ) -> ByLane {
        let mut by_lane = ByLane::new();
        let mut sinks = Vec::new();
        let mut source = None;
        for (&index, &id) in ids {
            let spec = &graph.nodes[index];
            let (inputs, outputs) = (spec.ports.inputs.len(), spec.ports.outputs.len());
            let books = FlowBooks::new(inputs, outputs, spec.ports.confirms_flushes);
            let books = Arc::new(books);
            let Some(instance) = self.instances.get_mut(&id) else {
                continue;
            };
            if instance.sink {
                sinks.push(Arc::clone(&books));
            }
            if instance.sink && instance.stream.is_some() {
                instance.settled.watch(vec![Arc::clone(&books)]);
            }
            if instance.source {
                source = Some(instance.settled.clone());
            }
            let latency = instance.sink.then(Arc::<SinkLatency>::default);
            instance.flows.insert(
                stream.id,
                FlowRecord {
                    books: Arc::clone(&books),
                    latency: latency.clone(),
                    fed_by: vec![None; inputs],
                },
            );
            let nodes = &self.lanes[&instance.lane].nodes;
            let attachment = by_lane.entry(instance.lane).or_insert_with(|| Attachment {
                stream: Arc::clone(stream),
                edges: Vec::new(),
                flows: nodes.iter().map(|_| None).collect(),
            });
            attachment.flows[place_in(nodes, id)] = Some(NewFlow {
                books,
                // An input that this stream does not reach has ended from the start.
                inputs: vec![None; inputs],
                outputs: vec![Vec::new(); outputs],
                required: required(spec),
                latency: latency.map(LatencyRecorder::new),
            });
        }
        if let Some(settled) = source {
            settled.watch(sinks);
        }
        by_lane
    }

    /// Adds the ends of an edge to the attachments of its nodes' lanes.
    fn attach_edge(&mut self, number: EdgeNumber, by_lane: &mut ByLane) {
        let edge = &self.edges[&number];
        if let Some(consumer) = self.instances.get_mut(&edge.to)
            && let Some(flow) = consumer.flows.get_mut(&edge.stream)
        {
            flow.fed_by[edge.port] = Some(number);
        }
        let lane_of = |id: NodeId| self.instances[&id].lane;
        let (from_lane, to_lane) = (lane_of(edge.from), lane_of(edge.to));
        let from = place_in(&self.lanes[&from_lane].nodes, edge.from);
        let to = place_in(&self.lanes[&to_lane].nodes, edge.to);
        let ends = match &edge.channel {
            None => {
                let ring = NewEdge::Ring {
                    policy: edge.policy,
                    books: Arc::clone(&edge.books),
                    consumer: to,
                };
                let end = add(by_lane, from_lane, ring);
                [end, end]
            }
            Some(channel) => {
                let sending = NewEdge::Sending(edge.policy, Arc::clone(channel));
                let receiving = NewEdge::Receiving(edge.policy, Arc::clone(channel));
                let sending = add(by_lane, from_lane, sending);
                [sending, add(by_lane, to_lane, receiving)]
            }
        };
        if let Some(flow) = flow_of(by_lane, from_lane, from) {
            flow.outputs[edge.output].push(ends[0]);
        }
        if let Some(flow) = flow_of(by_lane, to_lane, to) {
            flow.inputs[edge.port] = Some(ends[1]);
        }
    }
}

/// The attachments of one stream, by lane.
type ByLane = HashMap<usize, Attachment>;

fn place_in(nodes: &[NodeId], id: NodeId) -> usize {
    let place = nodes.iter().position(|&node| node == id);
    place.expect("a lane lists its instances")
}

/// Adds an edge to the attachment of a lane; returns its index there.
fn add(by_lane: &mut ByLane, lane: usize, edge: NewEdge) -> usize {
    let attachment = by_lane.get_mut(&lane);
    let edges = &mut attachment.expect("both nodes of an edge have flows").edges;
    edges.push(edge);
    edges.len() - 1
}

fn flow_of(by_lane: &mut ByLane, lane: usize, place: usize) -> Option<&mut NewFlow> {
    by_lane.get_mut(&lane)?.flows[place].as_mut()
}
