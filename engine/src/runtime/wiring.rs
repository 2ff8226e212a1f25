//! Builds lanes from a checked graph: the instances that a stream needs, and the edges between them.
//!
//! Every stream is wired separately, those of the graph file at the start and others while the graph runs, so there is
//! only one way to create a stream. Shared nodes exist once; instances of `each: stream` nodes are created with their
//! stream.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::clock::ClockMode;
use crate::connection::Connection;
use crate::end::End;
use crate::file_book::FileBooks;
use crate::graph::{Graph, NodeSpec, Problem, Problems, StreamSpec};
use crate::packet::Stream;
use crate::registry::Registry;
use crate::runtime::batch::Batches;
use crate::runtime::books::NodeCounts;
use crate::runtime::closed::Closed;
use crate::runtime::host::Host;
use crate::runtime::lane::{Lane, LaneParts};
use crate::runtime::node::Node;
use crate::runtime::parker::Parker;
use crate::runtime::parts::NodeParts;
use crate::runtime::protocol::{Attachment, Command, Event, Mailbox, NodeId};
use crate::runtime::records::{EdgeNumber, EdgeRecord, Instance, LaneRecord, StreamRecord};
use crate::runtime::stats::NodeWatch;
use crate::runtime::topology::{counts_bytes, inlet_of, is_leaf, per_stream_source, reached_from};
use crate::settled::Settled;
use crate::setup::Setup;
use crate::tallies::Tallies;

/// Everything that has been wired in a run: the records of open streams and the results of closed ones.
pub(crate) struct Wiring {
    pub(crate) graph: Arc<Graph>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) host: Host,
    pub(crate) instances: BTreeMap<NodeId, Instance>,
    pub(crate) edges: BTreeMap<EdgeNumber, EdgeRecord>,
    pub(crate) lanes: BTreeMap<usize, LaneRecord>,
    pub(crate) streams: BTreeMap<u32, StreamRecord>,
    pub(crate) closed: Closed,
    /// The files that its nodes write.
    pub(crate) files: FileBooks,
    pub(super) next: Numbers,
    /// Shared nodes by their index in the graph.
    shared: HashMap<usize, NodeId>,
    /// How often each stream name has been used.
    pub(crate) lives: HashMap<String, u32>,
}

/// The next numbers to assign; none is used twice.
#[derive(Default)]
pub(super) struct Numbers {
    instance: NodeId,
    pub(super) edge: EdgeNumber,
    lane: usize,
    stream: u32,
}

/// The lanes created by one act of wiring; the caller starts them.
pub(crate) struct NewLanes {
    pub(crate) lanes: Vec<(Lane, Arc<Parker>)>,
    pub(crate) nodes: Vec<NodeId>,
    /// Attachments for lanes. Those of an added stream are sent once all new lanes run.
    pub(crate) attachments: Attachments,
    /// Set to let the new sources begin.
    pub(crate) started: Arc<AtomicBool>,
}

/// Attachments with the numbers of their lanes.
pub(crate) type Attachments = Vec<(usize, Attachment)>;

/// A new node and the lane that is to run it.
struct Placed {
    lane: usize,
    node: Node,
}

impl Wiring {
    pub(crate) fn new(graph: Arc<Graph>, registry: Arc<Registry>, host: Host) -> Self {
        Self {
            graph,
            registry,
            host,
            instances: BTreeMap::new(),
            edges: BTreeMap::new(),
            lanes: BTreeMap::new(),
            streams: BTreeMap::new(),
            closed: Closed::default(),
            files: FileBooks::default(),
            next: Numbers::default(),
            shared: HashMap::new(),
            lives: HashMap::new(),
        }
    }

