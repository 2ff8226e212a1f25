//! A random graph and what is done to it: its file, its simulation, and what is to be expected of it. How cases are drawn is
//! in `draw`.

use std::fmt::Write as _;
use std::time::Duration;

use fermata_engine::sim::{At, SimCommand, SimOptions};
use proptest::sample::Index;

use super::actors::MEET_INPUTS;

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockCase {
    Live,
    Replay,
    Asap,
}

/// One way in which packets come into the graph.
#[derive(Clone, Debug)]
pub(crate) struct SourceCase {
    pub(crate) count: u64,
    pub(crate) rate: u32,
    pub(crate) live: bool,
    pub(crate) weights: usize,
    pub(crate) reconnect_every: Option<u64>,
    pub(crate) fail_after: Option<u64>,
    pub(crate) lane: Option<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Identity {
        work_us: u32,
    },
    Faulty {
        panic_every: Option<u64>,
        fail_every: Option<u64>,
        stall_after: Option<u64>,
    },
    Choose {
        every: u64,
    },
    Split,
    Meet {
        inputs: usize,
        required: u8,
    },
}

impl Kind {
    /// Number of inputs, and as a bit set the ones that a packet needs.
    pub(crate) fn inputs(&self) -> (usize, u8) {
        match *self {
            Self::Meet { inputs, required } => match required & ((1 << inputs) - 1) {
                0 => (inputs, (1 << inputs) - 1),
                some => (inputs, some),
            },
            _ => (1, 1),
        }
    }
}

/// What a full queue does, and whether packets age in it.
#[derive(Clone, Debug)]
pub(crate) struct QueueCase {
    pub(crate) capacity: Option<usize>,
    pub(crate) bytes: Option<u32>,
    pub(crate) full: &'static str,
    pub(crate) max_age_ms: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct NodeCase {
    pub(crate) kind: Kind,
    /// Chosen among the outputs before it.
    pub(crate) feeds: [Index; 3],
    /// Also takes streams of another source, where there is one.
    pub(crate) merge: Option<Index>,
    pub(crate) each: bool,
    pub(crate) queue: QueueCase,
    pub(crate) lane: Option<u8>,
    pub(crate) replicas: usize,
    pub(crate) batch: Option<(usize, u32)>,
    pub(crate) on_error: &'static str,
}

/// What is done to the run from outside.
#[derive(Clone, Debug)]
pub(crate) enum CommandCase {
    AddStream(u8),
    RemoveStream(u8),
    Drain,
    Stop,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) clock: ClockCase,
    /// Streams of the source with `each: stream`; without one, shared sources only.
    pub(crate) streams: usize,
    /// The first is that of `each: stream`, if there are streams; the others are shared.
    pub(crate) sources: Vec<SourceCase>,
    pub(crate) nodes: Vec<NodeCase>,
    /// Restarts of one node before it is given up.
    pub(crate) restarts: u32,
    /// By moment: a step of the simulation, or milliseconds.
    pub(crate) commands: Vec<(bool, u32, CommandCase)>,
}

/// An output that later nodes may take from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) node: usize,
    pub(crate) port: usize,
}

/// A node with its connections decided: by input, the outputs that feed it.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    pub(crate) inputs: Vec<Vec<Output>>,
    /// Sources (by index) whose packets reach it.
    pub(crate) origins: Vec<usize>,
}

impl Case {
    pub(crate) fn per_stream(&self) -> bool {
        self.streams > 0
    }

    /// Number of sources; nodes are counted after them.
    pub(crate) fn first_node(&self) -> usize {
        self.sources.len()
    }

