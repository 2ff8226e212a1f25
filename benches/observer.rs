//! Measures what a counting observer costs a run: `FERMATA_DATA=../shared/data cargo bench --bench observer`.
//!
//! Graphs run as fast as they can, both unobserved and with an observer that counts each kind of event. Each round runs
//! both in alternating order and compares them. Processor time is measured: on a machine with few cores, threads that
//! wait for each other make wall time useless for differences of a few percent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fermata::program::live_registry;
use fermata_engine::observer::{Event, Observer, Recorder, Seen};
use fermata_engine::{Graph, LoadOptions, RunOptions, RunningGraph};

/// Rounds per graph.
const ROUNDS: usize = 15;

/// The number of events of each of six kinds.
#[derive(Default)]
struct Counts([AtomicU64; 6]);

/// Counts for one lane and adds to the sum when the lane ends.
struct Counting {
    own: [u64; 6],
    sum: Arc<Counts>,
}

/// Gives each lane a counting recorder.
struct Counter(Arc<Counts>);

impl Observer for Counter {
    fn recorder(&self, _: &str) -> Box<dyn Recorder> {
        Box::new(Counting {
            own: [0; 6],
            sum: Arc::clone(&self.0),
        })
    }
}

impl Recorder for Counting {
    fn record(&mut self, seen: &Seen<'_>) {
        let kind = match seen.event {
            Event::Captured(_) => 0,
            Event::Taken { .. } => 1,
            Event::Batched { .. } => 2,
            Event::Called { .. } => 3,
            Event::Settled { .. } => 4,
            Event::Sent { .. } => 5,
        };
        self.own[kind] += 1;
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        for (sum, own) in self.sum.0.iter().zip(self.own) {
            sum.fetch_add(own, Ordering::Relaxed);
        }
    }
}

/// A graph of `graphs/bench/` and the parameters that make it long enough.
struct Case {
    graph: &'static str,
    params: Vec<String>,
    streams: Vec<String>,
}

/// Returns the processor time of this process so far, in seconds.
fn processor_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Runs a case; returns its processor seconds and the number of events counted.
fn run(case: &Case, is_observed: bool, folder: &Path) -> (f64, u64) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let registry = Arc::new(live_registry());
    let mut options = LoadOptions::new(folder);
    options.overrides.params.clone_from(&case.params);
    options.overrides.streams.clone_from(&case.streams);
    let file = root.join(format!("graphs/bench/{}.yaml", case.graph));
    let graph = Graph::load(&file, &registry, &options).expect("a graph of the repository");
    let counts = Arc::new(Counts::default());
    let observer = Arc::new(Counter(Arc::clone(&counts)));
    let options = RunOptions {
        observer: is_observed.then_some(observer as _),
        ..RunOptions::default()
    };
    let before_s = processor_s();
    let running = RunningGraph::start(graph, registry, options).expect("its nodes can be created");
    let report = running.wait();
    let taken_s = processor_s() - before_s;
    assert!(report.balanced && report.faults.is_empty());
    let counted = counts.0.iter().map(|kind| kind.load(Ordering::Relaxed));
    (taken_s, counted.sum())
}

/// Returns the value below which this share of the values lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn main() {
    let data =
        std::env::var_os("FERMATA_DATA").expect("FERMATA_DATA names the folder of test data");
    let data = PathBuf::from(data).canonicalize().expect("FERMATA_DATA");
    let folder = tempfile::tempdir().expect("a folder");
    let packets = |graph, count: u64| Case {
        graph,
        params: vec![format!("count={count}")],
        streams: Vec::new(),
    };
    let detector = data.join("detect/yunet_n_dynamic.onnx");
    let clip = data.join("videos/intel_classroom.mp4");
    let cases = [
        packets("hop1", 1_000_000),
        packets("lane5", 1_000_000),
        Case {
            graph: "fer",
            params: vec![
                format!("detector={}", detector.display()),
                format!("model={}/models/expression", env!("CARGO_MANIFEST_DIR")),
            ],
            streams: vec![format!("s0={}", clip.display())],
        },
    ];
    println!("processor time, {ROUNDS} rounds; what the observer changes in the same round");
    for case in &cases {
        let (mut changes, mut alone_s, mut events) = (Vec::new(), Vec::new(), 0);
        for round in 0..ROUNDS {
            let mut taken_s = [0.0; 2];
            for turn in 0..2 {
                let is_observed = (round + turn) % 2 == 1;
                let (own_s, counted) = run(case, is_observed, folder.path());
                taken_s[usize::from(is_observed)] = own_s;
                events = events.max(counted);
            }
            alone_s.push(taken_s[0]);
            changes.push(100.0 * (taken_s[1] / taken_s[0] - 1.0));
        }
        changes.sort_by(f64::total_cmp);
        alone_s.sort_by(f64::total_cmp);
        println!(
            "{:6} {:6.2} s alone, {events} events   median {:+5.2} %, half of the rounds from {:+5.2} to {:+5.2} %",
            case.graph,
            quantile(&alone_s, 0.5),
            quantile(&changes, 0.5),
            quantile(&changes, 0.25),
            quantile(&changes, 0.75)
        );
    }
}
