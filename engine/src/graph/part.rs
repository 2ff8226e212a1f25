//! The part of a graph that one machine of a site runs: its nodes and, at edges to and from other machines, the actors
//! that carry packets. It maps a graph to a graph; nothing is started or queried.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::ports::Ports;
use crate::registry::Registry;
use crate::report::SiteEdgeReport;
use crate::units::{HumanBytes, HumanDuration};

use super::place::Span;
use super::problem::{Problem, Problems};
use super::settings::{Settings, SettingsError};
use super::spec::{
    Crossing, Graph, InputSpec, NodeSpec, OnError, OutputRef, QueueSpec, Require, StreamSpec,
    WhenFull,
};
use super::tree::{Entry, Quoting, Tree, Value};

/// Window of a lossy edge, in packets in flight: what is in flight while the other machine is slow is old when it
/// arrives.
const LOSSY_WINDOW: usize = 2;

/// The actors at the ends of an edge between machines. Both have the settings `edge`, `full`, `capacity` and `window`;
/// the sender also has `quality`, `bytes` and `max_age`, the receiver `carries`.
#[derive(Clone, Copy, Debug)]
pub struct EdgeActors {
    /// Name of the sending actor, which has one input.
    pub send: &'static str,
    /// Name of the receiving source.
    pub receive: &'static str,
}

impl Graph {
    /// Returns the part of this graph that a machine runs.
    ///
    /// # Errors
    /// The graph has no such machine, or the registry has no such actors.
    pub fn part(
        &self,
        machine: &str,
        actors: EdgeActors,
        registry: &Registry,
    ) -> Result<Self, Problems> {
        if !self.machines.iter().any(|known| known == machine) {
            let known = self.machines.iter().map(String::as_str);
            let problem = Problem::nowhere(format!("there is no machine `{machine}`"));
            return Err(problem.did_you_mean(machine, known).into());
        }
        let mut parting = Parting {
            whole: self,
            machine,
            actors,
            registry,
            reaching: self.names_reaching(),
            nodes: Vec::new(),
            local: HashMap::new(),
            inlets: HashMap::new(),
        };
        for index in 0..self.nodes.len() {
            parting.add(index)?;
        }
        let nodes = parting.nodes;
        let declared = declared(self);
        let of_each = nodes
            .iter()
            .filter(|node| node.inputs.is_empty() && node.each_stream);
        let listed: BTreeSet<&String> = of_each
            .flat_map(|node| node.of_streams.iter().flat_map(|of| of.iter()))
            .collect();
        let streams = declared.iter().filter(|name| listed.contains(name));
        let streams = streams.map(|name| self.stream(name)).collect();
        // A run lists shared sources before listed streams, but shared sources of other machines have become listed
        // streams here.
        let has_shared = nodes
            .iter()
            .any(|node| node.inputs.is_empty() && !node.each_stream);
        Ok(Self {
            streams,
            stream_order: if has_shared { declared } else { Vec::new() },
            nodes,
            crossings: Vec::new(),
            part_of: Some((machine.to_owned(), Arc::new(self.clone()))),
            ..self.clone()
        })
    }

    /// Returns the whole graph if this is a part, otherwise the graph itself.
    pub fn whole(&self) -> &Self {
        self.part_of.as_ref().map_or(self, |(_, whole)| whole)
    }

    /// Returns the machine that runs this part; none for a whole graph.
    pub fn machine(&self) -> Option<&str> {
        self.part_of.as_ref().map(|(machine, _)| machine.as_str())
    }

    /// Returns whether this part receives streams from other machines.
    pub fn has_inlets(&self) -> bool {
        self.nodes.iter().any(|node| node.is_inlet)
    }

    /// Returns this part's ends of edges to other machines, with empty statistics.
    pub fn site_edges(&self) -> Vec<SiteEdgeReport> {
        let ends = self.nodes.iter().filter_map(|node| {
            Some(SiteEdgeReport {
                edge: node.edge.clone()?,
                node: node.name.clone(),
                receives: node.is_inlet,
                ..SiteEdgeReport::default()
            })
        });
        ends.collect()
    }

    /// Returns whether the part has sinks of its own, besides edges to other machines.
    pub fn has_own_sinks(&self) -> bool {
        let inputs = self.nodes.iter().flat_map(|node| &node.inputs);
        let fed: BTreeSet<usize> = inputs
            .flat_map(|input| input.from.iter().map(|output| output.node))
            .collect();
        let mut nodes = self.nodes.iter().enumerate();
        nodes.any(|(index, node)| !fed.contains(&index) && node.edge.is_none())
    }

    /// Returns what this part receives from other machines: the name of each edge, and its streams.
    pub fn inlets(&self) -> Vec<(String, Vec<String>)> {
        let inlets = self.nodes.iter().filter(|node| node.is_inlet);
        let named = inlets.filter_map(|node| {
            let streams = self.instances_of(node).into_iter().flatten();
            let streams = streams.map(|stream| stream.name).collect();
            Some((node.edge.clone()?, streams))
        });
        named.collect()
    }

