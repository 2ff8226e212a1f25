//! Cost of an edge between machines compared with a bare loop of the NATS client with the same stream settings: `cargo
//! bench -p fermata-remote`.
//!
//! Packets have 100 kB; sender and receiver are two connections of one process, the server is a process of its own with
//! `sync_interval: always`. The edge and the loop run in turns; medians and the ratios of pairs are printed.
//! `FERMATA_BENCH_RUNS`, `FERMATA_BENCH_PACKETS` and `FERMATA_BENCH_WINDOW` change the amounts.
//!
//! Throughput: unpaced, packets per second between the first and the last arrival. Latency: 50 packets per second, from
//! when a packet was due until the sink has it.

#[path = "../tests/edges/server.rs"]
#[allow(dead_code, reason = "tests use the rest of it")]
mod server;

use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use fermata_engine::{
    Actor, ActorError, Captured, Codec, Graph, Input, LoadOptions, Next, Outputs, Payload, Ports,
    Registry, RunOptions, RunningGraph, Services, Setup, Source,
};
use fermata_remote::Credentials;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use schemars::JsonSchema;
use serde::Deserialize;
use server::Server;

const SIZE: usize = 100_000;
const CAPACITY: usize = 4;
/// Packets under way, of the edge and of the loop: `FERMATA_BENCH_WINDOW`.
static WINDOW: LazyLock<usize> = LazyLock::new(|| number("FERMATA_BENCH_WINDOW", 16));
/// Packets that a lossless edge's store holds besides: settled, but not yet recorded as such.
const UNREMEMBERED: usize = 64;
/// Packets per second where latency is measured.
const RATE: u64 = 50;
/// Packets at the start that are left out.
const WARM: usize = 20;

type Arrivals = Mutex<Vec<(Instant, Duration)>>;

/// How fast packets are sent.
#[derive(Clone, Copy)]
enum Pace {
    Free,
    Paced,
}

/// A payload that neither compresses nor is shared.
struct Blob(bytes::Bytes);

impl Payload for Blob {}

struct BlobV1;

impl Codec for BlobV1 {
    type Payload = Blob;
    const NAME: &'static str = "blob";
    const VERSION: u32 = 1;

