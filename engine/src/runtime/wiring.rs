//! From a checked graph to lanes: which instances a stream needs, and the links between them.
//!
//! Every stream is wired by itself, those of the graph file at the start and others while the graph runs, so there is
//! one way in which a stream comes to be. Shared nodes exist once; instances of `each: stream` nodes come with their stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::actor::Setup;
use crate::clock::ClockMode;
use crate::graph::{Graph, NodeSpec, Problems, StreamSpec};
use crate::packet::Stream;
use crate::registry::Registry;
use crate::runtime::batch::Batch;
use crate::runtime::books::FlowBooks;
use crate::runtime::flow::{Flow, Outlet};
use crate::runtime::host::Host;
use crate::runtime::intake::Intake;
use crate::runtime::lane::Lane;
use crate::runtime::link::Link;
use crate::runtime::node::{Node, NodeParts};
use crate::runtime::parker::Parker;
use crate::runtime::protocol::{Attachment, Command, Mailbox, NodeId};
use crate::runtime::records::{
    Carrier, EdgeRecord, FlowRecord, Instance, LaneRecord, StreamRecord,
};
use crate::runtime::stats::{NodeWatch, SinkLatency};
use crate::runtime::topology::{is_leaf, per_stream_source, policy, reached_from, required};

/// Everything that has been wired in a run, also what has ended since: the report is made from it.
pub(crate) struct Wiring {
    pub(crate) graph: Arc<Graph>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) host: Host,
    pub(crate) instances: Vec<Instance>,
    pub(crate) edges: Vec<EdgeRecord>,
    pub(crate) lanes: Vec<LaneRecord>,
    pub(crate) streams: Vec<StreamRecord>,
    /// Shared nodes by index in the graph.
    shared: HashMap<usize, NodeId>,
    lives: HashMap<String, u32>,
}

/// The lanes that one act of wiring has made; they are started by the caller.
pub(crate) struct NewLanes {
    pub(crate) lanes: Vec<(Lane, Arc<Parker>)>,
    pub(crate) nodes: Vec<NodeId>,
    /// Lets the new sources begin.
    pub(crate) started: Arc<AtomicBool>,
}

/// What lanes have to attach: by lane, one entry for each of its nodes.
type Attachments = Vec<(usize, Vec<Option<Attachment>>)>;

struct Half {
    lane: usize,
    node: Node,
}

impl Wiring {
    pub(crate) fn new(graph: Arc<Graph>, registry: Arc<Registry>, host: Host) -> Self {
        Self {
            graph,
            registry,
            host,
            instances: Vec::new(),
            edges: Vec::new(),
            lanes: Vec::new(),
            streams: Vec::new(),
            shared: HashMap::new(),
            lives: HashMap::new(),
        }
    }

    /// Wires the shared nodes and the streams of the graph file.
    pub(crate) fn wire_graph(&mut self) -> Result<NewLanes, Problems> {
        let graph = Arc::clone(&self.graph);
        let started = Arc::new(AtomicBool::new(false));
        let mut halves = Vec::new();
        for (index, spec) in graph.nodes.iter().enumerate() {
            if !spec.each_stream {
                let half = self.instantiate(index, spec, None)?;
                self.shared.insert(index, half.node.parts.id);
                halves.push(half);
            }
        }
        let mut attachments = Vec::new();
        for (index, spec) in graph.nodes.iter().enumerate() {
            if !spec.each_stream && spec.inputs.is_empty() {
                let stream = StreamSpec {
                    name: spec.name.clone(),
                    uri: String::new(),
                };
                attachments.push(self.wire_one(&stream, index, &mut halves)?);
            }
        }
        if let Some(source) = per_stream_source(&graph) {
            for stream in &graph.streams {
                attachments.push(self.wire_one(stream, source, &mut halves)?);
            }
        }
        let nodes = halves.iter().map(|half| half.node.parts.id).collect();
        let lanes = self.assemble(halves, &started);
        for (lane, flows) in attachments.into_iter().flatten() {
            self.lanes[lane].mailbox.send(Command::Attach { flows });
        }
        Ok(NewLanes {
            lanes,
            nodes,
            started,
        })
    }

    /// Wires a stream into the running graph.
    pub(crate) fn wire_stream(
        &mut self,
        stream: &StreamSpec,
    ) -> Result<Option<NewLanes>, Problems> {
        let Some(source) = per_stream_source(&self.graph) else {
            return Ok(None);
        };
        let started = Arc::new(AtomicBool::new(false));
        let mut halves = Vec::new();
        let attachments = self.wire_one(stream, source, &mut halves)?;
        let nodes = halves.iter().map(|half| half.node.parts.id).collect();
        let lanes = self.assemble(halves, &started);
        for (lane, flows) in attachments {
            self.lanes[lane].mailbox.send(Command::Attach { flows });
        }
        Ok(Some(NewLanes {
            lanes,
            nodes,
            started,
        }))
    }

