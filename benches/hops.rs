//! Measures what a packet costs from node to node, compared with a raw flume channel of the same capacity and a plain
//! function call: `cargo bench --bench hops`.
//!
//! Criterion reports the time for one packet, from the first capture to the last delivery, without starting the graph.
//! `benches/peers/hops.py` runs the same graphs beside GStreamer and the flume channels, for which it asks this program:
//! `hops flume HOPS PACKETS` sends packets through them once.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use fermata_engine::{
    AnyPayload, Capture, Envelope, Graph, LoadOptions, Packet, Payload, Registry, RunOptions,
    RunningGraph, Stream,
};

/// The queue capacity, as in `graphs/bench/`.
const CAPACITY: usize = 10;

struct Pixels(#[expect(dead_code, reason = "carried, never looked at")] Vec<u8>);

impl Payload for Pixels {}

/// Makes packets that share one payload, as `test_source` does.
fn packets(count: u64) -> impl Iterator<Item = Packet> {
    let stream = Arc::new(Stream {
        id: 0,
        name: "bench".to_owned(),
        uri: String::new(),
    });
    let payload: AnyPayload = Arc::new(Pixels(vec![0; 921_600]));
    (0..count).map(move |sequence| Packet {
        envelope: Envelope::from(Capture {
            stream: Arc::clone(&stream),
            segment: 0,
            sequence,
            pts_ns: sequence as i64,
            captured_ns: sequence,
        }),
        payload: Arc::clone(&payload),
    })
}

/// Times `count` packets through a graph of `graphs/bench/`.
fn run_graph(graph: &str, count: u64) -> Duration {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("graphs/bench/{graph}.yaml"));
    let registry = Arc::new(Registry::builtin());
    let mut options = LoadOptions::new(std::env::temp_dir());
    options.overrides.params = vec![format!("count={count}")];
    let graph =
        Graph::load(&file, &registry, &options).expect("the graph is part of the repository");
    let report = RunningGraph::start(graph, registry, RunOptions::default())
        .expect("its nodes need nothing")
        .wait();
    assert!(report.balanced && report.nodes["end"].processed == count);
    Duration::from_secs_f64(report.wall_s)
}

/// Times `count` packets through `hops` threads chained by blocking flume channels.
fn run_flume(hops: usize, count: u64) -> Duration {
    let start = Instant::now();
    let (first, mut upstream) = flume::bounded::<Packet>(CAPACITY);
    let mut threads = vec![thread::spawn(move || {
        for packet in packets(count) {
            first.send(packet).expect("the receiver waits for the end");
        }
    })];
    for _ in 1..hops {
        let (sender, receiver) = flume::bounded(CAPACITY);
        let upstream = std::mem::replace(&mut upstream, receiver);
        threads.push(thread::spawn(move || {
            for packet in upstream {
                sender.send(packet).expect("the receiver waits for the end");
            }
        }));
    }
    assert_eq!(upstream.iter().count() as u64, count);
    for thread in threads {
        thread.join().expect("no thread panics");
    }
    start.elapsed()
}

/// Times `count` packets through five function calls that the compiler cannot see through.
fn run_calls(count: u64) -> Duration {
    let steps: [fn(Packet) -> Packet; 5] = [black_box(|packet| packet); 5];
    let start = Instant::now();
    for packet in packets(count) {
        let mut packet = packet;
        for step in black_box(&steps) {
            packet = step(packet);
        }
        black_box(packet);
    }
    start.elapsed()
}

fn hops(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet");
    group.sample_size(20);
    for (graph, hops) in [("hop1", 1), ("hop5", 5)] {
        group.bench_function(graph, |bench| {
            bench.iter_custom(|count| run_graph(graph, count))
        });
        group.bench_function(format!("{graph}/raw_flume"), |bench| {
            bench.iter_custom(|count| run_flume(hops, count));
        });
    }
    group.bench_function("lane5", |bench| {
        bench.iter_custom(|count| run_graph("lane5", count))
    });
    group.bench_function("lane5/function_calls", |bench| bench.iter_custom(run_calls));
    group.finish();
}

criterion_group!(benches, hops);

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let [what, hops, count] = &given[..]
        && what == "flume"
    {
        let [hops, count] = [hops, count].map(|number| number.parse().expect("a number"));
        run_flume(hops as usize, count);
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
