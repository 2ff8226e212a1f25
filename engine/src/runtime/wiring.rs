//! From a checked graph to lanes: which instances a stream needs, and the links between them.
//!
//! Every stream is wired by itself, those of the graph file at the start and others while the graph runs, so there is
//! one way in which a stream comes to be. Shared nodes exist once; instances of `each: stream` nodes come with their stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock::ClockMode;
use crate::end::End;
use crate::graph::{Graph, NodeSpec, Problem, Problems, StreamSpec};
use crate::packet::Stream;
use crate::registry::Registry;
use crate::runtime::batch::Batches;
use crate::runtime::books::{EdgeBooks, FlowBooks};
use crate::runtime::channel::Channel;
use crate::runtime::host::Host;
use crate::runtime::lane::{Lane, LaneParts};
use crate::runtime::node::Node;
use crate::runtime::parker::Parker;
use crate::runtime::parts::NodeParts;
use crate::runtime::protocol::{Attachment, Command, Mailbox, NewEdge, NewFlow, NodeId};
use crate::runtime::records::{EdgeRecord, FlowRecord, Instance, LaneRecord, StreamRecord};
use crate::runtime::stats::{NodeWatch, SinkLatency};
use crate::runtime::topology::{
    counts_bytes, is_leaf, per_stream_source, policy, reached_from, required,
};
use crate::setup::Setup;

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
    /// What lanes are to attach once all new ones run.
    pub(crate) attachments: Attachments,
    /// Lets the new sources begin.
    pub(crate) started: Arc<AtomicBool>,
}