    /// A name that no earlier stream of this run has had.
    fn fresh_name(&mut self, name: &str) -> String {
        let lives = self.lives.entry(name.to_owned()).or_insert(0);
        *lives += 1;
        match *lives {
            1 => name.to_owned(),
            life => format!("{name}.{life}"),
        }
    }

    /// Instances, links and flows of one stream. Returns what each lane has to attach.
    fn wire_one(
        &mut self,
        spec: &StreamSpec,
        source: usize,
        halves: &mut Vec<Half>,
    ) -> Result<Attachments, Problems> {
        let graph = Arc::clone(&self.graph);
        let reached = reached_from(&graph, source);
        let spec = StreamSpec {
            name: self.fresh_name(&spec.name),
            uri: spec.uri.clone(),
        };
        let stream = Arc::new(Stream {
            id: u32::try_from(self.streams.len()).unwrap_or(u32::MAX),
            name: spec.name.clone(),
            uri: spec.uri.clone(),
        });
        let mut ids: HashMap<usize, NodeId> = HashMap::new();
        for &index in &reached {
            let node = &graph.nodes[index];
            let id = if node.each_stream {
                let half = self.instantiate(index, node, Some((&spec, &stream)))?;
                let id = half.node.parts.id;
                halves.push(half);
                id
            } else {
                self.shared[&index]
            };
            ids.insert(index, id);
        }
        let source_id = ids[&source];
        self.instances[source_id].stream = Some(stream.id);
        self.streams.push(StreamRecord {
            stream: Arc::clone(&stream),
            source: source_id,
            nodes: ids.values().copied().collect(),
        });
        let first_edge = self.edges.len();
        for &index in &reached {
            self.connect(&graph, index, &ids);
        }
        Ok(self.attachments(&graph, &ids, &stream, first_edge))
    }

    /// Makes the edges into one node.
    fn connect(&mut self, graph: &Graph, index: usize, ids: &HashMap<usize, NodeId>) {
        let node = &graph.nodes[index];
        let join = node.ports.inputs.len() > 1;
        for input in &node.inputs {
            for from in &input.from {
                let Some(&producer) = ids.get(&from.node) else {
                    continue;
                };
                let consumer = ids[&index];
                let (from_lane, to_lane) =
                    (self.instances[producer].lane, self.instances[consumer].lane);
                let carrier = if from_lane == to_lane {
                    Carrier::HandOver(Arc::default())
                } else {
                    Carrier::Link(Arc::new(Link::new(
                        policy(graph, node, join),
                        Arc::clone(&self.lanes[from_lane].parker),
                        Arc::clone(&self.lanes[to_lane].parker),
                    )))
                };
                self.edges.push(EdgeRecord {
                    from: producer,
                    output: from.output,
                    to: consumer,
                    port: input.port,
                    carrier,
                });
            }
        }
    }

    /// Builds the stream's flows and groups them by lane.
    fn attachments(
        &mut self,
        graph: &Graph,
        ids: &HashMap<usize, NodeId>,
        stream: &Arc<Stream>,
        first_edge: usize,
    ) -> Attachments {
        let mut by_lane: HashMap<usize, Vec<Option<Attachment>>> = HashMap::new();
        for (&index, &id) in ids {
            let node = &graph.nodes[index];
            let inputs = node.ports.inputs.len();
            let mut intakes: Vec<Option<Intake>> = (0..inputs).map(|_| None).collect();
            let mut fed_by = vec![usize::MAX; inputs];
            let mut outlets: Vec<Vec<Outlet>> = vec![Vec::new(); node.ports.outputs.len()];
            let lane = self.instances[id].lane;
            for (edge_index, edge) in self.edges.iter().enumerate().skip(first_edge) {
                if edge.to == id {
                    fed_by[edge.port] = edge_index;
                    intakes[edge.port] = Some(edge.intake());
                }
                if edge.from == id {
                    let place = self.place_in_lane(edge.to);
                    outlets[edge.output].push(edge.outlet(place));
                }
            }
            let books = Arc::new(FlowBooks::new(inputs, node.ports.outputs.len()));
            let latency = self.instances[id].sink.then(Arc::<SinkLatency>::default);
            let flow = Flow::new(
                Arc::clone(stream),
                Arc::clone(&books),
                // An input that this stream does not reach never gets anything and has ended from the start.
                intakes
                    .into_iter()
                    .map(|intake| intake.unwrap_or_else(Intake::ended))
                    .collect(),
                outlets,
                required(node),
            );
            self.instances[id].flows.insert(
                stream.id,
                FlowRecord {
                    books,
                    latency: latency.clone(),
                    fed_by,
                },
            );
            let place = self.place_in_lane(id);
            let nodes = self.lanes[lane].nodes.len();
            let flows = by_lane
                .entry(lane)
                .or_insert_with(|| (0..nodes).map(|_| None).collect());
            flows[place] = Some(Attachment { flow, latency });
        }
        by_lane.into_iter().collect()
    }

