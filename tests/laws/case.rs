//! A random graph, what is done to it, and what can be predicted about it. Its file is written in `file`, what reaches
//! its sinks is in `model`, and how cases are drawn is in `draw`.

mod simulated;

use std::collections::BTreeSet;

use proptest::sample::Index;

use super::payloads::{Of, Trouble};

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockCase {
    Live,
    Replay,
    Asap,
}

/// A source of packets.
#[derive(Clone, Debug)]
pub(crate) struct SourceCase {
    pub(crate) of: Of,
    pub(crate) count: u64,
    pub(crate) rate: u32,
    pub(crate) live: bool,
    pub(crate) weights: usize,
    pub(crate) reconnect_every: Option<u64>,
    pub(crate) fail_after: Option<u64>,
    pub(crate) panic_every: Option<u64>,
    pub(crate) pacing_panics: u64,
    pub(crate) on_error: &'static str,
    /// Every n-th payload panics at this place.
    pub(crate) trouble: Option<(Trouble, u64)>,
    /// Has two outputs.
    pub(crate) second: bool,
    /// Numbers its packets itself, each this far after the last, and marks the numbers left out.
    pub(crate) gap: Option<u64>,
    pub(crate) lane: Option<u8>,
}

impl SourceCase {
    pub(crate) fn has_second(&self) -> bool {
        // A packet that a live source overwrites has no sequence number, so the output of the next one is unknown.
        self.second && !self.live
    }

    /// Returns how often it panics if it is not ended early; each time it has to be rebuilt.
    pub(crate) fn panics(&self) -> u64 {
        let before = |every| self.count.saturating_sub(1) / every;
        self.pacing_panics + self.panic_every.map_or(0, before)
    }

    /// Returns whether it gives up before its end.
    pub(crate) fn may_give_up(&self, restarts: u32) -> bool {
        let fails = self.fail_after.is_some_and(|after| after < self.count);
        fails || self.panics() > u64::from(restarts)
    }

    /// Returns the distance between its sequence numbers. Packets that a live source overwrites would leave unknown
    /// holes.
    pub(crate) fn gap(&self) -> Option<u64> {
        self.gap.filter(|_| !self.live)
    }

    fn troubles(&self, place: Trouble) -> bool {
        self.trouble.is_some_and(|(trouble, _)| trouble == place)
    }
}

/// Where an actor that keeps state about its streams breaks.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeepCase {
    pub(crate) panic_every: Option<u64>,
    pub(crate) fail_every: Option<u64>,
    pub(crate) start_panic: Option<u64>,
    pub(crate) end_panic: Option<u64>,
    pub(crate) finish_panic: bool,
}

impl KeepCase {
    fn breaks(&self) -> bool {
        let ever = [
            self.panic_every,
            self.fail_every,
            self.start_panic,
            self.end_panic,
        ];
        self.finish_panic || ever.iter().any(Option::is_some)
    }
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
    Keep(KeepCase),
    /// Finishes its calls later.
    Later {
        open: usize,
        drop_every: Option<u64>,
        at_once_every: Option<u64>,
        panic_every: Option<u64>,
    },
    /// Ends its streams from this sequence number on.
    Enough {
        from: u64,
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
    /// Returns the number of inputs, and the ones that a packet needs as a bit set.
    pub(crate) fn inputs(&self) -> (usize, u8) {
        match *self {
            Self::Meet { inputs, required } => match required & ((1 << inputs) - 1) {
                0 => (inputs, (1 << inputs) - 1),
                some => (inputs, some),
            },
            _ => (1, 1),
        }
    }

    /// Returns whether it takes only one type of payload.
    pub(crate) fn is_typed(&self) -> bool {
        matches!(
            self,
            Self::Choose { .. } | Self::Split | Self::Meet { .. } | Self::Enough { .. }
        )
    }

    /// Returns whether its calls fail, panic or never return.
    pub(crate) fn breaks(&self) -> bool {
        match self {
            Self::Faulty { .. } => true,
            Self::Keep(keep) => keep.breaks(),
            Self::Later {
                drop_every,
                panic_every,
                ..
            } => drop_every.is_some() || panic_every.is_some(),
            _ => false,
        }
    }

    pub(crate) fn stalls(&self) -> bool {
        matches!(
            self,
            Self::Faulty {
                stall_after: Some(_),
                ..
            }
        )
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
    /// The size, and how many milliseconds it waits.
    pub(crate) batch: Option<(usize, u32)>,
    /// Each batch is of one stream.
    pub(crate) batch_each: bool,
    pub(crate) on_error: &'static str,
}

/// The number of the stream that cannot be created.
pub(crate) const REFUSED_STREAM: u8 = 3;

/// A command to the run from outside.
#[derive(Clone, Debug)]
pub(crate) enum CommandCase {
    AddStream(u8),
    RemoveStream(u8),
    StreamsComplete,
    Drain,
    Stop,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) clock: ClockCase,
    /// Streams of the source with `each: stream`; if 0, all sources are shared.
    pub(crate) streams: usize,
    /// The first is the one with `each: stream`, if there are streams; the others are shared.
    pub(crate) sources: Vec<SourceCase>,
    pub(crate) nodes: Vec<NodeCase>,
    /// Restarts of one node before it is given up.
    pub(crate) restarts: u32,
    /// By moment: a step of the simulation (if true), or milliseconds.
    pub(crate) commands: Vec<(bool, u32, CommandCase)>,
}

/// An output that later nodes may take from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) node: usize,
    pub(crate) port: usize,
}