    /// Wires the shared nodes and the streams of the graph file.
    pub(crate) fn wire_graph(&mut self) -> Result<NewLanes, Problems> {
        let graph = Arc::clone(&self.graph);
        let started = Arc::new(AtomicBool::new(false));
        let mut placed = Vec::new();
        for (index, spec) in graph.nodes.iter().enumerate() {
            if !spec.each_stream {
                let new = self.instantiate(index, spec, None)?;
                self.shared.insert(index, new.node.parts.id);
                placed.push(new);
            }
        }
        let mut attachments = Vec::new();
        for (stream, source) in streams_in_order(&graph) {
            attachments.push(self.wire_one(&stream, source, &mut placed)?);
        }
        let nodes = placed.iter().map(|new| new.node.parts.id).collect();
        let lanes = self.assemble(placed, &started);
        Ok(NewLanes {
            lanes,
            nodes,
            attachments: attachments.into_iter().flatten().collect(),
            started,
        })
    }

    /// Checks whether a stream may be added now, from a source here or over an edge from another machine. Returns the
    /// index of the node that it would come from, or `None` if there is no such node.
    pub(crate) fn check_stream(
        &self,
        stream: &StreamSpec,
        edge: Option<&str>,
    ) -> Result<Option<usize>, Problems> {
        let source = match edge {
            Some(edge) => inlet_of(&self.graph, edge),
            None => per_stream_source(&self.graph, &stream.name),
        };
        let Some(source) = source else {
            return Ok(None);
        };
        match edge {
            Some(edge) => {
                let is_known = self.lives_of(stream) > 0;
                Graph::check_arriving_stream(&stream.name, edge, is_known)?;
            }
            None => self.graph.check_own_stream(&stream.name)?,
        }
        let named = self.named(stream);
        let open = self.streams.values().map(StreamRecord::spec);
        let others: Vec<StreamSpec> = open.chain(self.closed.specs.iter().cloned()).collect();
        self.graph
            .check_added_stream(&self.registry, &named, &others)?;
        Ok(Some(source))
    }

    /// Returns the edge over which a stream arrives from another machine, if it does.
    pub(crate) fn edge_of(&self, stream: &StreamRecord) -> Option<String> {
        let source = &self.graph.nodes[self.instances.get(&stream.source)?.spec];
        source.edge.clone().filter(|_| source.is_inlet)
    }

    fn lives_of(&self, stream: &StreamSpec) -> u32 {
        self.lives.get(&stream.name).copied().unwrap_or(0)
    }

    /// Returns the stream under the name that it would get.
    pub(crate) fn named(&self, stream: &StreamSpec) -> StreamSpec {
        StreamSpec {
            name: name_of_life(&stream.name, self.lives_of(stream) + 1),
            uri: stream.uri.clone(),
        }
    }

    /// Wires a stream into the running graph, if [it may be added](Self::check_stream).
    pub(crate) fn wire_stream(
        &mut self,
        stream: &StreamSpec,
        edge: Option<&str>,
    ) -> Result<Option<NewLanes>, Problems> {
        let Some(source) = self.check_stream(stream, edge)? else {
            return Ok(None);
        };
        let started = Arc::new(AtomicBool::new(false));
        let mut placed = Vec::new();
        let attachments = self.wire_one(stream, source, &mut placed)?;
        let nodes = placed.iter().map(|new| new.node.parts.id).collect();
        let lanes = self.assemble(placed, &started);
        Ok(Some(NewLanes {
            lanes,
            nodes,
            attachments,
            started,
        }))
    }

    /// Sends attachments to their lanes.
    pub(crate) fn attach(&self, attachments: Attachments) {
        for (lane, attachment) in attachments {
            // The run, and its lanes with it, may have ended since the stream was wired.
            if let Some(lane) = self.lanes.get(&lane) {
                lane.mailbox.send(Command::Attach(attachment));
            }
        }
    }

    /// Returns a name that no earlier stream of this run has had.
    fn fresh_name(&mut self, name: &str) -> String {
        let lives = self.lives.entry(name.to_owned()).or_insert(0);
        *lives += 1;
        name_of_life(name, *lives)
    }

