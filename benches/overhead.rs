//! Measures what the engine adds to the latency of a packet: `cargo bench --bench overhead`.
//!
//! Overhead is the time from capture to the sink minus the time that the packet spent in the actors' calls, both
//! measured for each packet. Three steps that each keep a core busy run on threads of their own; the load is a share of
//! all cores. For comparison, three threads chained by blocking flume channels do the same, paced by sleeping until
//! each packet is due.
//!
//! On both sides a packet counts as captured when it was due, however late the sleeping thread woke up, and all streams
//! begin together once everything has started: packets of streams that begin one after another would hardly ever meet.

use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use fermata_engine::{
    Actor, ActorError, Clock, Graph, Input, LoadOptions, Outputs, Payload, Ports, Registry,
    RunOptions, RunningGraph, Setup,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Steps between the source and the sink.
const STEPS: u32 = 3;
/// The share of all cores that the steps keep busy.
const LOAD: f64 = 0.7;
/// Paired runs of each case.
const RUNS: usize = 5;
/// The length of a run.
const RUN: Duration = Duration::from_secs(4);

/// The time that a packet has spent in calls so far.
struct Worked(u64);

impl Payload for Worked {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StepSettings {
    work_ns: u64,
}

/// Keeps a core busy and adds the time really taken to the payload.
struct Step {
    work_ns: u64,
    clock: Clock,
}

impl Actor for Step {
    const NAME: &'static str = "step";
    type Settings = StepSettings;

    fn ports(_: &StepSettings) -> Ports {
        Ports::new().any_input("in").output::<Worked>("out")
    }

    fn create(settings: StepSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            work_ns: settings.work_ns,
            clock: setup.clock.clone(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let began = self.clock.now_ns();
        self.clock.work(self.work_ns);
        let before = input
            .take_any(0)
            .and_then(|payload| fermata_engine::packet::downcast::<Worked>(payload).ok())
            .map_or(0, |worked| worked.0);
        let worked = Worked(before + self.clock.now_ns() - began);
        out.emit::<Worked>(input.envelope, worked);
        Ok(())
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GaugeSettings {}

/// Overheads of the current run.
static OVERHEADS: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// Records the overhead of each packet.
struct Gauge(Clock);

impl Actor for Gauge {
    const NAME: &'static str = "gauge";
    type Settings = GaugeSettings;

    fn ports(_: &GaugeSettings) -> Ports {
        Ports::new().input::<Worked>("in")
    }

    fn create(_: GaugeSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self(setup.clock.clone()))
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let latency = self.0.now_ns() - input.envelope.captured_ns;
        let worked = input.take::<Worked>().0;
        note(latency - worked);
        Ok(())
    }
}

fn note(overhead_ns: u64) {
    let mut overheads = OVERHEADS.lock().expect("no holder panics");
    overheads.push(overhead_ns);
}

/// A load to measure.
struct Case {
    name: &'static str,
    streams: u32,
    /// Packets per second of each stream.
    rate: f64,
    /// Time in each step.
    work_ns: u64,
}

impl Case {
    /// Chooses the rate at which the steps use [`LOAD`] of all cores.
    fn loaded(name: &'static str, streams: u32, work: Duration) -> Self {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
        let seconds_per_packet = work.as_secs_f64() * f64::from(STEPS);
        Self {
            name,
            streams,
            rate: LOAD * cores as f64 / seconds_per_packet / f64::from(streams),
            work_ns: work.as_nanos() as u64,
        }
    }

    /// Returns the number of packets of one stream in a run.
    fn count(&self) -> u64 {
        (self.rate * RUN.as_secs_f64()) as u64
    }
}

fn run_engine(case: &Case) {
    let mut registry = Registry::builtin();
    registry.register::<Step>();
    registry.register::<Gauge>();
    let streams: Vec<String> = (0..case.streams).map(|n| format!("s{n}: x")).collect();
    let text = format!(
        "fermata: 1\n\
         streams: {{{}}}\n\
         nodes:\n\
         \x20 source: {{use: test_source, each: stream, rate: {}, count: {}}}\n\
         \x20 step1: {{use: step, in: source, work_ns: {work}}}\n\
         \x20 step2: {{use: step, in: step1, work_ns: {work}}}\n\
         \x20 step3: {{use: step, in: step2, work_ns: {work}}}\n\
         \x20 gauge: {{use: gauge, in: step3, lane: gauge}}\n\
         run: {{clock: live}}\n",
        streams.join(", "),
        case.rate,
        case.count(),
        work = case.work_ns,
    );
    let options = LoadOptions::new(std::env::temp_dir());
    let graph = match Graph::parse("overhead", &text, &registry, &options) {
        Ok(graph) => graph,
        Err(problems) => panic!("{problems}"),
    };
    let report = RunningGraph::start(graph, Arc::new(registry), RunOptions::default())
        .expect("its nodes need nothing")
        .wait();
    assert!(report.balanced, "{:?}", report.imbalances);
    let lost: u64 = report
        .streams
        .values()
        .map(|stream| stream.captured - stream.delivered)
        .sum();
    let missed: u64 = report.streams.values().map(|stream| stream.missed).sum();
    assert_eq!((lost, missed), (0, 0), "a lost packet has no overhead");
}

/// Does the same work on three threads chained by blocking channels.
fn run_threads(case: &Case) {
    struct Packet {
        captured_ns: u64,
        worked_ns: u64,
    }
    let clock = Clock::real();
    let (first, mut upstream) = flume::bounded::<Packet>(2);
    let mut threads = Vec::new();
    let all_are_there = Arc::new(Barrier::new(case.streams as usize));
    for _ in 0..case.streams {
        let (clock, first) = (clock.clone(), first.clone());
        let all_are_there = Arc::clone(&all_are_there);
        let (count, period_ns) = (case.count(), 1e9 / case.rate);
        threads.push(thread::spawn(move || {
            all_are_there.wait();
            let start_ns = clock.now_ns();
            for number in 0..count {
                let due_ns = start_ns + (number as f64 * period_ns) as u64;
                thread::sleep(Duration::from_nanos(due_ns.saturating_sub(clock.now_ns())));
                let packet = Packet {
                    captured_ns: due_ns,
                    worked_ns: 0,
                };
                first.send(packet).expect("the receiver waits for the end");
            }
        }));
    }
    drop(first);
    for _ in 0..STEPS {
        let (sender, receiver) = flume::bounded(2);
        let upstream = std::mem::replace(&mut upstream, receiver);
        let (clock, work_ns) = (clock.clone(), case.work_ns);
        threads.push(thread::spawn(move || {
            for mut packet in upstream {
                let began = clock.now_ns();
                clock.work(work_ns);
                packet.worked_ns += clock.now_ns() - began;
                sender.send(packet).expect("the receiver waits for the end");
            }
        }));
    }
    for packet in upstream {
        note(clock.now_ns() - packet.captured_ns - packet.worked_ns);
    }
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}

/// Returns the median, 99th percentile and maximum of the overheads of one run, in milliseconds.
fn measure(run: impl Fn(&Case), case: &Case) -> [f64; 3] {
    run(case);
    let mut overheads = std::mem::take(&mut *OVERHEADS.lock().expect("no holder panics"));
    assert_eq!(
        overheads.len() as u64,
        case.count() * u64::from(case.streams)
    );
    overheads.sort_unstable();
    [0.5, 0.99, 1.0].map(|quantile| {
        let rank = (quantile * overheads.len() as f64).ceil() as usize;
        overheads[rank.saturating_sub(1)] as f64 / 1e6
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let cases = [
        Case::loaded("1 stream, 2 ms a step", 1, Duration::from_millis(2)),
        Case::loaded("64 streams, 0.25 ms a step", 64, Duration::from_micros(250)),
        Case {
            name: "64 streams, no work",
            streams: 64,
            rate: 30.0,
            work_ns: 0,
        },
    ];
    println!(
        "medians of {RUNS} runs of {} s; overhead in ms",
        RUN.as_secs()
    );
    println!(
        "{:28} {:>8} {:9} {:>8} {:>8} {:>8}",
        "case", "rate/s", "", "p50", "p99", "max"
    );
    for case in &cases {
        let mut results = [const { Vec::new() }; 2];
        for _ in 0..RUNS {
            results[0].push(measure(run_engine, case));
            results[1].push(measure(run_threads, case));
        }
        let total_rate = case.rate * f64::from(case.streams);
        for (name, runs) in ["engine", "threads"].into_iter().zip(results) {
            let [p50, p99, max] =
                [0, 1, 2].map(|index| median(runs.iter().map(|run| run[index]).collect()));
            println!(
                "{:28} {total_rate:8.0} {name:9} {p50:8.3} {p99:8.3} {max:8.3}",
                case.name
            );
        }
    }
}
