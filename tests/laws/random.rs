//! The laws on random graphs, each simulated under a seeded scheduler. `FERMATA_LAWS` says how many (`make soak`: 10,000).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::sim::{Delivery, SimRun, simulate};
use fermata_engine::{Graph, Registry, Report, RunOptions, RunningGraph};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::actors;
use super::case::{Case, ClockCase, CommandCase, Connected, Kind, Output};
use super::draw::case;
use crate::support::options;

/// How many graphs `make test` tries.
const CASES: u32 = 300;

fn cases() -> u32 {
    let asked = std::env::var("FERMATA_LAWS").ok();
    asked.map_or(CASES, |asked| {
        asked.parse().expect("FERMATA_LAWS is a number of graphs")
    })
}

/// What draws the cases: the same ones in every `make test`, so that a red test is the change's; others in every soak.
fn seed() -> [u8; 32] {
    let asked = std::env::var("FERMATA_LAWS_SEED").ok();
    let seed: u64 = asked.map_or(0, |asked| {
        asked.parse().expect("FERMATA_LAWS_SEED is a number")
    });
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

fn runner() -> TestRunner {
    let config = Config {
        cases: cases(),
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

/// The same laws where threads run the graph: what a simulation cannot show happens between the instructions of a step.
#[test]
fn random_graphs_keep_the_laws_on_threads() {
    let pressed = case().prop_map(Case::pressed);
    keep(pressed, |case, yaml| {
        let Some(run) = run_on_threads(case, yaml) else {
            return Vec::new();
        };
        let mut laws = Laws {
            case,
            run: &run,
            connected: case.connect(),
            broken: Vec::new(),
        };
        laws.ends();
        laws.books();
        laws.amounts();
        laws.captures();
        laws.innocence();
        laws.broken
    });
}

/// Draws cases and shrinks the first one that breaks a law.
fn keep(cases: impl Strategy<Value = Case>, broken_laws: impl Fn(&Case, &str) -> Vec<String>) {
    let kept = runner().run(&cases, |case| {
        let yaml = case.yaml();
        let broken = broken_laws(&case, &yaml);
        prop_assert!(
            broken.is_empty(),
            "{broken:#?}\n{yaml}\nseed {}\n{:?}",
            case.seed,
            case.sim()
        );
        Ok(())
    });
    match kept {
        Ok(()) => {}
        // The reason shows the graph as a file, which says more than the case behind it.
        Err(TestError::Fail(reason, _)) => panic!("{reason}"),
        Err(error) => panic!("{error}"),
    }
}

/// Reads a graph. It may be refused only because its ways would block each other.
fn load(yaml: &str) -> Option<(Graph, Arc<Registry>)> {
    let registry = actors::registry();
    match Graph::parse("random.yaml", yaml, &registry, &options()) {
        Ok(graph) => Some((graph, Arc::new(registry))),
        Err(problems) => {
            let text = problems.to_string();
            assert!(text.contains("block each other"), "{text}\n{yaml}");
            None
        }
    }
}

/// Runs a case whose streams end by themselves on threads; what was delivered is then known by its amount only.
fn run_on_threads(case: &Case, yaml: &str) -> Option<SimRun> {
    if !case.commands.is_empty() || case.stalls() || case.takes_long() {
        return None;
    }
    let (graph, registry) = load(yaml)?;
    let running = RunningGraph::start(graph, registry, RunOptions::default());
    let running = running.expect("a graph that starts");
    let (report, ended) = match running.wait_for(Duration::from_secs(20)) {
        Ok(report) => (report, true),
        Err(running) => {
            let report = running.handle().report();
            // Stops it.
            drop(running);
            (report, false)
        }
    };
    Some(SimRun {
        report,
        deliveries: Vec::new(),
        steps: 0,
        time: Duration::ZERO,
        ended,
        unfinished: Vec::new(),
        spins: 0,
        added: Vec::new(),
    })
}

/// Simulates a case.
fn run(case: &Case, yaml: &str, seed: u64) -> Option<SimRun> {
    let (graph, registry) = load(yaml)?;
    let mut sim = case.sim();
    sim.seed = seed;
    Some(simulate(graph, registry, &sim).expect("a graph that starts"))
}

fn broken_laws(case: &Case, yaml: &str) -> Vec<String> {
    let Some(first) = run(case, yaml, case.seed) else {
        return Vec::new();
    };
    let mut laws = Laws {
        case,
        run: &first,
        connected: case.connect(),
        broken: Vec::new(),
    };
    laws.ends();
    laws.books();
    laws.order();
    laws.exactness();
    laws.captures();
    laws.innocence();
    let mut broken = laws.broken;
    if case.clock == ClockCase::Asap
        && case.commands.is_empty()
        && !case.breaks()
        && !case.overwrites()
        && let Some(second) = run(case, yaml, case.seed.wrapping_add(1))
        && per_sink(case, &first.deliveries) != per_sink(case, &second.deliveries)
    {
        broken.push("two asap runs differ in what reached a sink, or in which order".to_owned());
    }
    broken
}

/// What each sink got, in order; where it has replicas, which keep the order of each stream only, by stream.
fn per_sink<'a>(
    case: &Case,
    deliveries: &'a [Delivery],
) -> BTreeMap<(&'a str, &'a str), Vec<&'a Delivery>> {
    let mut sinks: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for delivery in deliveries {
        let place = place_of(&delivery.node);
        let node = place.checked_sub(case.first_node());
        let replicas = node.map_or(1, |node| case.nodes[node].replicas);
        let stream = if replicas > 1 {
            delivery.stream.as_str()
        } else {
            ""
        };
        let got: &mut Vec<_> = sinks.entry((&*delivery.node, stream)).or_default();
        got.push(delivery);
    }
    sinks
}

struct Laws<'a> {
    case: &'a Case,
    run: &'a SimRun,
    connected: Vec<Connected>,
    broken: Vec<String>,
}

