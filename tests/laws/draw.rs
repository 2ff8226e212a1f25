//! How random cases are drawn, and with which probabilities.

use proptest::prelude::*;
use proptest::sample::Index;

use super::case::{Case, ClockCase, CommandCase, KeepCase, Kind, NodeCase, QueueCase, SourceCase};
use super::payloads::{Of, Trouble};

/// Draws a value that most cases do not have.
fn rarely<T: std::fmt::Debug + Clone + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    proptest::option::weighted(0.06, strategy)
}

fn source() -> impl Strategy<Value = SourceCase> {
    let trouble = prop_oneof![
        2 => Just(Trouble::Weight),
        2 => Just(Trouble::Bytes),
        1 => Just(Trouble::Drop),
    ];
    let gives = (
        prop_oneof![3 => Just(Of::Numbers), 1 => Just(Of::Letters)],
        0u64..40,
        prop_oneof![Just(20u32), Just(200), Just(5000)],
        prop::bool::weighted(0.15),
        1usize..4,
        any::<bool>(),
        lane(),
        proptest::option::weighted(0.25, 1u64..4),
    );
    let breaks = (
        prop_oneof![4 => Just(None), 1 => (1u64..20).prop_map(Some)],
        proptest::option::weighted(0.1, 0u64..30),
        rarely(1u64..20),
        rarely(1u64..3),
        prop_oneof![3 => Just("skip"), 1 => Just("restart"), 1 => Just("stop")],
        rarely((trouble, 1u64..20)),
    );
    (gives, breaks).prop_map(|(gives, breaks)| {
        let (of, count, rate, live, weights, second, lane, gap) = gives;
        let (reconnect_every, fail_after, panic_every, pacing_panics, on_error, trouble) = breaks;
        SourceCase {
            of,
            count,
            rate,
            live,
            weights,
            reconnect_every,
            fail_after,
            panic_every,
            pacing_panics: pacing_panics.unwrap_or(0),
            on_error,
            trouble,
            second,
            gap,
            lane,
        }
    })
}

fn lane() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![2 => Just(None), 2 => Just(Some(0)), 1 => Just(Some(1))]
}

fn kind() -> impl Strategy<Value = Kind> {
    let every = || prop_oneof![1 => Just(None), 1 => (1u64..30).prop_map(Some)];
    let stall = prop_oneof![14 => Just(None), 1 => (0u64..20).prop_map(Some)];
    prop_oneof![
        4 => prop_oneof![Just(0u32), Just(100), Just(3000), Just(40_000)]
            .prop_map(|work_us| Kind::Identity { work_us }),
        2 => (every(), every(), stall).prop_map(|(panic_every, fail_every, stall_after)| {
            Kind::Faulty { panic_every, fail_every, stall_after }
        }),
        2 => keep().prop_map(Kind::Keep),
        1 => later(),
        1 => (0u64..30).prop_map(|from| Kind::Enough { from }),
        1 => (1u64..5).prop_map(|every| Kind::Choose { every }),
        1 => Just(Kind::Split),
        3 => (2usize..=3, 1u8..8).prop_map(|(inputs, required)| Kind::Meet { inputs, required }),
    ]
}

/// Draws an actor that has its calls answered elsewhere.
fn later() -> impl Strategy<Value = Kind> {
    let at_once = proptest::option::weighted(0.5, 1u64..6);
    (1usize..7, rarely(1u64..20), at_once, rarely(2u64..20)).prop_map(
        |(open, drop_every, at_once_every, panic_every)| Kind::Later {
            open,
            drop_every,
            at_once_every,
            panic_every,
        },
    )
}