    fn encode(blob: &Blob, bytes: &mut Vec<u8>) -> Result<(), ActorError> {
        bytes.extend_from_slice(&blob.0);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Blob, ActorError> {
        Ok(Blob(bytes::Bytes::copy_from_slice(bytes)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BlobsSettings {
    count: u64,
}

struct Blobs {
    count: u64,
    given: u64,
    blob: bytes::Bytes,
}

impl Source for Blobs {
    const NAME: &'static str = "blobs";
    type Settings = BlobsSettings;

    fn ports(_: &BlobsSettings) -> Ports {
        Ports::new().output::<Blob>("out")
    }

    fn create(settings: BlobsSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            count: settings.count,
            given: 0,
            blob: blob(),
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        if self.given == self.count {
            return Ok(Next::End);
        }
        let pts_ns = i64::try_from(self.given * 1_000_000_000 / RATE).unwrap_or(i64::MAX);
        self.given += 1;
        let blob = Blob(self.blob.clone());
        Ok(Next::Packet(Captured::new(Arc::new(blob), pts_ns)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoteSettings {}

/// A sink that records when packets arrive, and how old they are.
struct Note {
    arrivals: Arc<Arrivals>,
    setup: Setup,
}

impl Actor for Note {
    const NAME: &'static str = "note";
    type Settings = NoteSettings;

    fn ports(_: &NoteSettings) -> Ports {
        Ports::new().input::<Blob>("in").needs::<Arrivals>()
    }

    fn create(_: NoteSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            arrivals: setup.service().ok_or("nobody asks")?,
            setup: setup.clone(),
        })
    }

    fn process(&mut self, input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let now_ns = self.setup.clock.now_ns();
        let age = Duration::from_nanos(now_ns.saturating_sub(input.envelope.captured_ns));
        noted(&self.arrivals).push((Instant::now(), age));
        Ok(())
    }
}

fn noted(arrivals: &Arrivals) -> std::sync::MutexGuard<'_, Vec<(Instant, Duration)>> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn blob() -> bytes::Bytes {
    let mut state = 1_u32;
    let bytes = (0..SIZE).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    bytes.collect()
}

/// Results of a run.
#[derive(Clone, Copy)]
struct Figures {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn figures(arrivals: &[(Instant, Duration)]) -> Figures {
    let arrivals = &arrivals[WARM.min(arrivals.len().saturating_sub(2))..];
    let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else {
        panic!("nothing arrived");
    };
    let took = last.0.duration_since(first.0).as_secs_f64();
    let mut ages: Vec<f64> = arrivals
        .iter()
        .map(|(_, age)| age.as_secs_f64() * 1e3)
        .collect();
    ages.sort_by(f64::total_cmp);
    let at = |share: f64| ages[((ages.len() - 1) as f64 * share).round() as usize];
    Figures {
        per_second: (arrivals.len() - 1) as f64 / took,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
    }
}

/// Measures a graph on each of two connections.
fn ours(server: &Server, site: &str, full: &str, pace: Pace, count: usize) -> Figures {
    let clock = match pace {
        Pace::Free => "asap",
        Pace::Paced => "live",
    };
    let edge = format!(
        "edge: {site}, full: {full}, capacity: {CAPACITY}, window: {}",
        *WINDOW
    );
    let from = format!(
        "fermata: 1\nnodes:\n  blobs: {{use: blobs, count: {count}}}\n  send: {{use: send_packets, each: stream, in: blobs, {edge}}}\nrun: {{clock: {clock}}}\n"
    );
    let to = format!(
        "fermata: 1\nstreams: {{blobs: x}}\nnodes:\n  receive: {{use: receive_packets, each: stream, carries: blob, {edge}}}\n  note: {{use: note, in: receive}}\nrun: {{clock: {clock}}}\n"
    );
    let arrivals = Arc::new(Arrivals::default());
    let start = |text: &str| {
        let mut registry = Registry::builtin();
        registry.codecs_mut().register::<BlobV1>();
        fermata_remote::register(&mut registry);
        registry.register_source::<Blobs>();
        registry.register::<Note>();
        let connection = server.connect_as(&Credentials::default(), registry.codecs());
        let connection = connection.expect("a connection");
        let mut options = LoadOptions::new("/tmp/out");
        options.env.clear();
        let graph = Graph::parse("bench.yaml", text, &registry, &options).expect("a graph");
        let options = RunOptions {
            services: Services::new()
                .with(Arc::clone(&connection))
                .with(Arc::clone(&arrivals)),
            ..RunOptions::default()
        };
        let running = RunningGraph::start(graph, Arc::new(registry), options);
        (running.expect("a run"), connection)
    };
    let (receiving, receiver) = start(&to);
    let (sending, sender) = start(&from);
    for (running, connection) in [(sending, sender), (receiving, receiver)] {
        let report = running.wait();
        assert!(report.balanced && report.faults.is_empty(), "{report:?}");
        connection.close(Duration::from_secs(10));
    }
    let arrivals = noted(&arrivals);
    if full == "block" {
        assert_eq!(arrivals.len(), count);
    }
    figures(&arrivals)
}

/// What the loop's packets go through.
#[derive(Clone, Copy, PartialEq)]
enum Through {
    Core,
    Memory,
    File,
}

/// The client alone: publications in a window, a pull consumer, acknowledgements.
#[derive(Clone)]
struct Bare {
    url: String,
    name: String,
    through: Through,
    pace: Pace,
    count: usize,
    /// Instant that ages are counted from.
    began: Instant,
    arrivals: Arc<Arrivals>,
}

fn bare(server: &Server, name: &str, through: Through, pace: Pace, count: usize) -> Figures {
    let bare = Bare {
        url: server.url(),
        name: name.to_owned(),
        through,
        pace,
        count,
        began: Instant::now(),
        arrivals: Arc::default(),
    };
    let (ready, is_ready) = mpsc::channel();
    let receiving = bare.clone();
    let receiver = std::thread::spawn(move || on_this_thread(receiving.receive(ready)));
    is_ready.recv().expect("a receiver");
    on_this_thread(bare.send());
    receiver.join().expect("a receiver");
    let arrivals = noted(&bare.arrivals);
    figures(&arrivals)
}

impl Bare {
    async fn receive(self, ready: mpsc::Sender<()>) {
        let client = async_nats::connect(&self.url).await.expect("a server");
        if self.through == Through::Core {
            let messages = client.subscribe(self.name.clone()).await;
            let mut messages = messages.expect("a subscription");
            client.flush().await.expect("a server");
            ready.send(()).expect("a sender");
            while let Some(message) = messages.next().await
                && self.note(&message.payload)
            {}
            return;
        }
        let jetstream = jetstream::new(client);
        let made = jetstream.create_stream(settings(&self.name, self.through));
        let store = made.await.expect("a stream");
        let consumer = store.create_consumer(pull::Config {
            durable_name: Some("one".to_owned()),
            max_ack_pending: most_stored() as i64,
            ..pull::Config::default()
        });
        let consumer = consumer.await.expect("a consumer");
        let messages = consumer.stream().max_messages_per_batch(most_stored());
        let mut messages = messages.messages().await.expect("messages");
        ready.send(()).expect("a sender");
        while let Some(message) = messages.next().await {
            let message = message.expect("a message");
            let more = self.note(&message.payload);
            message.ack().await.expect("a server");
            if !more {
                break;
            }
        }
        let gone = jetstream.delete_stream(&self.name).await;
        gone.expect("a server");
    }

    /// Records an arrival. Returns whether more are to come.
    fn note(&self, payload: &[u8]) -> bool {
        let sent = payload.first_chunk().copied().unwrap_or_default();
        let sent = Duration::from_nanos(u64::from_le_bytes(sent));
        let age = self.began.elapsed().saturating_sub(sent);
        // Copied as a payload is when it is read.
        std::hint::black_box(bytes::Bytes::copy_from_slice(payload));
        let mut arrivals = noted(&self.arrivals);
        arrivals.push((Instant::now(), age));
        arrivals.len() < self.count
    }

    async fn send(&self) {
        let client = async_nats::connect(&self.url).await.expect("a server");
        let jetstream = jetstream::new(client.clone());
        let blob = blob();
        let mut under_way = FuturesUnordered::new();
        let start = Instant::now();
        for number in 0..self.count {
            let mut due = self.began.elapsed();
            if let Pace::Paced = self.pace {
                let at = start + Duration::from_nanos(number as u64 * 1_000_000_000 / RATE);
                tokio::time::sleep_until(at.into()).await;
                due = at.duration_since(self.began);
            }
            let mut bytes = due.as_nanos().to_le_bytes()[..8].to_vec();
            // Copied as a payload is when it is written.
            bytes.extend_from_slice(&blob[8..]);
            let bytes = bytes::Bytes::from(bytes);
            if self.through == Through::Core {
                let sent = client.publish(self.name.clone(), bytes).await;
                sent.expect("a server");
                if number % *WINDOW == 0 {
                    client.flush().await.expect("a server");
                }
                continue;
            }
            while under_way.len() >= *WINDOW {
                under_way.next().await;
            }
            under_way.push(tokio::spawn(publish(
                jetstream.clone(),
                self.name.clone(),
                bytes,
            )));
        }
        client.flush().await.expect("a server");
        while under_way.next().await.is_some() {}
    }
}

/// Publishes a message, again and again if it is refused since the receiver is behind.
async fn publish(jetstream: jetstream::Context, name: String, bytes: bytes::Bytes) {
    loop {
        let sent = jetstream.publish(name.clone(), bytes.clone()).await;
        if sent.expect("a server").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Returns how many packets the store of a lossless edge holds.
fn most_stored() -> usize {
    CAPACITY + *WINDOW + UNREMEMBERED
}

/// Returns the settings that the store of an edge has.
fn settings(name: &str, through: Through) -> stream::Config {
    stream::Config {
        name: name.to_owned(),
        subjects: vec![name.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        storage: match through {
            Through::File => StorageType::File,
            Through::Core | Through::Memory => StorageType::Memory,
        },
        max_messages_per_subject: most_stored() as i64,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        ..stream::Config::default()
    }
}

fn on_this_thread(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn number(name: &str, default: usize) -> usize {
    let given = std::env::var(name).ok();
    given
        .and_then(|given| given.parse().ok())
        .unwrap_or(default)
}

fn shown(name: &str, figures: &[Figures]) {
    let of = |value: fn(&Figures) -> f64| median(figures.iter().map(value).collect());
    println!(
        "{name:<28} {:8.0} packets/s   p50 {:8.2} ms   p99 {:8.2} ms",
        of(|figures| figures.per_second),
        of(|figures| figures.p50_ms),
        of(|figures| figures.p99_ms)
    );
}

fn ratio(name: &str, ours: &[Figures], bare: &[Figures], value: fn(&Figures) -> f64) {
    let ratios = ours.iter().zip(bare);
    let mut ratios: Vec<f64> = ratios.map(|(a, b)| value(a) / value(b)).collect();
    ratios.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (ratios.first().copied(), ratios.last().copied()) else {
        return;
    };
    println!("  {name}: {:.2} ({least:.2} to {most:.2})", median(ratios));
}

fn main() {
    let runs = number("FERMATA_BENCH_RUNS", 5);
    let packets = number("FERMATA_BENCH_PACKETS", 3000);
    let paced = (packets / 4).max(2 * WARM);
    let server = Server::start_with("max_payload: 8MB");
    let mut next = 0;
    let mut name = || {
        next += 1;
        format!("bench{next}")
    };
    for (pace, count) in [(Pace::Free, packets), (Pace::Paced, paced)] {
        let mut all: [Vec<Figures>; 5] = Default::default();
        for _ in 0..runs {
            all[0].push(ours(&server, &name(), "block", pace, count));
            all[1].push(bare(&server, &name(), Through::File, pace, count));
            if let Pace::Paced = pace {
                all[2].push(ours(&server, &name(), "drop_oldest", pace, count));
            }
            all[3].push(bare(&server, &name(), Through::Memory, pace, count));
            all[4].push(bare(&server, &name(), Through::Core, pace, count));
        }
        match pace {
            Pace::Free => {
                println!("as fast as it goes, {count} packets of {SIZE} bytes, {runs} runs")
            }
            Pace::Paced => println!("{RATE} packets a second, {count} packets, {runs} runs"),
        }
        let [lossless, file, lossy, memory, core] = &all;
        shown("lossless edge", lossless);
        shown("loop, file storage", file);
        if let Pace::Paced = pace {
            shown("dropping edge", lossy);
        }
        shown("loop, memory storage", memory);
        shown("loop, core NATS", core);
        match pace {
            Pace::Free => ratio(
                "throughput, edge by loop (mark: at least 0.9)",
                lossless,
                file,
                |figures| figures.per_second,
            ),
            Pace::Paced => {
                let p99 = |figures: &Figures| figures.p99_ms;
                ratio(
                    "p99, loop by lossless edge (mark: at least 0.9)",
                    file,
                    lossless,
                    p99,
                );
                ratio(
                    "p99, loop by dropping edge (mark: at least 0.9)",
                    memory,
                    lossy,
                    p99,
                );
            }
        }
    }
}