    /// Creates the instances, edges and flows of one stream. Returns the attachments for its lanes.
    fn wire_one(
        &mut self,
        spec: &StreamSpec,
        source: usize,
        placed: &mut Vec<Placed>,
    ) -> Result<Attachments, Problems> {
        let graph = Arc::clone(&self.graph);
        let reached = reached_from(&graph, source);
        let spec = StreamSpec {
            name: self.fresh_name(&spec.name),
            uri: spec.uri.clone(),
        };
        let stream = Arc::new(Stream {
            id: self.next.stream,
            name: spec.name.clone(),
            uri: spec.uri.clone(),
        });
        self.next.stream += 1;
        let mut ids: HashMap<usize, NodeId> = HashMap::new();
        for &index in &reached {
            let node = &graph.nodes[index];
            let id = if node.each_stream {
                let new = self.instantiate(index, node, Some((&spec, &stream)))?;
                let id = new.node.parts.id;
                placed.push(new);
                id
            } else {
                self.shared[&index]
            };
            ids.insert(index, id);
        }
        let source_id = ids[&source];
        if let Some(source) = self.instances.get_mut(&source_id) {
            source.stream = Some(stream.id);
        }
        let own = ids
            .iter()
            .filter(|(index, _)| graph.nodes[**index].each_stream);
        let lanes: BTreeSet<usize> = own.map(|(_, id)| self.instances[id].lane).collect();
        let mut edges = Vec::new();
        for &index in &reached {
            self.connect(&graph, index, &ids, stream.id, &mut edges);
        }
        let attachments = self.attachments(&graph, &ids, &stream, &edges);
        self.streams.insert(
            stream.id,
            StreamRecord {
                stream,
                source: source_id,
                nodes: ids.values().copied().collect(),
                edges,
                has_begun: false,
                unended: ids.len(),
                lanes: lanes.into_iter().collect(),
                end: End::default(),
            },
        );
        Ok(attachments)
    }

    /// Returns the seconds from the first capture to the last delivery at a sink.
    pub(crate) fn wall_s(&self) -> f64 {
        let mut span = self.closed.span;
        for instance in self.instances.values() {
            span.extend(&instance.watch);
        }
        span.seconds()
    }

