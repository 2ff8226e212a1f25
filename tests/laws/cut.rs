//! Random graphs that are cut into parts for several machines, with a simulated network between them: their sinks get
//! what those of the whole graph get. `FERMATA_LAWS` sets how many (`make soak`: 20,000).
//!
//! Parts run on threads, as they do on machines; the two ends of each edge run the real protocol, and the seed decides
//! what the network does.

mod ends;
mod harmed;
mod network;
mod sinks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fermata_engine::graph::EdgeActors;
use fermata_engine::{Graph, Overrides, Registry, Report, RunOptions, RunningGraph, Services};
use fermata_remote::edge::simulated::Faults;
use proptest::prelude::*;

use super::actors;
use super::case::{Case, ClockCase, Output};
use super::draw::case;
use super::keep;
use super::payloads;
use super::random;
use crate::support::{PATIENCE, options};
use ends::{Receive, Send};
use network::{Harm, Network};
use sinks::{Came, Gather, Gathered};

const EDGES: EdgeActors = EdgeActors {
    send: "send",
    receive: "receive",
};

/// Maximum number of machines.
const MACHINES: usize = 3;

/// Where a random graph is cut, and what happens between its parts.
#[derive(Clone, Debug)]
struct Cut {
    case: Case,
    /// By source: its machine.
    sources: Vec<usize>,
    /// By node: whether it runs one machine further than what feeds it.
    hops: Vec<bool>,
    faults: Faults,
    harm: Option<Harm>,
    seed: u64,
}

fn cut() -> impl Strategy<Value = Cut> {
    let often = || prop_oneof![1 => Just(0), 3 => 20..200u64];
    let on_the_way = (often(), often(), often(), often(), often());
    let faults = on_the_way.prop_map(|(breaks, receiver_breaks, lost, again, overtaken)| Faults {
        sender_breaks: breaks,
        receiver_breaks,
        delivery_lost: lost,
        delivery_again: again,
        overtaken,
        store_forgets: 0,
    });
    let sources = prop::collection::vec(prop_oneof![2 => Just(0), 1 => 0..MACHINES], 4);
    let hops = prop::collection::vec(prop::bool::weighted(0.4), 10);
    (case(), sources, hops, faults, any::<u64>()).prop_map(|(case, sources, hops, faults, seed)| {
        Cut {
            case: case.sound(),
            sources,
            hops,
            faults,
            harm: None,
            seed,
        }
    })
}

/// Draws cuts whose queues lose nothing.
fn lossless() -> impl Strategy<Value = Cut> {
    cut().prop_map(|cut| Cut {
        case: cut.case.lossless(),
        ..cut
    })
}

/// Draws cuts where packets from another machine may be dropped, and a store that holds them may forget them.
fn lossy() -> impl Strategy<Value = Cut> {
    let full = prop_oneof![Just("drop_oldest"), Just("drop_newest")];
    let ages = prop::collection::vec((full, proptest::option::weighted(0.3, 1..40u32)), 10);
    (cut(), ages, prop_oneof![Just(0), 100..2000u64]).prop_map(|(mut cut, ages, store_forgets)| {
        cut.case.clock = ClockCase::Live;
        cut.faults.store_forgets = store_forgets;
        for ((node, hops), (full, max_age_ms)) in cut.case.nodes.iter_mut().zip(&cut.hops).zip(ages)
        {
            if *hops {
                (node.queue.full, node.queue.max_age_ms) = (full, max_age_ms);
            }
        }
        cut
    })
}

impl Cut {
    /// Returns the machine of each source and node. A node fed from several machines is on the last of them.
    fn machines(&self) -> Vec<usize> {
        let mut machines: Vec<usize> = self.sources[..self.case.first_node()].to_vec();
        for (connected, hops) in self.case.connect().iter().zip(&self.hops) {
            let fed_from = connected.inputs.iter().flatten();
            let last = fed_from.map(|from| machines[from.node]).max();
            let machine = last.unwrap_or(0) + usize::from(*hops);
            machines.push(machine.min(MACHINES - 1));
        }
        machines
    }

    /// Returns the graph file, with machines if these are given. Each output that no node takes from has a sink that
    /// keeps its packets.
    fn yaml(&self, machines: Option<&[usize]>) -> String {
        let mut text = self.case.yaml();
        let on = |place: usize| {
            machines.map_or(String::new(), |machines| {
                format!("on: m{}, ", machines[place])
            })
        };
        let mut sinks = String::new();
        for (number, output) in self.untaken().into_iter().enumerate() {
            let (place, reference) = (output.node, self.case.reference(&output));
            sinks += &format!(
                "  e{number}: {{{}use: gather, in: {reference}}}\n",
                on(place)
            );
        }
        let nodes = self.case.first_node() + self.case.nodes.len();
        for place in 0..nodes {
            let node = format!("\n  n{place}: {{");
            text = text.replacen(&node, &format!("{node}{}", on(place)), 1);
        }
        text = text.replacen("nodes:\n", &format!("nodes:\n{sinks}"), 1);
        let Some(machines) = machines else {
            return text;
        };
        // Nodes of one lane stay together.
        let lines = text.lines().map(|line| match line.split_once("{on: m") {
            Some((_, rest)) => line
                .replace("lane: all", &format!("lane: m{}all", &rest[..1]))
                .replace("lane: each", &format!("lane: m{}each", &rest[..1])),
            None => line.to_owned(),
        });
        let text = lines.collect::<Vec<_>>().join("\n") + "\n";
        let mut names: Vec<String> = machines
            .iter()
            .map(|machine| format!("m{machine}"))
            .collect();
        names.sort();
        names.dedup();
        let named = names.join(": {}, ");
        text.replacen(
            "nodes:\n",
            &format!("machines: {{{named}: {{}}}}\nnodes:\n"),
            1,
        )
    }