/// Draws an actor that keeps state about its streams; every other one never breaks.
fn keep() -> impl Strategy<Value = KeepCase> {
    let breaks = (
        rarely(1u64..30),
        rarely(1u64..30),
        rarely(1u64..4),
        rarely(1u64..4),
        prop::bool::weighted(0.06),
    );
    (any::<bool>(), breaks).prop_map(|(sound, breaks)| {
        let (panic_every, fail_every, start_panic, end_panic, finish_panic) = breaks;
        if sound {
            KeepCase::default()
        } else {
            KeepCase {
                panic_every,
                fail_every,
                start_panic,
                end_panic,
                finish_panic,
            }
        }
    })
}

/// Draws sizes of batches and how long they wait, some longer than a watchdog would.
fn batch() -> impl Strategy<Value = (usize, u32)> {
    let max = prop_oneof![3 => 1usize..6, 1 => 6usize..400];
    let wait_ms = prop_oneof![
        2 => Just(0u32),
        2 => Just(5),
        2 => Just(300),
        1 => Just(2500),
        1 => Just(7000),
    ];
    (max, wait_ms)
}

fn queue() -> impl Strategy<Value = QueueCase> {
    (
        proptest::option::weighted(0.7, 1usize..8),
        proptest::option::weighted(0.15, 1u32..600),
        prop_oneof![4 => Just("block"), 1 => Just("drop_oldest"), 1 => Just("drop_newest")],
        prop_oneof![9 => Just(None), 1 => (1u32..80).prop_map(Some)],
    )
        .prop_map(|(capacity, bytes, full, max_age_ms)| QueueCase {
            capacity,
            bytes,
            full,
            max_age_ms,
        })
}

fn node() -> impl Strategy<Value = NodeCase> {
    let placed = (
        any::<bool>(),
        lane(),
        prop_oneof![3 => Just(1usize), 1 => 2usize..4],
    );
    (
        kind(),
        any::<[Index; 3]>(),
        proptest::option::weighted(0.3, any::<Index>()),
        placed,
        queue(),
        (
            proptest::option::weighted(0.25, batch()),
            prop::bool::weighted(0.3),
        ),
        prop_oneof![6 => Just("skip"), 1 => Just("restart"), 1 => Just("stop")],
    )
        .prop_map(
            |(kind, feeds, merge, placed, queue, (batch, batch_each), on_error)| {
                let (each, lane, replicas) = placed;
                NodeCase {
                    kind,
                    feeds,
                    merge,
                    each,
                    queue,
                    lane,
                    replicas,
                    batch,
                    batch_each,
                    on_error,
                }
            },
        )
}

fn command() -> impl Strategy<Value = (bool, u32, CommandCase)> {
    let command = prop_oneof![
        3 => (0u8..4).prop_map(CommandCase::AddStream),
        3 => (0u8..3).prop_map(CommandCase::RemoveStream),
        1 => Just(CommandCase::Drain),
        1 => Just(CommandCase::Stop),
    ];
    (any::<bool>(), 0u32..3000, command)
}

/// Draws a command that ends the run, and streams that are added at about the same moment.
fn ending() -> impl Strategy<Value = Vec<(bool, u32, CommandCase)>> {
    let end = prop_oneof![
        2 => Just(CommandCase::Drain),
        2 => Just(CommandCase::StreamsComplete),
        1 => Just(CommandCase::Stop),
    ];
    let adds = prop::collection::vec((0u32..8, 0u8..4), 1..4);
    (any::<bool>(), 4u32..3000, end, adds).prop_map(|(by_step, moment, end, adds)| {
        let add = |(before, stream)| (by_step, moment + 4 - before, CommandCase::AddStream(stream));
        let mut commands: Vec<_> = adds.into_iter().map(add).collect();
        commands.push((by_step, moment, end));
        commands
    })
}