    /// Returns the machines that send streams to this part. None for a whole graph, and if machines send to each other
    /// in a cycle, so that it is undefined whose streams end last.
    pub fn senders(&self) -> Option<BTreeSet<String>> {
        let (machine, whole) = self.part_of.as_ref()?;
        let senders_of = |machine: &str| {
            let crossings = whole.crossings.iter();
            let here = crossings.filter(|crossing| crossing.to == machine);
            let from = here.flat_map(|crossing| crossing.streams.values());
            from.cloned().collect::<BTreeSet<String>>()
        };
        let own = senders_of(machine);
        let mut open: Vec<String> = own.iter().cloned().collect();
        let mut seen = BTreeSet::new();
        while let Some(before) = open.pop() {
            if before == *machine {
                return None;
            }
            if !seen.contains(&before) {
                open.extend(senders_of(&before));
                seen.insert(before);
            }
        }
        Some(own)
    }

    /// Returns the streams of the file whose sources are in this part.
    pub fn own_streams(&self) -> Vec<String> {
        let sources = self
            .nodes
            .iter()
            .filter(|node| node.inputs.is_empty() && !node.is_inlet);
        let of_source = |node: &NodeSpec| {
            if node.each_stream {
                let streams = self.instances_of(node).into_iter().flatten();
                streams.map(|stream| stream.name).collect()
            } else {
                vec![node.name.clone()]
            }
        };
        sources.flat_map(of_source).collect()
    }

    /// Returns, by node, the names of the streams that reach it.
    fn names_reaching(&self) -> Vec<BTreeSet<String>> {
        let names = |node| {
            let streams = self.streams_reaching(node).into_iter();
            streams.map(|stream| stream.name).collect()
        };
        self.nodes.iter().map(names).collect()
    }

    fn stream(&self, name: &str) -> StreamSpec {
        let known = self.streams.iter().find(|stream| stream.name == name);
        known.cloned().unwrap_or_else(|| StreamSpec {
            name: name.to_owned(),
            uri: String::new(),
        })
    }
}

/// Returns the names of all streams, in the order in which a run of the whole graph would list them.
pub(super) fn declared(graph: &Graph) -> Vec<String> {
    let sources = graph.nodes.iter().filter(|node| node.inputs.is_empty());
    let shared = sources.filter(|node| !node.each_stream);
    let shared = shared.map(|node| node.name.clone());
    let listed = graph.streams.iter().map(|stream| stream.name.clone());
    shared.chain(listed).collect()
}

struct Parting<'a> {
    whole: &'a Graph,
    machine: &'a str,
    actors: EdgeActors,
    registry: &'a Registry,
    reaching: Vec<BTreeSet<String>>,
    nodes: Vec<NodeSpec>,
    /// Index here of each node of the whole, and of the inlet for each output of the whole.
    local: HashMap<usize, usize>,
    inlets: HashMap<(usize, usize), usize>,
}