    /// Seconds from the first capture to the last delivery at a sink.
    pub(crate) fn wall_s(&self) -> f64 {
        let watches = || self.instances.iter().map(|instance| &instance.watch);
        let first = watches()
            .map(|watch| watch.first_capture_ns.load(Ordering::Relaxed))
            .min()
            .unwrap_or(0);
        let last = watches()
            .map(|watch| watch.last_delivery_ns.load(Ordering::Relaxed))
            .max()
            .unwrap_or(0);
        last.saturating_sub(first) as f64 / 1e9
    }

    fn place_in_lane(&self, id: NodeId) -> usize {
        let nodes = &self.lanes[self.instances[id].lane].nodes;
        nodes.iter().position(|&node| node == id).unwrap_or(0)
    }

    /// Makes the record of an instance and the node that its lane will run.
    fn instantiate(
        &mut self,
        index: usize,
        spec: &NodeSpec,
        stream: Option<(&StreamSpec, &Arc<Stream>)>,
    ) -> Result<Half, Problems> {
        let settings = spec.settings(stream.map(|(spec, _)| spec))?;
        let actor_type = self
            .registry
            .get(&spec.actor)
            .expect("the graph was checked against this registry")
            .clone();
        let suffix = stream.map_or(String::new(), |(spec, _)| format!("@{}", spec.name));
        let name = format!("{}{suffix}", spec.name);
        let lane_name = spec
            .lane
            .as_ref()
            .map_or_else(|| name.clone(), |lane| format!("lane:{lane}{suffix}"));
        let id = self.instances.len();
        let lane = self.lane(&lane_name);
        self.lanes[lane].nodes.push(id);
        let asap = self.graph.run.clock == ClockMode::Asap;
        let watch = Arc::new(NodeWatch::new(name.clone(), spec.replicas));
        let (cancel, missed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let setup = Setup {
            node: name,
            stream: stream.map(|(_, stream)| Arc::clone(stream)),
            run_dir: self.graph.run_dir.clone(),
            clock_mode: self.graph.run.clock,
            clock: self.host.clock.clone(),
            cancel: Arc::clone(&cancel),
            missed: Arc::clone(&missed),
            lasting: Arc::default(),
        };
        let sink = !actor_type.source && is_leaf(&self.graph, index);
        self.instances.push(Instance {
            spec: index,
            stream: stream.map(|(_, stream)| stream.id),
            source: actor_type.source,
            sink,
            irreplaceable: spec.ports.irreplaceable,
            watch: Arc::clone(&watch),
            lane,
            cancel,
            missed,
            flows: HashMap::new(),
        });
        let parts = NodeParts {
            id,
            watch,
            parker: Arc::clone(&self.lanes[lane].parker),
            workers: self.host.workers.clone(),
            per_stream: spec.each_stream || actor_type.source,
            actor_type,
            settings,
            setup,
            on_error: spec.on_error,
            strict: asap,
            replicas: spec.replicas,
            sink,
            outputs: spec.ports.outputs.len(),
        };
        let batch = spec.batch.as_ref().map(|batch| Batch::new(batch, asap));
        Ok(Half {
            lane,
            node: Node::new(parts, batch),
        })
    }

    /// The lane of this name, made if there is none yet.
    fn lane(&mut self, name: &str) -> usize {
        if let Some(lane) = self.lanes.iter().position(|lane| lane.name == name) {
            return lane;
        }
        let parker = Arc::new(Parker::default());
        self.lanes.push(LaneRecord {
            name: name.to_owned(),
            mailbox: Arc::new(Mailbox::new(Arc::clone(&parker))),
            parker,
            nodes: Vec::new(),
        });
        self.lanes.len() - 1
    }

    fn assemble(&self, halves: Vec<Half>, started: &Arc<AtomicBool>) -> Vec<(Lane, Arc<Parker>)> {
        let mut by_lane: HashMap<usize, Vec<Node>> = HashMap::new();
        for half in halves {
            by_lane.entry(half.lane).or_default().push(half.node);
        }
        let mut lanes: Vec<_> = by_lane
            .into_iter()
            .map(|(id, nodes)| {
                let record = &self.lanes[id];
                let lane = Lane::new(
                    id,
                    record.name.clone(),
                    nodes,
                    Arc::clone(&record.mailbox),
                    Arc::clone(started),
                    self.host.clone(),
                );
                (lane, Arc::clone(&record.parker))
            })
            .collect();
        lanes.sort_by_key(|(lane, _)| lane.id);
        lanes
    }
}
