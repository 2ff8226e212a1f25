//! Property tests of workers and a coordinator against a server that forgets leases and messages, and answers late or
//! not at all, with workers that die, stop and continue, all decided by a seed: every unit has one result in the end,
//! and what was given up was given up for a reason.

mod world;

use proptest::prelude::*;

use world::{Case, Faults, TRIES, World};

fn often(most: u64) -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 5..most]
}

fn case(workers_break: bool) -> impl Strategy<Value = Case> {
    let server = (often(300), often(300), often(200), often(200));
    let workers = (often(60), often(60), prop_oneof![Just(0), 100..3000u64]);
    (1..8u64, 1..5usize, 0..3u64, server, workers, any::<u64>()).prop_map(
        move |(units, workers, poisonous, server, (dies, stops, rejected), seed)| Case {
            units,
            workers,
            poisonous: poisonous.min(units),
            faults: Faults {
                answer_lost: server.0,
                done_later: server.1,
                lease_forgotten: server.2,
                message_forgotten: server.3,
                worker_dies: if workers_break { dies } else { 0 },
                worker_stops: if workers_break { stops } else { 0 },
                rejected: if workers_break { rejected } else { 0 },
            },
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_unit_has_one_result_whatever_the_server_forgets(case in case(false)) {
        let world = World::new(case).run();
        for unit in 0..case.units {
            let killed = world.killed.get(&unit).copied().unwrap_or(0);
            if unit < case.poisonous {
                prop_assert!(world.given_up.contains_key(&unit), "unit {unit}: {world:?}");
                prop_assert_eq!(killed, TRIES, "unit {}", unit);
            } else {
                prop_assert!(world.accepted.contains(&unit), "unit {unit}: {world:?}");
                prop_assert_eq!(killed, 0);
            }
        }
        prop_assert_eq!(world.accepted.len() + world.given_up.len(), case.units as usize);
    }

    #[test]
    fn every_unit_has_one_result_or_a_reason_whoever_dies_or_stops(case in case(true)) {
        let world = World::new(case).run();
        for unit in 0..case.units {
            let is_accepted = world.accepted.contains(&unit);
            let is_given_up = world.given_up.contains_key(&unit);
            prop_assert!(is_accepted != is_given_up, "unit {unit}: {world:?}");
            let lost = world.lost_over.get(&unit).copied().unwrap_or(0);
            prop_assert!(!is_given_up || lost >= TRIES, "unit {unit} was given up after {lost}");
        }
        // Whoever was second has discarded its own result and reported that; what the dead stored stays.
        let kept = world.objects.keys().filter(|(unit, attempt)| {
            !world.dead_stored.contains(&(*unit, *attempt)) && world.outcome_attempt(*unit) != Some(*attempt)
        });
        prop_assert_eq!(kept.count(), 0, "{:?}", world);
    }
}
