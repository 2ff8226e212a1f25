//! Property tests of the two ends of an edge against a [simulated](super::simulated) store and network, driven by a
//! seed: what comes out of a lossless edge is what went in, once and in order; what comes out of a dropping one is in
//! order, and adds up to what went in together with what it counts as missed.

mod world;

use fermata_engine::graph::WhenFull;
use fermata_engine::{End, How};
use proptest::prelude::*;

use super::arrival::{Command, ReceiverSpec};
use super::receiver::Receiver;
use super::sender::{Sender, SenderSpec};
use super::simulated::Faults;
use super::wire::ProgressMessage;
use world::{Case, World};

fn faults(is_lossless: bool) -> impl Strategy<Value = Faults> {
    let often = || prop_oneof![Just(0), 10..400u64];
    let on_the_way = (often(), often(), often(), often());
    (on_the_way, often(), often()).prop_map(move |(on_the_way, overtaken, store_forgets)| {
        let (sender_breaks, receiver_breaks, delivery_lost, delivery_again) = on_the_way;
        Faults {
            sender_breaks,
            receiver_breaks,
            delivery_lost: if delivery_lost == 0 {
                0
            } else {
                delivery_lost.max(20)
            },
            delivery_again,
            overtaken,
            store_forgets: if is_lossless { 0 } else { store_forgets * 10 },
        }
    })
}

fn case(full: WhenFull) -> impl Strategy<Value = Case> {
    let is_lossless = full == WhenFull::Block;
    let sizes = (1..60u64, 1..6usize, 1..6usize, 0..5u64);
    let bytes = prop::option::weighted(0.3, 1..12u64);
    let max_age_ms = prop::option::weighted(0.3, 20..2000u64);
    (
        sizes,
        (bytes, max_age_ms),
        faults(is_lossless),
        any::<u64>(),
    )
        .prop_map(
            move |((packets, capacity, window, filtered), (bytes, max_age_ms), faults, seed)| {
                Case {
                    full,
                    packets,
                    capacity,
                    window,
                    bytes,
                    max_age_ms: max_age_ms.filter(|_| !is_lossless),
                    filtered,
                    goes_on: false,
                    faults,
                    sender_dies: 0,
                    receiver_dies: 0,
                    seed,
                }
            },
        )
}

/// Most attempts per second while all of them fail.
const MOST_A_SECOND: u64 = 20;

/// Returns how often packets are tried, and how often the other end is told, in ten seconds in which all of it fails.
fn tried_in_vain(full: WhenFull, is_refused: bool) -> (u64, u64) {
    let mut sender = Sender::new(SenderSpec {
        full,
        capacity: 16,
        window: 16,
        bytes: None,
        max_age_ms: None,
    });
    sender.opened(1, 0);
    for sequence in 0..16 {
        sender.add((), sequence, 1, 0);
    }
    sender.ended(End::of(How::Complete));
    sender.disconnected();
    sender.reconnected();
    let (mut packets, mut told) = (0, 0);
    for now_ms in 0..10_000 {
        loop {
            let attempt = sender.next_publication(now_ms).map(|(attempt, ())| attempt);
            let progress = sender.next_progress(now_ms);
            match attempt {
                Some(attempt) if is_refused => sender.refused(attempt, now_ms),
                Some(attempt) => sender.failed(attempt, now_ms),
                None if progress.is_none() => break,
                None => {}
            }
            progress.inspect(|&progress| sender.not_told(progress, now_ms));
            packets += u64::from(attempt.is_some());
            told += u64::from(progress.is_some());
            assert!(
                packets + told < 1000,
                "{full:?}: {packets} {told} within {now_ms} ms"
            );
        }
        let wake_at = sender.wake_at();
        assert!(
            wake_at.is_none_or(|at_ms| at_ms > now_ms),
            "{wake_at:?} at {now_ms}"
        );
    }
    (packets, told)
}

#[test]
fn where_everything_fails_the_sending_end_pauses() {
    for full in [WhenFull::Block, WhenFull::DropOldest, WhenFull::DropNewest] {
        for is_refused in [true, false] {
            let (packets, told) = tried_in_vain(full, is_refused);
            assert!(
                packets <= 16 + 10 * MOST_A_SECOND,
                "{full:?}: {packets} packets"
            );
            assert!(told <= 10 * MOST_A_SECOND, "{full:?}: told {told} times");
            assert!(packets > 0 && told > 100, "{full:?}: {packets} {told}");
        }
    }
}