/// What lanes have to attach, by lane.
pub(crate) type Attachments = Vec<(usize, Attachment)>;

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
        Ok(NewLanes {
            lanes,
            nodes,
            attachments: attachments.into_iter().flatten().collect(),
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
        Graph::check_stream_name(&stream.name)?;
        let lives = self.lives.get(&stream.name).copied().unwrap_or(0);
        let named = StreamSpec {
            name: name_of_life(&stream.name, lives + 1),
            uri: stream.uri.clone(),
        };
        let others: Vec<StreamSpec> = self.streams.iter().map(StreamRecord::spec).collect();
        self.graph
            .check_added_stream(&self.registry, &named, &others)?;
        let started = Arc::new(AtomicBool::new(false));
        let mut halves = Vec::new();
        let attachments = self.wire_one(stream, source, &mut halves)?;
        let nodes = halves.iter().map(|half| half.node.parts.id).collect();
        let lanes = self.assemble(halves, &started);
        Ok(Some(NewLanes {
            lanes,
            nodes,
            attachments,
            started,
        }))
    }

    /// Lets streams begin in their lanes.
    pub(crate) fn attach(&self, attachments: Attachments) {
        for (lane, attachment) in attachments {
            let mailbox = &self.lanes[lane].mailbox;
            mailbox.send(Command::Attach(attachment));
        }
    }

    /// A name that no earlier stream of this run has had.
    fn fresh_name(&mut self, name: &str) -> String {
        let lives = self.lives.entry(name.to_owned()).or_insert(0);
        *lives += 1;
        name_of_life(name, *lives)
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
            unended: ids.len(),
            end: End::default(),
        });
        let first_edge = self.edges.len();
        for &index in &reached {
            self.connect(&graph, index, &ids);
        }
        Ok(self.attachments(&graph, &ids, &stream, first_edge))
    }

    /// Makes the records of the edges into one node.
    fn connect(&mut self, graph: &Graph, index: usize, ids: &HashMap<usize, NodeId>) {
        let node = &graph.nodes[index];
        for input in &node.inputs {
            for from in &input.from {
                let Some(&producer) = ids.get(&from.node) else {
                    continue;
                };
                let consumer = ids[&index];
                let policy = policy(graph, &graph.nodes[from.node], node);
                let books = Arc::<EdgeBooks>::default();
                let lanes = [producer, consumer].map(|id| self.instances[id].lane);
                let parker = |lane: usize| Arc::clone(&self.lanes[lane].parker);
                let channel = (lanes[0] != lanes[1]).then(|| {
                    let (producer, consumer) = (parker(lanes[0]), parker(lanes[1]));
                    Arc::new(Channel::new(
                        &policy,
                        Arc::clone(&books),
                        producer,
                        consumer,
                    ))
                });
                self.edges.push(EdgeRecord {
                    from: producer,
                    output: from.output,
                    to: consumer,
                    port: input.port,
                    policy,
                    books,
                    channel,
                });
            }
        }
    }

    /// Builds what each lane has to know of the stream.
    fn attachments(
        &mut self,
        graph: &Graph,
        ids: &HashMap<usize, NodeId>,
        stream: &Arc<Stream>,
        first_edge: usize,
    ) -> Attachments {
        let mut by_lane: HashMap<usize, Attachment> = HashMap::new();
        for (&index, &id) in ids {
            let spec = &graph.nodes[index];
            let (inputs, outputs) = (spec.ports.inputs.len(), spec.ports.outputs.len());
            let books = Arc::new(FlowBooks::new(inputs, outputs));
            let instance = &mut self.instances[id];
            let latency = instance.sink.then(Arc::<SinkLatency>::default);
            instance.flows.insert(
                stream.id,
                FlowRecord {
                    books: Arc::clone(&books),
                    latency: latency.clone(),
                    fed_by: vec![usize::MAX; inputs],
                },
            );
            let nodes = &self.lanes[instance.lane].nodes;
            let attachment = by_lane.entry(instance.lane).or_insert_with(|| Attachment {
                stream: Arc::clone(stream),
                edges: Vec::new(),
                flows: nodes.iter().map(|_| None).collect(),
            });
            attachment.flows[place_in(nodes, id)] = Some(NewFlow {
                books,
                // An input that this stream does not reach never gets anything and has ended from the start.
                inputs: vec![None; inputs],
                outputs: vec![Vec::new(); outputs],
                required: required(spec),
                latency,
            });
        }
        for (edge_index, edge) in self.edges.iter().enumerate().skip(first_edge) {
            let consumer = &mut self.instances[edge.to];
            if let Some(flow) = consumer.flows.get_mut(&stream.id) {
                flow.fed_by[edge.port] = edge_index;
            }
            let (from_lane, to_lane) =
                (self.instances[edge.from].lane, self.instances[edge.to].lane);
            let from = place_in(&self.lanes[from_lane].nodes, edge.from);
            let to = place_in(&self.lanes[to_lane].nodes, edge.to);
            let ends = match &edge.channel {
                None => {
                    let ring = NewEdge::Ring {
                        policy: edge.policy,
                        books: Arc::clone(&edge.books),
                        consumer: to,
                    };
                    let end = add(&mut by_lane, from_lane, ring);
                    [end, end]
                }
                Some(channel) => {
                    let sending = NewEdge::Sending(edge.policy, Arc::clone(channel));
                    let receiving = NewEdge::Receiving(edge.policy, Arc::clone(channel));
                    let sending = add(&mut by_lane, from_lane, sending);
                    [sending, add(&mut by_lane, to_lane, receiving)]
                }
            };
            if let Some(flow) = flow_of(&mut by_lane, from_lane, from) {
                flow.outputs[edge.output].push(ends[0]);
            }
            if let Some(flow) = flow_of(&mut by_lane, to_lane, to) {
                flow.inputs[edge.port] = Some(ends[1]);
            }
        }
        let mut by_lane: Attachments = by_lane.into_iter().collect();
        by_lane.sort_by_key(|(lane, _)| *lane);
        by_lane
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

    /// Makes the record of an instance and the node that its lane will run.
    fn instantiate(
        &mut self,
        index: usize,
        spec: &NodeSpec,
        stream: Option<(&StreamSpec, &Arc<Stream>)>,
    ) -> Result<Half, Problems> {
        let settings = spec.settings(stream.map(|(spec, _)| spec))?;
        let actor_type = self.registry.get(&spec.actor).cloned();
        let actor_type = actor_type.ok_or_else(|| {
            let message = format!("`{}` uses `{}`, which is no actor", spec.name, spec.actor);
            Problem::nowhere(message)
        })?;
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
            services: self.host.services.clone(),
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
            strict: asap && self.graph.provider.is_none(),
            oldest_first: self.graph.provider.is_some(),
            replicas: spec.replicas,
            open_calls: spec.ports.open_calls,
            sink,
            outputs: spec.ports.outputs.len(),
            counts_bytes: counts_bytes(&self.graph, index),
        };
        let batches = spec.batch.as_ref().map(|batch| Batches::new(batch, asap));
        Ok(Half {
            lane,
            node: Node::new(parts, batches),
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
            watch: Arc::default(),
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
                let parts = LaneParts {
                    id,
                    name: record.name.clone(),
                    mailbox: Arc::clone(&record.mailbox),
                    watch: Arc::clone(&record.watch),
                    started: Arc::clone(started),
                    host: self.host.clone(),
                };
                let lane = Lane::new(parts, nodes);
                (lane, Arc::clone(&record.parker))
            })
            .collect();
        lanes.sort_by_key(|(lane, _)| lane.id);
        lanes
    }
}

/// The name of a stream that comes for the n-th time under it.
fn name_of_life(name: &str, life: u32) -> String {
    match life {
        1 => name.to_owned(),
        life => format!("{name}.{life}"),
    }
}

fn place_in(nodes: &[NodeId], id: NodeId) -> usize {
    let place = nodes.iter().position(|&node| node == id);
    place.expect("a lane lists its instances")
}

/// Adds an edge to what a lane has to attach; returns its index there.
fn add(by_lane: &mut HashMap<usize, Attachment>, lane: usize, edge: NewEdge) -> usize {
    let attachment = by_lane.get_mut(&lane);
    let edges = &mut attachment.expect("both nodes of an edge have flows").edges;
    edges.push(edge);
    edges.len() - 1
}

fn flow_of(
    by_lane: &mut HashMap<usize, Attachment>,
    lane: usize,
    place: usize,
) -> Option<&mut NewFlow> {
    by_lane.get_mut(&lane)?.flows[place].as_mut()
}
