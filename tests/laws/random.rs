//! The laws on random graphs, each simulated under a seeded scheduler. `FERMATA_LAWS` sets how many (`make soak`:
//! 20,000).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fermata_engine::graph::WhenFull;
use fermata_engine::sim::{Delivery, simulate};
use fermata_engine::{Graph, Overrides, Registry};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::actors;
use super::broken::{Laws, Ran};
use super::case::{Case, NodeCase};
use super::doors;
use super::draw::case;
use super::keep;
use super::model::Model;
use crate::support::options;

/// How many graphs `make test` tries.
const CASES: u32 = 300;

/// Returns how many graphs are tried.
pub(crate) fn cases() -> u32 {
    let asked = std::env::var("FERMATA_LAWS").ok();
    asked.map_or(CASES, |asked| {
        asked.parse().expect("FERMATA_LAWS is a number of graphs")
    })
}

/// Returns the seed that draws the cases: the same ones in every `make test`, so that a failure is due to the change;
/// others in every soak.
fn seed() -> [u8; 32] {
    let asked = std::env::var("FERMATA_LAWS_SEED").ok();
    let seed: u64 = asked.map_or(0, |asked| {
        asked.parse().expect("FERMATA_LAWS_SEED is a number")
    });
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

/// Creates the runner that draws the cases; the same seed draws the same ones.
pub(crate) fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        max_shrink_iters: 2000,
        max_shrink_time: 60_000,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed()))
}

#[test]
fn random_graphs_keep_the_laws() {
    keep(case(), broken_laws);
}

/// Draws cases and shrinks the first one that breaks a law.
pub(super) fn keep(
    cases: impl Strategy<Value = Case>,
    broken_laws: impl Fn(&Case, &str) -> Vec<String>,
) {
    keep_of(self::cases(), cases, |case| {
        let yaml = case.yaml();
        let broken = broken_laws(&case, &yaml);
        let sim = case.sim();
        (broken, format!("{yaml}\nseed {}\n{sim:?}", case.seed))
    });
}

/// Draws `count` cases of any kind and shrinks the first one that breaks a law; `broken_laws` also returns how to show
/// the case.
pub(crate) fn keep_of<T: std::fmt::Debug>(
    count: u32,
    cases: impl Strategy<Value = T>,
    broken_laws: impl Fn(T) -> (Vec<String>, String),
) {
    let kept = runner(count).run(&cases, |case| {
        let (broken, shown) = broken_laws(case);
        prop_assert!(broken.is_empty(), "{broken:#?}\n{shown}");
        Ok(())
    });
    match kept {
        Ok(()) => {}
        // The reason shows the graph as a file, which is more useful than the case behind it.
        Err(TestError::Fail(reason, _)) => panic!("{reason}"),
        Err(error) => panic!("{error}"),
    }
}

/// A graph that was accepted, and the number of the record of its actors' lives.
pub(super) struct Loaded {
    pub(super) graph: Graph,
    pub(super) registry: Arc<Registry>,
    pub(super) capacities: BTreeMap<String, u64>,
    pub(super) record: u64,
}

/// Reads a graph. It must be refused if its types clash, and may be refused if its paths would block each other.
pub(super) fn load(case: &Case, yaml: &str) -> Result<Option<Loaded>, String> {
    let registry = actors::registry();
    let record = keep::open();
    let mut options = options();
    options.overrides = Overrides {
        params: vec![format!("run={record}")],
        ..Overrides::default()
    };
    let graph = match Graph::parse("random.yaml", yaml, &registry, &options) {
        Ok(_) if case.clashes() => return Err("accepted, although types clash".to_owned()),
        Ok(graph) => graph,
        Err(problems) => {
            let refused = |text: String| {
                text.contains("block each other") || (case.clashes() && text.contains("takes"))
            };
            return if problems.iter().all(|problem| refused(problem.to_string())) {
                Ok(None)
            } else {
                Err(format!("refused: {problems}"))
            };
        }
    };
    let blocking = graph
        .nodes
        .iter()
        .filter(|node| node.queue.full == WhenFull::Block && node.queue.bytes.is_none());
    let capacities = blocking.map(|node| (node.name.clone(), node.queue.capacity as u64));
    Ok(Some(Loaded {
        capacities: capacities.collect(),
        graph,
        registry: Arc::new(registry),
        record,
    }))
}

/// Simulates a case. A panic that gets here passed through the engine.
fn run(case: &Case, yaml: &str, seed: u64) -> Result<Option<Ran>, String> {
    let Some(loaded) = load(case, yaml)? else {
        return Ok(None);
    };
    let mut sim = case.sim();
    sim.seed = seed;
    let run = catch_unwind(AssertUnwindSafe(|| {
        simulate(loaded.graph, loaded.registry, &sim).expect("a graph that starts")
    }));
    let lives = keep::close(loaded.record);
    doors::forget(loaded.record);
    let run = run.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        format!(
            "a panic came through the engine: {}",
            text.unwrap_or_default()
        )
    })?;
    Ok(Some(Ran {
        run,
        capacities: loaded.capacities,
        lives,
    }))
}

fn broken_laws(case: &Case, yaml: &str) -> Vec<String> {
    let first = match run(case, yaml, case.seed) {
        Ok(Some(first)) => first,
        Ok(None) => return Vec::new(),
        Err(law) => return vec![law],
    };
    let mut laws = Laws::of(case, &first);
    laws.ends();
    laws.books();
    laws.observed();
    laws.bounds();
    laws.order();
    laws.exactness();
    laws.captures();
    laws.innocence();
    laws.additions();
    laws.lives();
    laws.told_ends();
    let mut broken = laws.broken;
    if case.is_reproducible()
        && let Ok(Some(second)) = run(case, yaml, case.seed.wrapping_add(1))
        && per_sink(case, &first.run.deliveries) != per_sink(case, &second.run.deliveries)
    {
        broken.push("two asap runs differ in what reached a sink, or in which order".to_owned());
    }
    broken
}

/// Returns what each sink got, in order; separately by stream where it has replicas or per-stream batches, which keep
/// the order only within a stream.
fn per_sink<'a>(
    case: &Case,
    deliveries: &'a [Delivery],
) -> BTreeMap<(&'a str, &'a str), Vec<&'a Delivery>> {
    let mut sinks: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for delivery in deliveries {
        let place = Model::place_of(&delivery.node);
        let node = place.checked_sub(case.first_node());
        let node = node.map(|node| &case.nodes[node]);
        let by_stream = |node: &NodeCase| node.replicas > 1 || node.batch_each;
        let stream = if node.is_some_and(by_stream) {
            delivery.stream.as_str()
        } else {
            ""
        };
        let got: &mut Vec<_> = sinks.entry((&*delivery.node, stream)).or_default();
        got.push(delivery);
    }
    sinks
}