    /// Decides what feeds each node, so that no packet comes to an input twice.
    pub(crate) fn connect(&self) -> Vec<Connected> {
        let mut origins: Vec<Vec<usize>> =
            (0..self.sources.len()).map(|source| vec![source]).collect();
        let mut outputs: Vec<Output> = (0..self.sources.len())
            .map(|node| Output { node, port: 0 })
            .collect();
        let mut connected = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let (inputs, required) = node.kind.inputs();
            // What a join requires must come from the same sources, and nothing may come from others.
            let mut ports: Vec<usize> = (0..inputs).collect();
            ports.sort_by_key(|port| required & (1 << port) == 0);
            let mut fed: Vec<Vec<Output>> = vec![Vec::new(); inputs];
            let mut from: Vec<usize> = Vec::new();
            for (turn, &port) in ports.iter().enumerate() {
                let is_required = required & (1 << port) != 0;
                let fits = |output: &&Output| {
                    let origins = &origins[output.node];
                    turn == 0
                        || origins.iter().all(|origin| from.contains(origin))
                            && (!is_required || origins.len() == from.len())
                };
                let fitting: Vec<&Output> = outputs.iter().filter(fits).collect();
                if fitting.is_empty() {
                    fed[port] = fed[ports[0]].clone();
                    continue;
                }
                let chosen = fitting[node.feeds[port].index(fitting.len())].clone();
                if turn == 0 {
                    from.clone_from(&origins[chosen.node]);
                    let other = node.merge.map(|merge| &outputs[merge.index(outputs.len())]);
                    if let Some(other) = other
                        && !origins[other.node]
                            .iter()
                            .any(|origin| from.contains(origin))
                    {
                        from.extend(&origins[other.node]);
                        fed[port].push(other.clone());
                    }
                }
                fed[port].push(chosen);
            }
            from.sort_unstable();
            let place = self.first_node() + index;
            let ports = if matches!(node.kind, Kind::Split) {
                2
            } else {
                1
            };
            outputs.extend((0..ports).map(|port| Output { node: place, port }));
            origins.push(from.clone());
            connected.push(Connected {
                inputs: fed,
                origins: from,
            });
        }
        connected
    }

    /// The lane of each source and node, where it may stand in one: lanes of shared and of per-stream nodes have different
    /// names, replicas stand in none, and a join not in one that only some of its inputs come from.
    fn lanes(&self, connected: &[Connected]) -> Vec<Option<String>> {
        let mut lanes: Vec<Option<String>> = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            let each = index == 0 && self.per_stream();
            lanes.push(source.lane.map(|lane| lane_name(lane, each)));
        }
        for (node, connected) in self.nodes.iter().zip(connected) {
            let lane = node.lane.filter(|_| node.replicas == 1);
            let lane = lane.map(|lane| lane_name(lane, node.each));
            let (inside, all) = inside(&lanes, lane.as_deref(), connected);
            let mixed_join = connected.inputs.len() > 1 && inside > 0 && inside < all;
            lanes.push(lane.filter(|_| !mixed_join));
        }
        lanes
    }

    /// The graph file.
    pub(crate) fn yaml(&self) -> String {
        let connected = self.connect();
        let lanes = self.lanes(&connected);
        let mut text = String::from("fermata: 1\n");
        if self.per_stream() {
            let names: Vec<String> = (0..self.streams).map(|n| format!("s{n}: x")).collect();
            let _ = writeln!(text, "streams: {{{}}}", names.join(", "));
        }
        text.push_str("nodes:\n");
        for (index, source) in self.sources.iter().enumerate() {
            let each = if index == 0 && self.per_stream() {
                "each: stream, "
            } else {
                ""
            };
            let _ = write!(
                text,
                "  n{index}: {{use: counter, {each}count: {}, rate: {}, live: {}, weights: {}",
                source.count, source.rate, source.live, source.weights
            );
            option(&mut text, "reconnect_every", source.reconnect_every);
            option(&mut text, "fail_after", source.fail_after);
            option(&mut text, "lane", lanes[index].as_ref());
            text.push_str("}\n");
        }
        for (index, node) in self.nodes.iter().enumerate() {
            self.write_node(
                &mut text,
                self.first_node() + index,
                node,
                &connected[index],
                &lanes,
            );
        }
        let clock = match self.clock {
            ClockCase::Live => "live",
            ClockCase::Replay => "{replay: 3}",
            ClockCase::Asap => "asap",
        };
        let _ = writeln!(
            text,
            "run: {{clock: {clock}, restart: {{most: {}}}}}",
            self.restarts
        );
        text
    }

    fn write_node(
        &self,
        text: &mut String,
        place: usize,
        node: &NodeCase,
        connected: &Connected,
        lanes: &[Option<String>],
    ) {
        let settings = match &node.kind {
            Kind::Identity { work_us } => format!("use: identity, work: {work_us}us"),
            Kind::Faulty {
                panic_every,
                fail_every,
                stall_after,
            } => {
                let mut settings = "use: inject_faults".to_owned();
                option(&mut settings, "panic_every", *panic_every);
                option(&mut settings, "fail_every", *fail_every);
                option(&mut settings, "stall_after", *stall_after);
                settings
            }
            Kind::Choose { every } => format!("use: choose, every: {every}"),
            Kind::Split => "use: split".to_owned(),
            Kind::Meet { inputs, .. } => format!("use: meet, inputs: {inputs}"),
        };
        let feeders: Vec<String> = connected
            .inputs
            .iter()
            .map(|fed| self.references(fed))
            .collect();
        let feeders = match &node.kind {
            Kind::Meet { .. } => {
                let named = MEET_INPUTS.iter().zip(feeders);
                let named: Vec<String> = named
                    .map(|(name, feeds)| format!("{name}: {feeds}"))
                    .collect();
                format!("{{{}}}", named.join(", "))
            }
            _ => feeders.concat(),
        };
        let each = if node.each { ", each: stream" } else { "" };
        let _ = write!(
            text,
            "  n{place}: {{{settings}, in: {feeders}{each}, on_error: {}",
            node.on_error
        );
        if let Kind::Meet { inputs, required } = node.kind
            && let required = names_of(required, inputs)
            && !required.is_empty()
        {
            let _ = write!(text, ", require: [{}]", required.join(", "));
        }
        let lane = lanes[place].as_deref();
        option(text, "lane", lane);
        // Where all comes from inside the lane there is no queue.
        let (inside, all) = inside(lanes, lane, connected);
        if inside < all {
            let queue = &node.queue;
            let mut settings = format!("full: {}", queue.full);
            option(&mut settings, "capacity", queue.capacity);
            option(&mut settings, "bytes", queue.bytes);
            option(
                &mut settings,
                "max_age",
                queue.max_age_ms.map(|ms| format!("{ms}ms")),
            );
            let _ = write!(text, ", queue: {{{settings}}}");
        }
        if node.replicas > 1 {
            let _ = write!(text, ", replicas: {}", node.replicas);
        }
        if let Some((max, wait)) = node.batch {
            let _ = write!(text, ", batch: {{max: {max}, wait: {wait}ms}}");
        }
        text.push_str("}\n");
    }

    fn references(&self, fed: &[Output]) -> String {
        let names: Vec<String> = fed
            .iter()
            .map(|output| {
                let split = output.node >= self.first_node()
                    && matches!(
                        self.nodes[output.node - self.first_node()].kind,
                        Kind::Split
                    );
                match (split, output.port) {
                    (false, _) => format!("n{}", output.node),
                    (true, 0) => format!("n{}.even", output.node),
                    (true, _) => format!("n{}.third", output.node),
                }
            })
            .collect();
        format!("[{}]", names.join(", "))
    }

    /// What is done to the run. A run with a call that never returns would never end by itself, so it is drained.
    pub(crate) fn sim(&self) -> SimOptions {
        let mut commands: Vec<(At, SimCommand)> = Vec::new();
        for (by_step, moment, command) in &self.commands {
            let at = match by_step {
                true => At::Step(u64::from(*moment)),
                false => At::Time(Duration::from_millis(u64::from(*moment))),
            };
            let name = |stream: &u8| format!("s{stream}");
            commands.push((
                at,
                match command {
                    CommandCase::AddStream(stream) => SimCommand::AddStream {
                        name: name(stream),
                        uri: "x".to_owned(),
                    },
                    CommandCase::RemoveStream(stream) => {
                        SimCommand::RemoveStream { name: name(stream) }
                    }
                    CommandCase::Drain => SimCommand::Drain,
                    CommandCase::Stop => SimCommand::Stop,
                },
            ));
        }
        if self.adds_streams() {
            commands.push((
                At::Time(Duration::from_secs(5)),
                SimCommand::StreamsComplete,
            ));
        }
        if self.stalls() {
            commands.push((At::Time(Duration::from_secs(100)), SimCommand::Drain));
        }
        SimOptions {
            hold_open: self.adds_streams(),
            commands,
            ..SimOptions::seeded(self.seed)
        }
    }

    pub(crate) fn stalls(&self) -> bool {
        self.nodes.iter().any(|node| {
            matches!(
                node.kind,
                Kind::Faulty {
                    stall_after: Some(_),
                    ..
                }
            )
        })
    }

    /// Whether its sources or restarts take seconds of real time.
    pub(crate) fn takes_long(&self) -> bool {
        let panics = |node: &NodeCase| {
            matches!(
                node.kind,
                Kind::Faulty {
                    panic_every: Some(_),
                    ..
                }
            ) || node.on_error == "restart"
        };
        self.nodes.iter().any(panics)
    }

    /// Whether an actor or source may break.
    pub(crate) fn breaks(&self) -> bool {
        self.nodes
            .iter()
            .any(|node| matches!(node.kind, Kind::Faulty { .. }))
            || self
                .sources
                .iter()
                .any(|source| source.fail_after.is_some())
    }

    fn adds_streams(&self) -> bool {
        let mut commands = self.commands.iter();
        commands.any(|(_, _, command)| matches!(command, CommandCase::AddStream(_)))
    }

    /// Whether a batch that closes by count alone may get so few packets that another way into a join fills up first, or
    /// may hold packets of a stream that was added late, for which a later node lets all other streams wait. That
    /// cannot be known when the graph is built, so such a run is stopped and the deadlock named.
    pub(crate) fn may_starve_a_batch(&self) -> bool {
        let mut thinned: Vec<bool> = vec![false; self.first_node()];
        let mut starved = false;
        for (node, connected) in self.nodes.iter().zip(self.connect()) {
            let before = connected
                .inputs
                .iter()
                .flatten()
                .any(|from| thinned[from.node]);
            starved |= node.batch.is_some() && (before || self.adds_streams());
            thinned.push(before || !matches!(node.kind, Kind::Identity { .. }));
        }
        starved && self.clock == ClockCase::Asap
    }

    /// Whether a queue may lose packets.
    pub(crate) fn drops(&self) -> bool {
        self.clock != ClockCase::Asap
            && self
                .nodes
                .iter()
                .any(|node| node.queue.full != "block" || node.queue.max_age_ms.is_some())
    }

    /// Whether a source may overwrite what it cannot hand over.
    pub(crate) fn overwrites(&self) -> bool {
        self.sources.iter().any(|source| source.live)
    }
}

fn lane_name(lane: u8, each: bool) -> String {
    format!("{}{lane}", if each { "each" } else { "all" })
}

/// How many of the outputs that feed a node stand in this lane, and how many there are.
fn inside(lanes: &[Option<String>], lane: Option<&str>, connected: &Connected) -> (usize, usize) {
    let all = || connected.inputs.iter().flatten();
    let inside = all().filter(|from| lane.is_some() && lanes[from.node].as_deref() == lane);
    (inside.count(), all().count())
}

/// The inputs that a bit set requires.
fn names_of(required: u8, inputs: usize) -> Vec<&'static str> {
    let named = MEET_INPUTS.iter().take(inputs).enumerate();
    named
        .filter(|(port, _)| required & (1 << port) != 0)
        .map(|(_, name)| *name)
        .collect()
}

fn option<T: std::fmt::Display>(text: &mut String, key: &str, value: Option<T>) {
    if let Some(value) = value {
        let _ = write!(text, ", {key}: {value}");
    }
}