    /// Returns the outputs that no node takes from.
    fn untaken(&self) -> Vec<Output> {
        let connected = self.case.connect();
        let taken: Vec<&Output> = connected
            .iter()
            .flat_map(|node| node.inputs.iter().flatten())
            .collect();
        let outputs = self.case.outputs().into_iter();
        outputs.filter(|output| !taken.contains(&output)).collect()
    }

    /// Reads the graph as it is cut, with fewer cuts where these are not allowed. Returns `None` where it cannot be cut
    /// at all.
    fn load(&mut self, registry: &Registry, record: u64) -> Option<Graph> {
        loop {
            let machines = self.machines();
            if machines.iter().all(|machine| *machine == machines[0]) {
                return None;
            }
            if let Ok(graph) = load(&self.yaml(Some(&machines)), registry, record) {
                return Some(graph);
            }
            match self.hops.iter().rposition(|hops| *hops) {
                Some(last) => self.hops[last] = false,
                None => self.sources.fill(0),
            }
        }
    }
}

fn load(yaml: &str, registry: &Registry, record: u64) -> Result<Graph, String> {
    let mut options = options();
    options.overrides = Overrides {
        params: vec![format!("run={record}")],
        ..Overrides::default()
    };
    let graph = Graph::parse("random.yaml", yaml, registry, &options);
    graph.map_err(|problems| problems.to_string())
}

fn registry() -> Registry {
    let mut registry = actors::registry();
    payloads::register_codecs(&mut registry);
    registry.register::<Gather>();
    registry.register::<Send>();
    registry.register_source::<Receive>();
    registry
}

/// A run that is over.
struct Ran {
    report: Report,
    came: BTreeMap<String, Came>,
}

/// Runs graphs together, to their ends.
fn run(
    graphs: Vec<Graph>,
    registry: &Arc<Registry>,
    network: &Arc<Network>,
) -> Result<Vec<Ran>, String> {
    let started = graphs.into_iter().map(|graph| {
        let gathered = Arc::new(Gathered::default());
        let services = Services::new()
            .with(Arc::clone(&gathered))
            .with(Arc::clone(network));
        let run_options = RunOptions {
            services,
            ..RunOptions::default()
        };
        let running = RunningGraph::start(graph, Arc::clone(registry), run_options);
        running
            .map(|running| (running, gathered))
            .map_err(|error| error.to_string())
    });
    let started = started.collect::<Result<Vec<_>, _>>()?;
    let mut over = Vec::new();
    for (running, gathered) in started {
        match running.wait_for(PATIENCE) {
            Ok(report) => over.push(Ran {
                report,
                came: gathered.take(),
            }),
            Err(running) => {
                let report = running.handle().report();
                let streams = format!("{:#?}", report.streams);
                // Stops it, if it can be stopped.
                std::thread::spawn(move || drop(running));
                return Err(format!(
                    "a part did not end: {:?} {streams}",
                    report.machine
                ));
            }
        }
    }
    Ok(over)
}

/// The whole, and its parts with the network between them.
struct Both {
    whole: Ran,
    parts: Vec<Ran>,
    network: Arc<Network>,
}

impl Cut {
    /// Runs both. Returns `None` where the graph cannot be cut.
    fn run(&mut self) -> Result<Option<Both>, String> {
        let registry = Arc::new(registry());
        let record = keep::open();
        let lossless = Self {
            case: self.case.clone().lossless(),
            ..self.clone()
        };
        let Ok(whole) = load(&lossless.yaml(None), &registry, record) else {
            return Ok(None);
        };
        let Some(cut) = self.load(&registry, record) else {
            return Ok(None);
        };
        let parts = cut.machines.iter().map(|machine| {
            let part = cut.part(machine, EDGES, &registry);
            part.map_err(|problems| problems.to_string())
        });
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let nowhere = Network::begin(Faults::default(), 0, None);
        let whole = run(vec![whole], &registry, &nowhere)?.remove(0);
        nowhere.end();
        let network = Network::begin(self.faults, self.seed, self.harm);
        let ran = run(parts, &registry, &network);
        network.end();
        keep::close(record);
        Ok(Some(Both {
            whole,
            parts: ran?,
            network,
        }))
    }
}