/// A node with its connections decided: for each input, the outputs that feed it.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    pub(crate) inputs: Vec<Vec<Output>>,
    /// Sources (by index) whose packets reach it.
    pub(crate) origins: Vec<usize>,
    /// The type that it takes, if it takes only one; otherwise all types that reach it.
    pub(crate) of: BTreeSet<Of>,
    /// A path brings it a type that it does not take, so the graph must be refused.
    pub(crate) clashes: bool,
}

impl Case {
    pub(crate) fn per_stream(&self) -> bool {
        self.streams > 0
    }

    /// Returns the number of sources; nodes are numbered after them.
    pub(crate) fn first_node(&self) -> usize {
        self.sources.len()
    }

    /// Decides what feeds each node, so that no packet reaches an input twice.
    pub(crate) fn connect(&self) -> Vec<Connected> {
        let mut origins: Vec<Vec<usize>> =
            (0..self.sources.len()).map(|source| vec![source]).collect();
        let mut types: Vec<BTreeSet<Of>> = Vec::new();
        let mut outputs: Vec<Output> = Vec::new();
        for (node, source) in self.sources.iter().enumerate() {
            types.push(BTreeSet::from([source.of]));
            let ports = 0..1 + usize::from(source.has_second());
            outputs.extend(ports.map(|port| Output { node, port }));
        }
        let mut connected = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let (inputs, required) = node.kind.inputs();
            // The inputs that a join requires must be fed from the same sources, and no others may feed it.
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
            let brought = |fed: &Vec<Output>| -> BTreeSet<Of> {
                let types = fed.iter().map(|output| &types[output.node]);
                types.flatten().copied().collect()
            };
            // A typed node takes the type that reaches its first input.
            let mut of = brought(&fed[0]);
            let mut clashes = false;
            if node.kind.is_typed() {
                let first = fed[0].last().map(|output| &types[output.node]);
                of = first.into_iter().flatten().take(1).copied().collect();
                clashes = fed.iter().any(|fed| brought(fed) != of);
            }
            types.push(of.clone());
            origins.push(from.clone());
            connected.push(Connected {
                inputs: fed,
                origins: from,
                of,
                clashes,
            });
        }
        connected
    }

    /// Returns all outputs, of sources and of nodes.
    #[cfg(feature = "remote")]
    pub(crate) fn outputs(&self) -> Vec<Output> {
        let of_sources = self.sources.iter().map(SourceCase::has_second);
        let is_split = |node: &NodeCase| matches!(node.kind, Kind::Split);
        let have_second = of_sources.chain(self.nodes.iter().map(is_split));
        let of = |(node, has_second)| {
            let ports = 0..1 + usize::from(has_second);
            ports.map(move |port| Output { node, port })
        };
        have_second.enumerate().flat_map(of).collect()
    }

    /// Returns whether a path brings a node a type that it does not take.
    pub(crate) fn clashes(&self) -> bool {
        self.connect().iter().any(|connected| connected.clashes)
    }

    pub(crate) fn stalls(&self) -> bool {
        self.nodes.iter().any(|node| node.kind.stalls())
    }

    /// Returns whether packets may be lost because an actor breaks, or because a payload panics wherever it is dropped.
    pub(crate) fn breaks(&self) -> bool {
        self.nodes.iter().any(|node| node.kind.breaks()) || self.troubles(Trouble::Drop)
    }

    /// Returns whether payloads panic at this place.
    pub(crate) fn troubles(&self, place: Trouble) -> bool {
        self.sources.iter().any(|source| source.troubles(place))
    }

    /// Returns whether only the seed of the simulation decides what reaches a sink, and in which order.
    pub(crate) fn is_reproducible(&self) -> bool {
        let restarts = |source: &SourceCase| source.panics() > 0 || source.fail_after.is_some();
        self.clock == ClockCase::Asap
            && self.commands.is_empty()
            && !self.breaks()
            && self.enough_from().is_none()
            && !self.overwrites()
            && !self.sources.iter().any(restarts)
    }

    /// Returns the sequence number from which on some actor may have enough of a stream.
    pub(crate) fn enough_from(&self) -> Option<u64> {
        let enough = |node: &NodeCase| match node.kind {
            Kind::Enough { from } => Some(from),
            _ => None,
        };
        self.nodes.iter().filter_map(enough).min()
    }

    /// Returns whether calls are finished later; the last source then answers them.
    pub(crate) fn asks(&self) -> bool {
        let asks = |node: &NodeCase| matches!(node.kind, Kind::Later { .. });
        self.nodes.iter().any(asks)
    }

    /// Returns whether the source that answers may be told to end while it is blocked by calls that it would have
    /// answered.
    pub(crate) fn may_get_no_answers(&self) -> bool {
        self.asks() && self.enough_from().is_some()
    }

    pub(crate) fn adds_streams(&self) -> bool {
        let mut commands = self.commands.iter();
        commands.any(|(_, _, command)| matches!(command, CommandCase::AddStream(_)))
    }

    pub(crate) fn is_stopped(&self) -> bool {
        let mut commands = self.commands.iter();
        commands.any(|(_, _, command)| matches!(command, CommandCase::Stop))
    }

    /// Returns whether a batch that closes by count alone may get so few packets that another path into a join fills up
    /// first, or may hold packets of a stream that was added late, for which a later node makes all other streams wait.
    /// That cannot be known when the graph is built, so such a run is stopped and the deadlock reported.
    pub(crate) fn may_starve_a_batch(&self) -> bool {
        let mut thinned: Vec<bool> = self.sources.iter().map(SourceCase::is_thin).collect();
        let mut starved = false;
        for (node, connected) in self.nodes.iter().zip(self.connect()) {
            let before = connected
                .inputs
                .iter()
                .flatten()
                .any(|from| thinned[from.node]);
            starved |= node.batch.is_some() && (before || self.adds_streams());
            let thins = match &node.kind {
                Kind::Identity { .. } => false,
                Kind::Later { .. } => node.kind.breaks(),
                Kind::Keep(keep) => keep.breaks(),
                _ => true,
            };
            thinned.push(before || thins);
        }
        starved && self.clock == ClockCase::Asap
    }

    /// Returns whether a queue may lose packets.
    pub(crate) fn drops(&self) -> bool {
        self.clock != ClockCase::Asap
            && self
                .nodes
                .iter()
                .any(|node| node.queue.full != "block" || node.queue.max_age_ms.is_some())
    }

    /// Returns whether a source may overwrite packets that it cannot hand over.
    pub(crate) fn overwrites(&self) -> bool {
        self.sources.iter().any(|source| source.live)
    }
}

impl SourceCase {
    /// Returns whether fewer packets may leave on one path than on another.
    fn is_thin(&self) -> bool {
        self.has_second() || self.trouble.is_some() || self.gap().is_some()
    }
}

impl NodeCase {
    /// Returns whether its batches wait longer than the watchdog.
    pub(crate) fn waits_long(&self) -> bool {
        self.batch.is_some_and(|(_, wait_ms)| wait_ms > 1000)
    }
}