impl Parting<'_> {
    /// Adds what runs here of a node, its inlets from other machines, and its outlets to them.
    fn add(&mut self, index: usize) -> Result<(), Problems> {
        let node = &self.whole.nodes[index];
        let on = node.on.as_ref();
        let is_here = on.is_some_and(|on| on.is_on(self.machine));
        let crossings = self.whole.crossings.iter();
        let crossings: Vec<&Crossing> = crossings
            .filter(|crossing| crossing.from.node == index)
            .collect();
        for crossing in crossings
            .iter()
            .filter(|crossing| crossing.to == self.machine)
        {
            let inlet = self.inlet(node, crossing, is_here)?;
            let output = (index, crossing.from.output);
            self.inlets.insert(output, self.nodes.len());
            self.nodes.push(inlet);
        }
        if !is_here {
            return Ok(());
        }
        let here: BTreeSet<String> = self.reaching[index]
            .iter()
            .filter(|stream| on.and_then(|on| on.of(stream)) == Some(self.machine))
            .cloned()
            .collect();
        self.local.insert(index, self.nodes.len());
        self.nodes.push(NodeSpec {
            inputs: self.inputs(index, node),
            of_streams: Some(Arc::new(here)),
            ..node.clone()
        });
        for crossing in crossings {
            let streams = crossing.streams.iter();
            let streams = streams.filter(|(_, from)| *from == self.machine);
            let streams: BTreeSet<String> = streams.map(|(name, _)| name.clone()).collect();
            if !streams.is_empty() {
                let outlet = self.outlet(crossing, streams)?;
                self.nodes.push(outlet);
            }
        }
        Ok(())
    }

    /// Returns the inputs of a node that runs here: from nodes that run here too, and from inlets.
    fn inputs(&self, index: usize, node: &NodeSpec) -> Vec<InputSpec> {
        let feeds = |from: &OutputRef| {
            let local = self.local.get(&from.node).map(|&node| OutputRef {
                node,
                output: from.output,
            });
            let crossing = self.whole.crossings.iter().find(|crossing| {
                crossing.from == *from
                    && crossing.to == self.machine
                    && crossing.consumers.contains(&index)
            });
            let inlet = crossing.and_then(|_| self.inlets.get(&(from.node, from.output)));
            let inlet = inlet.map(|&node| OutputRef { node, output: 0 });
            let is_local = local.is_some() && self.are_together(from.node, index);
            local.filter(|_| is_local).into_iter().chain(inlet)
        };
        let inputs = node.inputs.iter().map(|input| InputSpec {
            port: input.port,
            from: input.from.iter().flat_map(feeds).collect(),
        });
        inputs.filter(|input| !input.from.is_empty()).collect()
    }

    /// Returns whether any stream has both nodes here.
    fn are_together(&self, from: usize, to: usize) -> bool {
        let is_here = |node: usize, stream: &str| {
            let on = self.whole.nodes[node].on.as_ref();
            on.and_then(|on| on.of(stream)) == Some(self.machine)
        };
        let mut streams = self.reaching[from].iter();
        // Without known streams, those that are added later may use both.
        streams.len() == 0 || streams.any(|stream| is_here(from, stream) && is_here(to, stream))
    }

    /// Creates the receiving end of an edge.
    fn inlet(
        &self,
        node: &NodeSpec,
        crossing: &Crossing,
        is_here_too: bool,
    ) -> Result<NodeSpec, Problems> {
        let mut settings = settings_of(crossing);
        settings.push(("carries", crossing.carries.to_owned()));
        let streams = crossing.streams.keys().cloned().collect();
        let mut inlet = self.end(crossing, self.actors.receive, &settings, streams)?;
        if !is_here_too {
            inlet.name.clone_from(&node.name);
        }
        inlet.is_inlet = true;
        Ok(inlet)
    }

    /// Creates the sending end of an edge. Its queue holds packets that wait to be sent; backpressure from the other
    /// machine is handled by the edge.
    fn outlet(&self, crossing: &Crossing, streams: BTreeSet<String>) -> Result<NodeSpec, Problems> {
        let mut settings = settings_of(crossing);
        let queue = &crossing.queue;
        let quality = queue.quality.map(|quality| quality.to_string());
        let bytes = queue.bytes.map(|bytes| HumanBytes(bytes).to_string());
        let max_age = queue.max_age.map(|age| HumanDuration(age).to_string());
        let more = [("quality", quality), ("bytes", bytes), ("max_age", max_age)];
        settings.extend(
            more.into_iter()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        let mut outlet = self.end(crossing, self.actors.send, &settings, streams)?;
        outlet.inputs = vec![InputSpec {
            port: 0,
            from: vec![OutputRef {
                node: self.local[&crossing.from.node],
                output: crossing.from.output,
            }],
        }];
        outlet.queue.full = crossing.queue.full;
        Ok(outlet)
    }

    fn end(
        &self,
        crossing: &Crossing,
        actor: &'static str,
        settings: &[(&str, String)],
        streams: BTreeSet<String>,
    ) -> Result<NodeSpec, Problems> {
        let Some(actor) = self.registry.get(actor) else {
            let message =
                format!("this program has no `{actor}`, so its edges reach no other machine");
            return Err(Problem::nowhere(message).into());
        };
        let settings = Arc::new(tree(settings, &self.whole.given.span));
        let ports = actor.ports(&Settings(Arc::clone(&settings)));
        let mut ports: Ports = ports.map_err(SettingsError::into_problem)?;
        for (output, payload) in &ports.named_payloads {
            if let Some(carries) = self.registry.codecs().port_type(payload) {
                ports.outputs[*output].carries = carries;
            }
        }
        Ok(NodeSpec {
            name: crossing.name.clone(),
            actor: actor.name.to_owned(),
            each_stream: true,
            inputs: Vec::new(),
            ports,
            queue: QueueSpec::default(),
            lane: None,
            replicas: 1,
            batch: None,
            on_error: OnError::default(),
            require: Require::All,
            on: None,
            of_streams: Some(Arc::new(streams)),
            is_inlet: false,
            edge: Some(crossing.name.clone()),
            settings,
            stream_values: Arc::default(),
        })
    }
}

/// Returns the settings of both ends of an edge.
fn settings_of(crossing: &Crossing) -> Vec<(&'static str, String)> {
    let queue = &crossing.queue;
    let full = match queue.full {
        WhenFull::Block => "block",
        WhenFull::DropOldest => "drop_oldest",
        WhenFull::DropNewest => "drop_newest",
    };
    let mut settings = vec![
        ("edge", crossing.name.clone()),
        ("full", full.to_owned()),
        ("capacity", queue.capacity.to_string()),
    ];
    if queue.full != WhenFull::Block {
        settings.push(("window", LOSSY_WINDOW.to_string()));
    }
    settings
}

fn tree(settings: &[(&str, String)], span: &Span) -> Tree {
    let entry = |(key, value): &(&str, String)| {
        let quoting = match *key {
            "edge" | "carries" => Quoting::Quoted,
            _ => Quoting::Plain,
        };
        Entry {
            key: (*key).to_owned(),
            key_span: span.clone(),
            value: Tree::scalar(value.as_str(), quoting, span.clone()),
        }
    };
    Tree {
        value: Value::Map(settings.iter().map(entry).collect()),
        span: span.clone(),
    }
}