impl Both {
    /// Checks the laws that hold whatever the edges are.
    fn books(&self, broken: &mut Vec<String>) {
        for Ran { report, .. } in &self.parts {
            broken.extend(report.imbalances.iter().cloned());
            let faults = report.faults.iter().map(|fault| format!("{fault:?}"));
            broken.extend(faults);
        }
        for (edge, stream) in self.network.lines() {
            let sent = |report: &&Report| {
                let edges = report.site_edges.iter();
                edges
                    .clone()
                    .any(|found| !found.receives && found.edge == edge)
            };
            let reports = || self.parts.iter().map(|ran| &ran.report);
            let from = reports().find(sent).expect("a part that sends");
            let to = reports().find(|report| {
                report
                    .site_edges
                    .iter()
                    .any(|found| found.receives && found.edge == edge)
            });
            let to = &to.expect("a part that receives").streams[&stream];
            let sent = from.streams[&stream].sinks[&format!("{edge}@{stream}")].delivered;
            if sent != to.captured + to.missed {
                broken.push(format!(
                    "edge {edge}, stream {stream}: {sent} went in, {} came out and {} were missed",
                    to.captured, to.missed
                ));
            }
        }
    }

    /// Returns what arrived at each sink of the parts and of the whole.
    fn sinks(&self) -> impl Iterator<Item = (&String, &Came, &Came)> {
        let parts = self.parts.iter().flat_map(|ran| &ran.came);
        parts.map(|(sink, came)| (sink, came, &self.whole.came[sink]))
    }
}

/// Returns the laws that a run of a cut breaks.
type BrokenLaws = fn(&Cut, &Both) -> Vec<String>;

/// Draws cuts and shrinks the first one that breaks a law. At least half of the graphs drawn must actually be cut.
fn keep_laws(cuts: impl Strategy<Value = Cut>, broken: BrokenLaws) {
    let count = AtomicU32::new(0);
    let cases = random::cases() / 2;
    random::keep_of(cases, cuts, |mut cut| {
        let laws = match cut.run() {
            Ok(Some(both)) => {
                count.fetch_add(1, Ordering::Relaxed);
                broken(&cut, &both)
            }
            Ok(None) => Vec::new(),
            Err(law) => vec![law],
        };
        (laws, cut.described())
    });
    let count = count.into_inner();
    assert!(
        count >= cases / 4,
        "only {count} of {cases} graphs could be cut"
    );
}

impl Cut {
    fn described(&self) -> String {
        let yaml = self.yaml(Some(&self.machines()));
        format!("{yaml}\nseed {}, {:?}", self.seed, self.faults)
    }
}

/// Checks, for edges that lose nothing, that the sinks get what those of the whole get.
fn not_as_the_whole(cut: &Cut, both: &Both) -> Vec<String> {
    let mut broken = Vec::new();
    for (sink, came, whole) in both.sinks() {
        if came.by_stream() != whole.by_stream() {
            broken.push(format!("{sink} got {came:?}, and of the whole {whole:?}"));
        } else if cut.case.clock == ClockCase::Asap && came.packets != whole.packets {
            broken.push(format!(
                "{sink} got {:?}, and of the whole {:?}",
                came.packets, whole.packets
            ));
        }
        if came.ends != whole.ends {
            broken.push(format!(
                "{sink} was told {:?}, and by the whole {:?}",
                came.ends, whole.ends
            ));
        }
    }
    let at_all: usize = both.parts.iter().map(|ran| ran.came.len()).sum();
    if at_all != both.whole.came.len() {
        broken.push("not all sinks are in the parts".to_owned());
    }
    let left = both.network.left();
    if left > 0 {
        broken.push(format!(
            "{left} packets were settled, and no store remembers it"
        ));
    }
    both.books(&mut broken);
    broken
}

/// Checks, for edges that drop, that the packets that arrive keep the order of the whole.
fn out_of_order(_: &Cut, both: &Both) -> Vec<String> {
    let mut broken = Vec::new();
    for (sink, came, whole) in both.sinks() {
        let whole = whole.by_stream();
        for (stream, packets) in came.by_stream() {
            let mut all = whole.get(stream).into_iter().flatten();
            // Each packet comes after the previous one in the whole.
            if !packets
                .iter()
                .all(|packet| all.any(|of_whole| of_whole == packet))
            {
                broken.push(format!(
                    "{sink} got {packets:?} of {stream}, of {:?}",
                    whole.get(stream)
                ));
            }
        }
    }
    both.books(&mut broken);
    broken
}

#[test]
fn a_graph_that_is_cut_gives_its_sinks_what_the_whole_does_once_and_in_order() {
    keep_laws(lossless(), not_as_the_whole);
}

#[test]
fn a_graph_that_is_cut_at_edges_that_drop_keeps_the_order_and_counts_what_is_missing() {
    keep_laws(lossy(), out_of_order);
}