/// Draws a case.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    let clock = prop_oneof![
        3 => Just(ClockCase::Live),
        1 => Just(ClockCase::Replay),
        3 => Just(ClockCase::Asap),
    ];
    let commands = prop_oneof![
        6 => Just(Vec::new()),
        4 => prop::collection::vec(command(), 1..5),
        1 => ending(),
    ];
    (
        any::<u64>(),
        clock,
        0usize..4,
        prop::collection::vec(source(), 1..4),
        prop::collection::vec(node(), 1..10),
        prop_oneof![1 => Just(0u32), 3 => 0u32..9],
        commands,
    )
        .prop_map(
            |(seed, clock, streams, sources, nodes, restarts, commands)| {
                let case = Case {
                    seed,
                    clock,
                    streams,
                    sources,
                    nodes,
                    restarts,
                    commands,
                };
                case.answered()
            },
        )
}

impl Case {
    /// Makes the last source, which answers calls that are finished later, one that is never blocked.
    fn answered(mut self) -> Self {
        let asks = self.asks();
        if let Some(last) = self.sources.last_mut()
            && asks
        {
            last.live = true;
        }
        for node in &mut self.nodes {
            if matches!(node.kind, Kind::Later { .. }) {
                node.replicas = 1;
            }
        }
        self
    }

    /// Returns the same graph with a hundred times the packets, at full speed: queues are full and lanes park all the
    /// time.
    pub(crate) fn pressed(mut self) -> Self {
        // Each restart takes twice as long as the one before.
        self.restarts = self.restarts.min(1);
        for source in &mut self.sources {
            source.count *= 100;
            source.rate = 1_000_000;
            source.panic_every = None;
            source.pacing_panics = 0;
        }
        for node in &mut self.nodes {
            match &mut node.kind {
                Kind::Identity { work_us } => *work_us %= 3,
                Kind::Faulty { fail_every, .. } => {
                    *fail_every = fail_every.map(|every| every * 100)
                }
                Kind::Later {
                    drop_every,
                    panic_every,
                    ..
                } => {
                    *drop_every = drop_every.map(|every| every * 100);
                    *panic_every = None;
                }
                Kind::Enough { from } => *from *= 100,
                Kind::Keep(keep) => keep.fail_every = keep.fail_every.map(|every| every * 100),
                _ => {}
            }
            // A join may let only a few packets into each batch, which then waits its full time.
            if let Some((_, wait_ms)) = &mut node.batch {
                *wait_ms = wait_ms.div_ceil(100);
            }
        }
        self
    }

    #[cfg(feature = "remote")]
    /// Returns the same graph without anything that breaks, stops, or takes seconds: only the graph itself decides what
    /// reaches its sinks.
    pub(crate) fn sound(mut self) -> Self {
        self.commands.clear();
        if self.clock == ClockCase::Replay {
            self.clock = ClockCase::Live;
        }
        for source in &mut self.sources {
            source.live = false;
            source.rate = source.rate.max(5000);
            (source.fail_after, source.panic_every, source.trouble) = (None, None, None);
            source.pacing_panics = 0;
        }
        for node in &mut self.nodes {
            node.kind = match std::mem::replace(&mut node.kind, Kind::Split) {
                Kind::Faulty { .. } | Kind::Later { .. } => Kind::Identity { work_us: 0 },
                Kind::Identity { work_us } => Kind::Identity {
                    work_us: work_us % 200,
                },
                Kind::Keep(_) => Kind::Keep(KeepCase::default()),
                // Otherwise nobody would take the packets that another machine keeps sending.
                Kind::Enough { .. } => Kind::Choose { every: 2 },
                kind => kind,
            };
            if let Some((_, wait_ms)) = &mut node.batch {
                *wait_ms = (*wait_ms).min(5);
            }
        }
        if self.may_starve_a_batch() {
            self.nodes.iter_mut().for_each(|node| node.batch = None);
        }
        self
    }

    #[cfg(feature = "remote")]
    /// Returns the same graph with queues that lose nothing.
    pub(crate) fn lossless(mut self) -> Self {
        for node in &mut self.nodes {
            node.queue.full = "block";
            node.queue.max_age_ms = None;
        }
        self
    }
}