    /// Creates the record of an instance and the node that its lane will run.
    fn instantiate(
        &mut self,
        index: usize,
        spec: &NodeSpec,
        stream: Option<(&StreamSpec, &Arc<Stream>)>,
    ) -> Result<Placed, Problems> {
        let settings = spec.settings(stream.map(|(spec, _)| spec))?;
        // A stream that is added while the graph runs brings its own secrets.
        self.graph.secrets().learn(&settings.0);
        let actor_type = self.registry.get(&spec.actor).cloned();
        let actor_type = actor_type.ok_or_else(|| {
            let message = format!(
                "`{}` uses `{}`, which is not an actor",
                spec.name, spec.actor
            );
            Problem::nowhere(message)
        })?;
        let suffix = stream.map_or(String::new(), |(spec, _)| format!("@{}", spec.name));
        let name = format!("{}{suffix}", spec.name);
        let lane_name = spec
            .lane
            .as_ref()
            .map_or_else(|| name.clone(), |lane| format!("lane:{lane}{suffix}"));
        let id = self.next.instance;
        self.next.instance += 1;
        let lane = self.lane(&lane_name);
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.nodes.push(id);
        }
        let asap = self.graph.run.clock == ClockMode::Asap;
        let watch = Arc::new(NodeWatch::new(name.clone(), spec.replicas));
        let setup = self.setup(id, name, stream.map(|(_, stream)| stream));
        let sink = !actor_type.source && is_leaf(&self.graph, index);
        let instance = Instance {
            spec: index,
            stream: stream.map(|(_, stream)| stream.id),
            source: actor_type.source,
            sink,
            irreplaceable: spec.ports.irreplaceable,
            watch: Arc::clone(&watch),
            lane,
            cancel: Arc::clone(&setup.cancel),
            missed: Arc::clone(&setup.missed),
            connection: Arc::clone(&setup.connection),
            settled: setup.settled.clone(),
            tallies: setup.tallies.clone(),
            flows: HashMap::new(),
            closed: NodeCounts::default(),
        };
        self.instances.insert(id, instance);
        let parts = NodeParts {
            id,
            watch,
            parker: Arc::clone(&self.lanes[&lane].parker),
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
            waits_for_packets: spec.ports.waits_for_packets,
            sink,
            outputs: spec.ports.outputs.len(),
            counts_bytes: counts_bytes(&self.graph, index),
        };
        let batches = spec.batch.as_ref().map(|batch| Batches::new(batch, asap));
        Ok(Placed {
            lane,
            node: Node::new(parts, batches),
        })
    }

    /// Returns the setup of the actor of an instance.
    fn setup(&self, id: NodeId, node: String, stream: Option<&Arc<Stream>>) -> Setup {
        Setup {
            node,
            stream: stream.cloned(),
            run_dir: self.graph.run_dir.clone(),
            clock_mode: self.graph.run.clock,
            clock: self.host.clock.clone(),
            cancel: Arc::default(),
            missed: Arc::default(),
            waited_ns: Arc::default(),
            lasting: Arc::default(),
            services: self.host.services.clone(),
            connection: Arc::new(self.connection(id)),
            settled: Settled::default(),
            files: self.files.clone(),
            secrets: self.graph.secrets().clone(),
            tallies: Tallies::default(),
        }
    }

    /// Returns the connection through which a source reports losing and restoring what it captures from.
    fn connection(&self, node: NodeId) -> Connection {
        let events = Arc::clone(&self.host.events);
        let tell = move |lost| events(Event::Connection { node, lost });
        let secrets = self.graph.secrets().clone();
        Connection::new(self.host.clock.clone(), secrets, Some(Box::new(tell)))
    }

    /// Returns the lane of this name, creating it if necessary.
    fn lane(&mut self, name: &str) -> usize {
        let mut lanes = self.lanes.iter();
        if let Some((number, _)) = lanes.find(|(_, lane)| lane.name == name) {
            return *number;
        }
        let number = self.next.lane;
        self.next.lane += 1;
        let parker = Arc::new(Parker::default());
        let lane = LaneRecord {
            name: name.to_owned(),
            mailbox: Arc::new(Mailbox::new(Arc::clone(&parker))),
            parker,
            watch: Arc::default(),
            nodes: Vec::new(),
        };
        self.lanes.insert(number, lane);
        number
    }

    fn assemble(&self, placed: Vec<Placed>, started: &Arc<AtomicBool>) -> Vec<(Lane, Arc<Parker>)> {
        let mut by_lane: HashMap<usize, Vec<Node>> = HashMap::new();
        for new in placed {
            by_lane.entry(new.lane).or_default().push(new.node);
        }
        let mut lanes: Vec<_> = by_lane
            .into_iter()
            .map(|(id, nodes)| {
                let record = &self.lanes[&id];
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

/// Returns the streams of the graph file with their sources: shared sources first, then the listed streams. A part of a
/// graph has the order of the whole graph.
fn streams_in_order(graph: &Graph) -> Vec<(StreamSpec, usize)> {
    let sources = graph.nodes.iter().enumerate();
    let shared = sources.filter(|(_, node)| !node.each_stream && node.inputs.is_empty());
    let shared = shared.map(|(index, node)| {
        let stream = StreamSpec {
            name: node.name.clone(),
            uri: String::new(),
        };
        (stream, index)
    });
    let listed = graph.streams.iter().filter_map(|stream| {
        let source = per_stream_source(graph, &stream.name)?;
        Some((stream.clone(), source))
    });
    let mut streams: Vec<_> = shared.chain(listed).collect();
    let order = &graph.stream_order;
    streams.sort_by_key(|(stream, _)| order.iter().position(|name| *name == stream.name));
    streams
}

/// Returns the name of the n-th stream that is added under a name.
fn name_of_life(name: &str, life: u32) -> String {
    match life {
        1 => name.to_owned(),
        life => format!("{name}.{life}"),
    }
}
