//! How random cases are drawn: how often what stands in them.

use proptest::prelude::*;
use proptest::sample::Index;

use super::case::{Case, ClockCase, CommandCase, Kind, NodeCase, QueueCase, SourceCase};

fn source() -> impl Strategy<Value = SourceCase> {
    let rare = |range| prop_oneof![9 => Just(None), 1 => proptest::option::of(range)];
    (
        0u64..40,
        prop_oneof![Just(20u32), Just(200), Just(5000)],
        prop::bool::weighted(0.15),
        1usize..4,
        prop_oneof![4 => Just(None), 1 => (1u64..20).prop_map(Some)],
        rare(0u64..30),
        lane(),
    )
        .prop_map(
            |(count, rate, live, weights, reconnect_every, fail_after, lane)| SourceCase {
                count,
                rate,
                live,
                weights,
                reconnect_every,
                fail_after,
                lane,
            },
        )
}

fn lane() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![2 => Just(None), 1 => (0u8..2).prop_map(Some)]
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
        1 => (1u64..5).prop_map(|every| Kind::Choose { every }),
        1 => Just(Kind::Split),
        3 => (2usize..=3, 1u8..8).prop_map(|(inputs, required)| Kind::Meet { inputs, required }),
    ]
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
        proptest::option::weighted(
            0.25,
            (1usize..6, prop_oneof![Just(0u32), Just(5), Just(300)]),
        ),
        prop_oneof![6 => Just("skip"), 1 => Just("restart"), 1 => Just("stop")],
    )
        .prop_map(
            |(kind, feeds, merge, (each, lane, replicas), queue, batch, on_error)| NodeCase {
                kind,
                feeds,
                merge,
                each,
                queue,
                lane,
                replicas,
                batch,
                on_error,
            },
        )
}

fn command() -> impl Strategy<Value = (bool, u32, CommandCase)> {
    let command = prop_oneof![
        3 => (0u8..3).prop_map(CommandCase::AddStream),
        3 => (0u8..3).prop_map(CommandCase::RemoveStream),
        1 => Just(CommandCase::Drain),
        1 => Just(CommandCase::Stop),
    ];
    (any::<bool>(), 0u32..3000, command)
}

/// Draws a case.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    let clock = prop_oneof![
        3 => Just(ClockCase::Live),
        1 => Just(ClockCase::Replay),
        3 => Just(ClockCase::Asap),
    ];
    let commands = prop_oneof![
        3 => Just(Vec::new()),
        2 => prop::collection::vec(command(), 1..5),
    ];
    (
        any::<u64>(),
        clock,
        0usize..4,
        prop::collection::vec(source(), 1..4),
        prop::collection::vec(node(), 1..10),
        0u32..9,
        commands,
    )
        .prop_map(
            |(seed, clock, streams, sources, nodes, restarts, commands)| Case {
                seed,
                clock,
                streams,
                sources,
                nodes,
                restarts,
                commands,
            },
        )
}

impl Case {
    /// The same graph with a hundred times the packets, as fast as they go: queues are full and lanes park all the time.
    pub(crate) fn pressed(mut self) -> Self {
        for source in &mut self.sources {
            source.count *= 100;
            source.rate = 1_000_000;
        }
        for node in &mut self.nodes {
            match &mut node.kind {
                Kind::Identity { work_us } => *work_us %= 3,
                Kind::Faulty { fail_every, .. } => {
                    *fail_every = fail_every.map(|every| every * 100)
                }
                _ => {}
            }
            // A join may let no more than a few packets into each batch, which then takes its time.
            if let Some((_, wait_ms)) = &mut node.batch {
                *wait_ms = wait_ms.div_ceil(100);
            }
        }
        self
    }
}