impl Laws<'_> {
    fn report(&self) -> &Report {
        &self.run.report
    }

    fn breach(&mut self, law: impl Into<String>) {
        self.broken.push(law.into());
    }

    /// Every run ends, nothing hangs that was not made to, no lane spins, and nothing blocks itself.
    fn ends(&mut self) {
        if !self.run.ended {
            let run = self.run;
            self.breach(format!(
                "the run did not end: {:?} have not finished after {:?} and {} steps",
                run.unfinished, run.time, run.steps
            ));
            for (name, node) in &run.report.nodes {
                self.breach(format!(
                    "  {name}: received {}, processed {}",
                    node.received, node.processed
                ));
            }
            for edge in &run.report.edges {
                self.breach(format!(
                    "  {} -> {}: sent {}, received {}, dropped {:?}",
                    edge.from, edge.to, edge.sent, edge.received, edge.dropped
                ));
            }
        }
        if self.run.spins > 0 {
            self.breach(format!("a lane would have spun {} times", self.run.spins));
        }
        if !self.case.stalls() && !self.report().hung.is_empty() {
            self.breach(format!("hung: {:?}", self.report().hung));
        }
        let deadlocks: Vec<String> = self
            .report()
            .faults
            .iter()
            .filter(|fault| {
                let late = fault.message.contains("draining took");
                // A drain may have to wait for restarts, whose delays grow.
                fault.message.contains("deadlock") || (late && !self.case.breaks())
            })
            .map(|fault| fault.message.clone())
            .collect();
        if !self.case.stalls() && !self.case.may_starve_a_batch() {
            self.broken.extend(deadlocks);
        }
    }

    fn books(&mut self) {
        let imbalances = self.report().imbalances.clone();
        self.broken.extend(imbalances);
    }

    /// Each sink gets each stream's packets in order and none twice.
    fn order(&mut self) {
        let mut last: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for delivery in &self.run.deliveries {
            let key = (delivery.node.as_str(), delivery.stream.as_str());
            let before = last.insert(key, delivery.sequence);
            if before.is_some_and(|before| before >= delivery.sequence) {
                self.broken
                    .push(format!("after {before:?} came {delivery:?}"));
            }
        }
    }

    /// Each sink got as many packets as it should.
    fn amounts(&mut self) {
        let exact = !self.case.breaks() && !self.case.drops() && !self.case.may_starve_a_batch();
        let mut broken = Vec::new();
        for (stream, report) in &self.report().streams {
            for (sink, got) in &report.sinks {
                let due = self.due(place_of(sink), stream, report.captured).len() as u64;
                if got.delivered > due || (exact && got.delivered < due) {
                    broken.push(format!("{sink} got {} of {due} of {stream}", got.delivered));
                }
            }
        }
        self.broken.extend(broken);
    }

    /// What reaches each sink is what should: at most that, and all of it where nothing may lose packets.
    fn exactness(&mut self) {
        let exact = !self.case.breaks()
            && !self.case.drops()
            && !self.is_stopped()
            && !self.case.may_starve_a_batch();
        let mut got: BTreeMap<(&str, &str), BTreeSet<u64>> = BTreeMap::new();
        for delivery in &self.run.deliveries {
            let key = (delivery.node.as_str(), delivery.stream.as_str());
            got.entry(key).or_default().insert(delivery.sequence);
        }
        let mut broken = Vec::new();
        for (stream, report) in &self.report().streams {
            for sink in report.sinks.keys() {
                let place = place_of(sink);
                let due = self.due(place, stream, report.captured);
                let got = got
                    .get(&(sink.as_str(), stream.as_str()))
                    .cloned()
                    .unwrap_or_default();
                let surplus: Vec<_> = got.difference(&due).collect();
                let lacking: Vec<_> = due.difference(&got).collect();
                if !surplus.is_empty() {
                    broken.push(format!(
                        "{sink} got {surplus:?} of {stream}, which it should not"
                    ));
                }
                if exact && !lacking.is_empty() {
                    broken.push(format!("{sink} lacks {lacking:?} of {stream}"));
                }
            }
        }
        self.broken.extend(broken);
    }

    /// A source that nothing ended early has given all it has: a restart elsewhere never reads as its end.
    fn captures(&mut self) {
        if !self.case.commands.is_empty() || self.case.stalls() || !self.report().faults.is_empty()
        {
            return;
        }
        let mut broken = Vec::new();
        for (stream, report) in &self.report().streams {
            let source = &self.case.sources[self.source_of(stream)];
            if report.captured + report.missed != source.count {
                broken.push(format!(
                    "{stream}: captured {} of {}",
                    report.captured, source.count
                ));
            }
        }
        self.broken.extend(broken);
    }

    /// Only what was made to break has broken: actors that see a breach panic.
    fn innocence(&mut self) {
        let mut broken = Vec::new();
        for (instance, node) in &self.report().nodes {
            let place = place_of(instance).checked_sub(self.case.first_node());
            let kind = place.map(|place| &self.case.nodes[place].kind);
            let may_break = matches!(kind, Some(Kind::Faulty { .. }));
            if !may_break && node.failed + node.restarts > 0 {
                broken.push(format!("{instance} broke by itself: {node:?}"));
            }
        }
        self.broken.extend(broken);
    }

    fn is_stopped(&self) -> bool {
        self.case
            .commands
            .iter()
            .any(|(_, _, command)| matches!(command, CommandCase::Stop))
    }

    /// Index of the source that a stream comes from: shared sources are streams of their own name.
    fn source_of(&self, stream: &str) -> usize {
        match stream.strip_prefix('n') {
            Some(number) => number.parse().expect("a source's number"),
            None => 0,
        }
    }

    /// The sequences of a stream that a node handles if nothing is lost.
    fn due(&self, place: usize, stream: &str, captured: u64) -> BTreeSet<u64> {
        let source = self.source_of(stream);
        let first = self.case.first_node();
        if place < first {
            return if place == source {
                (0..captured).collect()
            } else {
                BTreeSet::new()
            };
        }
        let connected = &self.connected[place - first];
        let reached = |fed: &Vec<Output>| {
            let from = fed.iter().find(|from| match from.node < first {
                true => from.node == source,
                false => self.connected[from.node - first].origins.contains(&source),
            });
            from.map(|from| self.emitted(from, stream, captured))
                .unwrap_or_default()
        };
        let sets: Vec<BTreeSet<u64>> = connected.inputs.iter().map(reached).collect();
        let (_, required) = self.case.nodes[place - first].kind.inputs();
        let union: BTreeSet<u64> = sets.iter().flatten().copied().collect();
        let has_all = |sequence: &u64| {
            let mut ports = sets
                .iter()
                .enumerate()
                .filter(|(port, _)| required & (1 << port) != 0);
            ports.all(|(_, set)| set.contains(sequence))
        };
        union.into_iter().filter(has_all).collect()
    }

    /// The sequences of a stream that leave by an output if nothing is lost.
    fn emitted(&self, output: &Output, stream: &str, captured: u64) -> BTreeSet<u64> {
        let handled = self.due(output.node, stream, captured);
        let first = self.case.first_node();
        if output.node < first {
            return handled;
        }
        let every = match self.case.nodes[output.node - first].kind {
            Kind::Choose { every } => every,
            Kind::Split => 2 + output.port as u64,
            _ => 1,
        };
        handled
            .into_iter()
            .filter(|sequence| sequence.is_multiple_of(every))
            .collect()
    }
}

/// The number of an instance's node.
fn place_of(instance: &str) -> usize {
    let node = instance.split('@').next().unwrap_or_default();
    node.trim_start_matches('n')
        .parse()
        .expect("nodes of random graphs are numbered")
}