#[test]
fn a_receiving_end_whose_store_does_not_answer_pauses() {
    for full in [WhenFull::Block, WhenFull::DropOldest] {
        let mut receiver: Receiver<(), ()> = Receiver::new(ReceiverSpec {
            full,
            capacity: 16,
            settled: None,
        });
        receiver.progressed(ProgressMessage {
            incarnation: 1,
            sent: 5,
            ..ProgressMessage::default()
        });
        let mut asked = 0;
        for now_ms in 0..10_000 {
            while let Some(command) = receiver.next_command(now_ms) {
                match command {
                    Command::Pass => receiver.pass_began(now_ms),
                    Command::Look => receiver.look_failed(now_ms),
                    Command::Remember(_) | Command::Acknowledge(()) => {}
                }
                asked += 1;
                assert!(asked < 1000, "{full:?}: {asked} within {now_ms} ms");
            }
        }
        assert!(
            (50..=10 * MOST_A_SECOND).contains(&asked),
            "{full:?}: {asked}"
        );
    }
}

fn grows(out: &[u64]) -> bool {
    out.windows(2).all(|pair| pair[0] < pair[1])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_lossless_edge_gives_what_went_in_once_and_in_order(case in case(WhenFull::Block)) {
        let world = World::new(case).run();
        prop_assert!(grows(&world.out), "{:?}", world.out);
        prop_assert_eq!(world.out.len() as u64, world.added);
        prop_assert_eq!(world.edge.receiver.missed(), 0);
        prop_assert_eq!(world.end, Some(End::of(How::Complete)));
    }

    #[test]
    fn a_lossless_edge_outlives_its_ends_with_all_that_was_acknowledged(
        case in case(WhenFull::Block), sender_dies in 100..2000u64, receiver_dies in 100..2000u64
    ) {
        let mut case = case;
        case.sender_dies = sender_dies;
        case.receiver_dies = receiver_dies;
        let world = World::new(case).run();
        let acknowledged = world.acknowledged.iter();
        let lost: Vec<_> = acknowledged.filter(|sequence| !world.out.contains(sequence)).collect();
        prop_assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        prop_assert!(grows(&world.out), "{:?}", world.out);
    }

    #[test]
    fn a_stream_that_goes_on_over_lives_of_its_sender_comes_once_whoever_dies(
        case in case(WhenFull::Block), sender_dies in 100..2000u64, receiver_dies in 100..2000u64
    ) {
        let mut case = Case { goes_on: true, filtered: 0, ..case };
        case.sender_dies = sender_dies;
        case.receiver_dies = receiver_dies;
        let world = World::new(case).run();
        prop_assert!(world.out.iter().copied().eq(0..case.packets), "{:?}", world.out);
    }

    #[test]
    fn a_lossless_edge_loses_nothing_when_only_its_receiver_dies(
        case in case(WhenFull::Block), receiver_dies in 50..1000u64
    ) {
        let mut case = case;
        case.receiver_dies = receiver_dies;
        let world = World::new(case).run();
        prop_assert!(grows(&world.out), "{:?}", world.out);
        prop_assert_eq!(world.out.len() as u64, world.added);
        prop_assert_eq!(world.edge.receiver.missed(), 0);
    }

    #[test]
    fn a_dropping_edge_keeps_the_order_and_counts_what_is_missing(
        case in prop_oneof![case(WhenFull::DropOldest), case(WhenFull::DropNewest)]
    ) {
        let world = World::new(case).run();
        prop_assert!(grows(&world.out), "{:?}", world.out);
        let missed = world.edge.receiver.missed();
        prop_assert_eq!(world.out.len() as u64 + missed, world.added);
        prop_assert_eq!(world.end.map(|end| end.lost), Some(missed > 0));
    }

    #[test]
    fn a_dropping_edge_counts_what_is_missing_also_where_its_receiver_dies(
        case in prop_oneof![case(WhenFull::DropOldest), case(WhenFull::DropNewest)], receiver_dies in 50..1000u64
    ) {
        let mut case = case;
        case.receiver_dies = receiver_dies;
        case.faults.store_forgets = 0;
        let world = World::new(case).run();
        prop_assert!(grows(&world.out), "{:?}", world.out);
        let missed = world.missed_before + world.edge.receiver.missed();
        prop_assert_eq!(world.out.len() as u64 + missed, world.added);
    }

    #[test]
    fn no_more_bytes_are_on_their_way_than_may_be_and_nothing_that_is_too_old(
        case in prop_oneof![case(WhenFull::Block), case(WhenFull::DropOldest), case(WhenFull::DropNewest)],
        bytes in 1..12u64, max_age_ms in 20..600u64
    ) {
        let ages = case.full != WhenFull::Block;
        let world = World::new(Case { bytes: Some(bytes), max_age_ms: ages.then_some(max_age_ms), ..case }).run();
        prop_assert!(!world.was_too_much);
        if ages {
            prop_assert!(world.edge.oldest_ms() <= max_age_ms, "{}", world.edge.oldest_ms());
        }
    }
}
